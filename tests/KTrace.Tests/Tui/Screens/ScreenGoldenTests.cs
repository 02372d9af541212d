using System.Globalization;
using KTrace.Tui.State;
using KTrace.Tui.Update;

namespace KTrace.Tests.Tui.Screens;

/// <summary>Every pane and every layout as a person sees it, in three sizes of a terminal.</summary>
public class ScreenGoldenTests
{
    public static IEnumerable<object[]> LiveLayouts => Sizes.SelectMany(s => Enumerable.Range(1, Layouts.Count).Select(l => new object[] { s.Columns, s.Rows, l }));

    public static IEnumerable<object[]> Panes => Sizes.SelectMany(s => Enum.GetValues<PaneKind>().Select(p => new object[] { s.Columns, s.Rows, p }));

    private static (int Columns, int Rows)[] Sizes => [(80, 24), (132, 43), (200, 50)];

    [Theory]
    [MemberData(nameof(LiveLayouts))]
    public void Layout_of_a_live_session(int columns, int rows, int layout) =>
        Check($"live-{layout}", UiSamples.Live(columns, rows).Type(layout.ToString(CultureInfo.InvariantCulture)).Press(KeyChord.Control('l')), columns, rows);

    [Theory]
    [MemberData(nameof(LiveLayouts))]
    public void Layout_of_a_trace(int columns, int rows, int layout) =>
        Check($"trace-{layout}", UiSamples.OfTrace(columns, rows).Type(layout.ToString(CultureInfo.InvariantCulture)).Press(KeyChord.Control('l')), columns, rows);

    [Theory]
    [MemberData(nameof(Panes))]
    public void Pane_that_has_the_whole_screen(int columns, int rows, PaneKind pane) =>
        Check($"pane-{pane.ToString().ToLowerInvariant()}", UiSamples.Live(columns, rows).Type($":pane {pane.ToString()[..3].ToLowerInvariant()}\nz"), columns, rows);

    private static void Check(string name, UiDriver screen, int columns, int rows)
    {
        Assert.Equal(rows, screen.Screen().Length);
        GoldenFile.Check(string.Create(CultureInfo.InvariantCulture, $"screen-{name}-{columns}x{rows}"), screen.Text());
    }
}
