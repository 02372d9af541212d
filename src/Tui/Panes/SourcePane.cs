using System.Globalization;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>The chosen frame's source file, with breakpoints in the margin; without it why, and the instructions instead.</summary>
internal sealed class SourcePane() : Pane(PaneKind.Source, "source")
{
    private const int Tab = 8;

    public override PaneRows Rows(UiState state, int width)
    {
        if (state.Session.Frame is not { } frame)
        {
            return PaneRows.None;
        }

        if (frame.Source is not { } source)
        {
            return WithoutSource(state, frame, width);
        }

        var numbers = source.Count.ToString(CultureInfo.InvariantCulture).Length;
        var breakpoints = state.Breakpoints.Where(b => b.File is not null && b.File == frame.File && b.Line is not null).GroupBy(b => b.Line!.Value).ToDictionary(g => g.Key, g => g.Any(b => b.IsEnabled));
        return new PaneRows(source.Count, Line, i => source[i]);

        TextLine Line(int index)
        {
            var isCurrent = index + 1 == frame.Line;
            var line = new TextLine();
            if (breakpoints.TryGetValue(index + 1, out var isEnabled))
            {
                line.Add(isEnabled ? "●" : "○", TextRole.Breakpoint);
            }

            var number = (index + 1).ToString(CultureInfo.InvariantCulture);
            return line.PadTo(1 + numbers - number.Length).Add(number, isCurrent ? TextRole.Current : TextRole.Number).Add(isCurrent ? "▶" : " ", TextRole.Current)
                .Add(Untabbed(source[index]), isCurrent ? TextRole.Current : TextRole.Plain);
        }
    }

    public override string? Subject(UiState state) => state.Session.Frame switch
    {
        { File: { } file, Line: { } line } frame => string.Create(CultureInfo.InvariantCulture, $"{file}:{line} {frame.Function}"),
        { } frame => frame.Function,
        _ => null,
    };

    public override string WhyEmpty(UiState state) => state switch
    {
        { Abilities.IsLive: false } => "no source here: ktrace tui --source DIR names a kernel's source tree (or :source DIR)",
        _ => NoMachine(state, "source"),
    };

    public override string? PlaceAt(UiState state, int row) => state.Session.Frame switch
    {
        { Source: not null, File: { } file } => string.Create(CultureInfo.InvariantCulture, $"{file}:{row + 1}"),
        { Source: null, Code: { } code } when row >= WhyRows => CodeRows.AddressAt(state, code, row - WhyRows) is { } address ? $"*0x{address:x}" : null,
        _ => null,
    };

    /// <summary>Tabs as blanks: a terminal's own stops would be somewhere else.</summary>
    internal static string Untabbed(string text)
    {
        if (!text.Contains('\t', StringComparison.Ordinal))
        {
            return text;
        }

        var line = new TextLine();
        foreach (var (part, index) in text.Split('\t').Select((p, i) => (p, i)))
        {
            line = (index == 0 ? line : line.PadTo((line.Width / Tab * Tab) + Tab)).Add(part);
        }

        return string.Concat(line.Spans.Select(s => s.Text));
    }

    /// <summary>Rows before the code where there is no source: two for why.</summary>
    internal const int WhyRows = 2;

    private static PaneRows WithoutSource(UiState state, FrameSnapshot frame, int width)
    {
        TextLine[] why =
        [
            .. new TextLine().Wrap(frame.WhyNoSource ?? "no source here: ktrace tui --source DIR names a kernel's source tree (or :source DIR)", TextRole.Warning, width)
                .Concat([new TextLine(), new TextLine()]).Take(WhyRows),
        ];
        if (frame.Code is not { } code)
        {
            return PaneRows.Of(why);
        }

        var rows = CodeRows.Of(state, code, width);
        return new PaneRows(WhyRows + rows.Count, i => i < WhyRows ? why[i] : rows[i - WhyRows]);
    }
}
