using System.Globalization;
using KTrace.Tui.State;
using KTrace.Tui.Update;
using KTrace.Tui.Views;
using Spectre.Console;

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

    [Fact]
    public void Styles_of_a_live_session() => GoldenFile.Check("screen-styles-live-80x24", UiSamples.Live(80, 24).Type("/irq\n").Roles());

    [Fact]
    public void Styles_of_a_difference() => GoldenFile.Check("screen-styles-diff-132x43", UiSamples.Live(132, 43).Type("3").Roles());

    [Theory]
    [InlineData(80, 24)]
    [InlineData(200, 50)]
    public void Without_Unicode_everything_is_ASCII(int columns, int rows)
    {
        var live = UiSamples.Live(columns, rows).State;
        Check("ascii-1", new UiDriver(live with { Looks = live.Looks with { IsUnicode = false } }), columns, rows);
    }

    [Theory]
    [InlineData(80, 24)]
    [InlineData(132, 43)]
    public void Help_lists_the_keys(int columns, int rows) => Check("help", UiSamples.Live(columns, rows).Type("?"), columns, rows);

    // The words do not depend on colours, and what colours say is said by other means, too: the chosen row has a mark, what changed has one.
    [Fact]
    public void Without_colours_the_screen_says_the_same()
    {
        var state = UiSamples.Live(132, 43).State;
        foreach (var colours in Enum.GetValues<ColourDepth>())
        {
            foreach (var isLight in new[] { false, true })
            {
                var other = new UiDriver(state with { Looks = state.Looks with { Colours = colours, IsLight = isLight } });
                Assert.Equal(new UiDriver(state).Text(), other.Text());
                foreach (var role in Enum.GetValues<TextRole>())
                {
                    var style = Theme.Of(role, other.State.Looks);
                    Assert.True(colours != ColourDepth.None || (style.Foreground == Color.Default && style.Background == Color.Default), $"{role} has a colour");
                }
            }
        }

        var plain = Theme.Of(TextRole.Plain, TerminalLooks.Plain);
        foreach (var role in new[] { TextRole.Selected, TextRole.Changed, TextRole.Error, TextRole.Current, TextRole.Match, TextRole.Banner, TextRole.Key })
        {
            Assert.NotEqual(plain, Theme.Of(role, TerminalLooks.Plain));
        }
    }

    private static void Check(string name, UiDriver screen, int columns, int rows)
    {
        Assert.Equal(rows, screen.Screen().Length);
        GoldenFile.Check(string.Create(CultureInfo.InvariantCulture, $"screen-{name}-{columns}x{rows}"), screen.Text());
    }
}
