using System.Globalization;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Sessions;
using KTrace.Tracing;
using KTrace.Tui.Commands;

namespace KTrace.Tui.Views;

/// <summary>Why a machine stands still, and where: what a person wants to read after every command that let it run.</summary>
/// <param name="path">The CPU's call path; null where there is none (the kernel is not up).</param>
/// <param name="location">Where it stands, for a machine without a call path.</param>
/// <param name="prints">What the breakpoint was asked to print.</param>
public sealed class SessionStopView(SessionStop stop, TraceRecord.Hit? path, string? location, IReadOnlyList<TracePrint> prints, SourceTree sources) : View
{
    public override IEnumerable<TextLine> Lines(int? width)
    {
        if (stop is SessionStop.Ended ended)
        {
            yield return new TextLine().Add(ended.Reason, TextRole.Reason);
            yield break;
        }

        var stopped = (SessionStop.Stopped)stop;
        foreach (var line in new TextLine().Wrap(Cause(stopped.Cause), TextRole.Heading, width))
        {
            yield return path is null ? line : line.Add($"  cpu {stopped.Cpu}").Add(path.Task is { } task ? "  " + task : "");
        }

        foreach (var line in CallPathView.PrintLines(prints, null, 2, width))
        {
            yield return line;
        }

        if (path is { Path.Frames: [var innermost, ..] })
        {
            foreach (var line in FrameLine(0, innermost, path.ArgumentsOf(0), width))
            {
                yield return line;
            }

            if (sources.Line(innermost.File is null ? null : new Symbols.SourceLine(innermost.File, innermost.Line ?? 0)) is { } source)
            {
                yield return new TextLine().Add(string.Create(CultureInfo.InvariantCulture, $"{innermost.Line}"), TextRole.Number).Add("  ").Add(source.Replace("\t", "        ", StringComparison.Ordinal));
            }
        }
        else if (location is not null)
        {
            yield return new TextLine().Add(location, TextRole.Function);
        }
    }

    /// <summary>One frame with its arguments, as <c>frame</c> and every stop show it.</summary>
    internal static IEnumerable<TextLine> FrameLine(int index, TraceFrame frame, ArgumentList arguments, int? width)
    {
        var line = new TextLine().Add(FrameText.Number(index), TextRole.Number).Add("  ").Add(FrameText.Name(frame));
        if (frame.File is not null)
        {
            line.Add("  ").Add(HitTable.Place(frame), TextRole.Source);
        }
        else if (frame.Offset > 0)
        {
            line.Add($" +{TraceHex.Format(frame.Offset)}", TextRole.Number);
        }

        yield return line;
        if (arguments.Count > 0)
        {
            foreach (var more in new TextLine().PadTo(4).Wrap(string.Join(", ", arguments.Select(ArgumentText.Of)), TextRole.Value, width))
            {
                yield return more;
            }
        }
    }

    /// <summary>Why, in words.</summary>
    internal static string Cause(StopCause cause) => cause switch
    {
        StopCause.AtBreakpoint { Breakpoints: var reached } => string.Join(", ", reached.Select(Name)),
        StopCause.AtWatchpoint w => string.Create(
            CultureInfo.InvariantCulture, $"{Name(w.Watchpoint)}  {w.Watchpoint.Text} at 0x{w.Address:x} was {(w.Kind == Rsp.WatchKind.Read ? "read" : w.Kind == Rsp.WatchKind.Write ? "written" : "touched")}{Change(w)}"),
        StopCause.VariableGone { Watchpoint: var gone } => $"{Name(gone)}  {gone.Text} is deleted: {StopCause.VariableGone.Reason}",
        StopCause.StepDone => "step",
        StopCause.FunctionReturned { Function: var function } => $"{function} has returned",
        StopCause.PlaceReached => "reached",
        StopCause.Interrupted => "interrupted",
        StopCause.Signal { Number: var number } => string.Create(CultureInfo.InvariantCulture, $"signal {number}"),
        StopCause.ReplayEdge { Edge: var edge } => $"the {edge} of the recording",
        _ => "connected",
    };

    private static string Change(StopCause.AtWatchpoint w) => w is { Before: { } before, Now: { } now } && before != now
        ? string.Create(CultureInfo.InvariantCulture, $": 0x{before:x} → 0x{now:x}")
        : w.Now is { } value ? string.Create(CultureInfo.InvariantCulture, $": 0x{value:x}") : "";

    private static string Name(Breakpoint breakpoint) => string.Create(
        CultureInfo.InvariantCulture, $"{(breakpoint.IsTemporary ? "temporary " : "")}{(breakpoint.Watched is null ? "breakpoint" : "watchpoint")} {breakpoint.Number}");
}
