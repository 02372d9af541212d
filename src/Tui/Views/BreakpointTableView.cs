using System.Globalization;
using KTrace.Debugger.Breakpoints;
using KTrace.Rsp.Commands;

namespace KTrace.Tui.Views;

/// <summary>A person's breakpoints: what, where, how often.</summary>
public sealed class BreakpointTableView(IReadOnlyCollection<Breakpoint> breakpoints) : View
{
    // "temp breakpoint" and two blanks; "off" and two more.
    private const int KindWidth = 17;
    private const int NoteStart = 4 + KindWidth + 5;

    public override IEnumerable<TextLine> Lines(int? width)
    {
        if (breakpoints.Count == 0)
        {
            yield return new TextLine().Add("no breakpoints");
            yield break;
        }

        foreach (var breakpoint in breakpoints)
        {
            var line = new TextLine().Add(string.Create(CultureInfo.InvariantCulture, $"{breakpoint.Number}"), TextRole.Number).PadTo(4)
                .Add(Kind(breakpoint)).PadTo(4 + KindWidth).Add(breakpoint.IsEnabled ? "on" : "off", breakpoint.IsEnabled ? TextRole.Plain : TextRole.Warning).PadTo(NoteStart);
            foreach (var wrapped in line.Wrap(breakpoint.Text, TextRole.Function, width))
            {
                yield return wrapped;
            }

            foreach (var note in Notes(breakpoint))
            {
                foreach (var wrapped in new TextLine().PadTo(NoteStart).Wrap(note, TextRole.Source, width))
                {
                    yield return wrapped;
                }
            }
        }
    }

    private static string Kind(Breakpoint breakpoint) => (breakpoint.IsTemporary ? "temp " : "") + (breakpoint.Kind switch
    {
        _ when breakpoint.IsTracepoint => "tracepoint",
        BreakpointKind.Hardware => "hardware",
        BreakpointKind.WriteWatchpoint => "watch",
        BreakpointKind.ReadWatchpoint => "rwatch",
        BreakpointKind.AccessWatchpoint => "awatch",
        _ => "breakpoint",
    });

    private static IEnumerable<string> Notes(Breakpoint breakpoint)
    {
        if (breakpoint.IsPending)
        {
            yield return breakpoint.Place?.Module is { } module ? $"waits for module {module}" : breakpoint.IsEnabled ? "waits for the kernel to come up" : "not set";
        }
        else if (breakpoint.Place is { } place)
        {
            yield return $"{place.Symbol} at {string.Join(", ", place.Addresses.Order().Take(4).Select(a => $"0x{a:x}"))}{(place.Addresses.Count > 4 ? $" and {place.Addresses.Count - 4} more" : "")}";
        }
        else if (breakpoint.Watched is { } watched)
        {
            yield return string.Create(CultureInfo.InvariantCulture, $"{watched.Length} bytes at 0x{watched.Address:x}");
        }

        if (breakpoint.Actions.Condition is { } condition)
        {
            yield return $"only if {condition.Text}";
        }

        if (breakpoint.Cpu is { } cpu)
        {
            yield return $"only on cpu {cpu}";
        }

        if (breakpoint.Hits > 0 || breakpoint.IgnoreCount > 0)
        {
            yield return string.Create(CultureInfo.InvariantCulture, $"{breakpoint.Hits} hit{(breakpoint.Hits == 1 ? "" : "s")}{(breakpoint.IgnoreCount > 0 ? $", the next {breakpoint.IgnoreCount} are ignored" : "")}");
        }
    }
}
