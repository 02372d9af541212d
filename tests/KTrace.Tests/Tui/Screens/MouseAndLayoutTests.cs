using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;
using KTrace.Tui.Update;

namespace KTrace.Tests.Tui.Screens;

/// <summary>Where panes are, and what the mouse does with them.</summary>
public class MouseAndLayoutTests
{
    [Theory]
    [InlineData(80, 24, true)]
    [InlineData(132, 43, true)]
    [InlineData(200, 50, false)]
    [InlineData(80, 24, false)]
    public void Every_layout_covers_the_screen_once_and_reaches_every_pane(int columns, int rows, bool isLive)
    {
        foreach (var layout in Layouts.All(isLive))
        {
            var state = UiSamples.Empty(columns, rows, isLive).State;
            state = state with { Remembered = state.Remembered with { Layout = layout.Number }, Recent = [layout.FirstFocus] };
            var arrangement = Arrangement.Of(state);
            Assert.Equal(Enum.GetValues<PaneKind>(), arrangement.Panes.SelectMany(p => p.Tabs).Order());
            Assert.Equal(layout.FirstFocus, arrangement.Find(state.Focus)?.Kind);
            for (var row = 1; row < rows - 1; row++)
            {
                for (var column = 0; column < columns; column++)
                {
                    var covering = arrangement.Panes.Count(p => p.Area.Contains(column, row)) + (arrangement.Borders.Any(b => b.IsColumns && b.Line.Contains(column, row)) ? 1 : 0);
                    Assert.True(covering == 1, $"layout {layout.Name}: {covering} at {column},{row}");
                }
            }
        }
    }

    [Fact]
    public void Tab_visits_every_pane_on_the_screen_and_brackets_those_behind_them()
    {
        var screen = UiSamples.Live(132, 43);
        var visited = Enumerable.Range(0, 6).Select(_ => screen.Type("\t").State.Focus).ToArray();
        Assert.Equal(6, visited.Distinct().Count());
        Assert.Equal(PaneKind.CallPath, visited[^1]);
        Assert.Equal(PaneKind.Breakpoints, screen.Press(KeyChord.Shift(KeyName.Tab)).State.Focus);
        Assert.Equal(PaneKind.Modules, screen.Type("]").State.Focus);
        Assert.Equal(PaneKind.Breakpoints, screen.Type("[").State.Focus);
    }

    [Fact]
    public void A_click_chooses_pane_and_row_and_a_name_in_a_title_its_pane()
    {
        var screen = UiSamples.Live(80, 24);
        var source = Arrangement.Of(screen.State).Find(PaneKind.Source)!;
        var top = screen.State.Pane(PaneKind.Source).Top;
        screen.Mouse(MouseAction.Press, 5, source.Area.Row + 2);
        Assert.Equal(PaneKind.Source, screen.State.Focus);
        Assert.Equal((top, top + 1), (screen.State.Pane(PaneKind.Source).Top, screen.State.Pane(PaneKind.Source).Cursor));
        var column = screen.Screen()[source.Area.Row].IndexOf("disassembly", StringComparison.Ordinal);
        screen.Mouse(MouseAction.Press, column + 2, source.Area.Row);
        Assert.Equal(PaneKind.Disassembly, screen.State.Focus);
    }

    [Fact]
    public void The_wheel_scrolls_what_is_under_it_and_leaves_the_focus()
    {
        var screen = UiSamples.Live(80, 24);
        var console = Arrangement.Of(screen.State).Find(PaneKind.Console)!;
        screen.Hear(new TargetNews.ConsoleText(string.Concat(Enumerable.Range(0, 50).Select(i => $"{i}\n"))));
        var top = screen.State.Pane(PaneKind.Console).Top;
        screen.Mouse(MouseAction.WheelUp, 3, console.Area.Row + 1);
        Assert.Equal(top - 3, screen.State.Pane(PaneKind.Console).Top);
        Assert.Equal(PaneKind.CallPath, screen.State.Focus);
        Assert.False(screen.State.Pane(PaneKind.Console).Follows);

        // New text does not move what is read; the end is followed again after G.
        screen.Hear(new TargetNews.ConsoleText("more\n"));
        Assert.Equal(top - 3, screen.State.Pane(PaneKind.Console).Top);
        screen.Type(":pane con\nG").Hear(new TargetNews.ConsoleText("last\n"));
        Assert.True(screen.State.Pane(PaneKind.Console).Follows);
        Assert.Contains("last", screen.Text(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_dragged_border_stays_and_is_remembered()
    {
        var screen = UiSamples.Live(132, 43);
        var border = Arrangement.Of(screen.State).Borders.First(b => b.IsColumns);
        screen.Mouse(MouseAction.Press, border.Line.Column, 5).Mouse(MouseAction.Drag, 40, 7);
        Assert.Equal(40, Arrangement.Of(screen.State).Borders.First(b => b.IsColumns).Line.Column);
        Assert.DoesNotContain(screen.Effects, e => e is UiEffect.Remember);
        screen.Mouse(MouseAction.Release, 40, 7);
        Assert.Contains(screen.Effects, e => e is UiEffect.Remember);

        // In another size the share stays, not the column; the same layout again puts it back.
        Assert.InRange(Arrangement.Of(screen.Resize(200, 50).State).Borders.First(b => b.IsColumns).Line.Column, 58, 63);
        screen.Resize(132, 43).Type(":layout 1\n");
        Assert.Equal(border.Line.Column, Arrangement.Of(screen.State).Borders.First(b => b.IsColumns).Line.Column);
    }

    [Fact]
    public void Resizing_keeps_the_cursor_on_the_screen()
    {
        var screen = UiSamples.OfTrace(200, 50).Type("G");
        foreach (var rows in new[] { 10, 24, 6, 50, 3, 24 })
        {
            screen.Resize(80, rows);
            var placed = Arrangement.Of(screen.State).Find(PaneKind.Hits)!;
            var pane = screen.State.Pane(PaneKind.Hits);
            Assert.Equal(28, pane.Cursor);
            Assert.InRange(pane.Cursor - pane.Top, 0, Math.Max(0, placed.BodyRows - 1));
        }
    }
}
