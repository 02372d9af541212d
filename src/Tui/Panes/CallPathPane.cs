using KTrace.Tracing;
using KTrace.Tui.State;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>The call path of the stop or of the chosen hit: its frames, innermost first, their arguments, and why it ends.</summary>
internal sealed class CallPathPane() : Pane(PaneKind.CallPath, "call path")
{
    private const int Gap = 2;
    private const int SourceMinimum = 16;

    /// <param name="Frame">Index in the path; its length for the end.</param>
    /// <param name="Argument">Index of an argument with a line of its own; -1: the frame's line; -2: all arguments in one line.</param>
    internal readonly record struct Row(int Frame, int Argument);

    public override PaneRows Rows(UiState state, int width)
    {
        if (state.Session.Path is not { } hit)
        {
            return PaneRows.None;
        }

        var rows = Index(state);
        var frames = hit.Path.Frames;
        var numbers = FrameText.Number(Math.Max(frames.Length - 1, 0)).Length;
        var nameStart = 1 + numbers + 1;
        var names = frames.IsEmpty ? 0 : frames.Max(f => FrameText.Name(f).Width);
        var sources = frames.IsEmpty ? 0 : frames.Max(f => TerminalText.Width(HitTable.Place(f)));
        if (nameStart + names + Gap + sources > width)
        {
            names = Math.Min(names, Math.Max(0, width - nameStart - Gap - SourceMinimum));
        }

        return new PaneRows(rows.Count, i => Line(rows[i]), i => Text(hit, rows[i]));

        TextLine Line(Row row)
        {
            if (row.Frame == frames.Length)
            {
                return new TextLine().PadTo(nameStart).Add(hit.PathEnd.Describe(hit.Task), TextRole.Reason);
            }

            if (row.Argument != -1)
            {
                return ArgumentLine(hit, row, nameStart + Gap);
            }

            var frame = frames[row.Frame];
            var isChosen = row.Frame == ChosenFrame(state);
            var number = FrameText.Number(row.Frame);
            var line = new TextLine().Add(isChosen ? "*" : " ", TextRole.Current).PadTo(1 + numbers - number.Length).Add(number, isChosen ? TextRole.Current : TextRole.Number).PadTo(nameStart)
                .Add(FrameText.Name(frame, isChosen ? TextRole.Current : null).Fit(Math.Max(names, 1)));
            if (frame.File is null)
            {
                return frame.Offset > 0 ? line.Add($" +{TraceHex.Format(frame.Offset)}", TextRole.Number) : line;
            }

            var start = nameStart + names + Gap;
            return line.PadTo(start).Add(TerminalText.KeepEnd(HitTable.Place(frame), Math.Max(SourceMinimum, width - start)), TextRole.Source);
        }
    }

    public override string? Subject(UiState state) => state.Session switch
    {
        { Shown: { } shown } => $"hit {shown.Hit.Sequence}" + (state.Session.Stop is null ? "" : " (Esc: the stop)"),
        { Path: { Task: { } task } hit } => $"cpu {hit.Cpu} {task}",
        _ => null,
    };

    public override string WhyEmpty(UiState state) => state switch
    {
        { Abilities.IsLive: false } => "choose a hit (j, k in the hits)",
        { Session.Stop: { Path: null } stop } => $"no call path before the kernel is up: {stop.Phase} at {TraceHex.Format(stop.ProgramCounter)}",
        _ => NoMachine(state, "call path"),
    };

    public override string? PlaceAt(UiState state, int row) => FrameAt(state, row) is { } frame && state.Session.Path is { } hit && frame < hit.Path.Frames.Length
        ? hit.Path.Frames[frame] is { } f && f.Module is { } module ? $"{module}:{f.Function}" : hit.Path.Frames[frame].Function
        : null;

    public override string? ExpressionAt(UiState state, int row) =>
        state.Session.Path is { } hit && Index(state) is var rows && row < rows.Count && rows[row] is { Argument: >= 0 } at ? hit.ArgumentsOf(at.Frame)[at.Argument].Name : null;

    /// <summary>The frame that a row belongs to; the path's length for its end; null beyond.</summary>
    internal static int? FrameAt(UiState state, int row) => Index(state) is var rows && (uint)row < (uint)rows.Count ? rows[row].Frame : null;

    /// <summary>The row of a frame.</summary>
    internal static int RowOf(UiState state, int frame) => Math.Max(0, Index(state).FindIndex(r => r.Frame == frame));

    /// <summary>The frame whose source and variables are shown.</summary>
    internal static int ChosenFrame(UiState state) => state.ChosenFrame;

    private static List<Row> Index(UiState state)
    {
        var rows = new List<Row>();
        if (state.Session.Path is not { } hit)
        {
            return rows;
        }

        for (var frame = 0; frame < hit.Path.Frames.Length; frame++)
        {
            rows.Add(new Row(frame, -1));
            var count = hit.ArgumentsOf(frame).Count;
            if (state.OpenFrames.Contains(frame))
            {
                rows.AddRange(Enumerable.Range(0, count).Select(a => new Row(frame, a)));
            }
            else if (count > 0 && state.Options.Arguments)
            {
                rows.Add(new Row(frame, -2));
            }
        }

        rows.Add(new Row(hit.Path.Frames.Length, -1));
        return rows;
    }

    private static TextLine ArgumentLine(TraceRecord.Hit hit, Row row, int start)
    {
        var arguments = hit.ArgumentsOf(row.Frame);
        var line = new TextLine().PadTo(start);
        if (row.Argument < 0)
        {
            return line.Add(string.Join(", ", arguments.Select(ArgumentText.Of)), TextRole.Value);
        }

        var argument = arguments[row.Argument];
        line.Add(argument.Type is { } type ? type + (type.EndsWith('*') ? "" : " ") : "", TextRole.Number).Add(ArgumentText.Name(argument)).Add(" = ").Add(ArgumentText.Value(argument), TextRole.Value);
        return argument.IsKnown ? line.Add($"  from {argument.Provenance}", TextRole.Source) : line;
    }

    private static string Text(TraceRecord.Hit hit, Row row) => row switch
    {
        { Frame: var frame, Argument: -1 } when frame == hit.Path.Frames.Length => hit.PathEnd.Describe(hit.Task),
        { Argument: -1 } => $"{FrameText.Name(hit.Path.Frames[row.Frame])} {HitTable.Place(hit.Path.Frames[row.Frame])}",
        _ => ArgumentLine(hit, row, 0).ToString(),
    };
}
