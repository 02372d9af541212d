using KTrace.Tui.State;
using KTrace.Tui.Update;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>All keys, those of the focused pane first.</summary>
internal static class HelpOverlay
{
    private const int KeyColumn = 22;

    public static IReadOnlyList<TextLine> Lines(UiState state, int width)
    {
        var lines = new List<TextLine>();
        var pane = PaneCatalog.Of(state.Focus);
        Section($"in {pane.Name}", KeyMap.All.Where(b => b.Panes.Contains(state.Focus)));
        foreach (var group in KeyMap.All.Where(b => b.Panes.IsEmpty).GroupBy(b => b.Group))
        {
            Section(group.Key, group);
        }

        foreach (var other in Enum.GetValues<PaneKind>().Where(k => k != state.Focus))
        {
            Section($"in {PaneCatalog.Of(other).Name}", KeyMap.All.Where(b => b.Panes.Contains(other)));
        }

        lines.Add(new TextLine().Add("mouse", TextRole.Heading));
        lines.Add(new TextLine().PadTo(2).Add("click", TextRole.Key).PadTo(KeyColumn).Add("choose a pane, a row, a name in a pane's title"));
        lines.Add(new TextLine().PadTo(2).Add("wheel", TextRole.Key).PadTo(KeyColumn).Add("scroll what is under it"));
        lines.Add(new TextLine().PadTo(2).Add("drag", TextRole.Key).PadTo(KeyColumn).Add("move the border between two panes (with Shift the terminal selects text)"));
        return lines;

        void Section(string name, IEnumerable<KeyBinding> bindings)
        {
            var all = bindings.ToArray();
            if (all.Length == 0)
            {
                return;
            }

            lines.Add(new TextLine().Add(name, TextRole.Heading));
            foreach (var binding in all)
            {
                lines.AddRange(new TextLine().PadTo(2).Add(string.Join(", ", binding.Keys), TextRole.Key).Add(" ").PadTo(KeyColumn).Wrap(binding.Meaning, TextRole.Plain, width - 1));
            }

            lines.Add(new TextLine());
        }
    }

    public static IEnumerable<TextLine> Page(UiState state, int top, Area area)
    {
        if (area.Rows < 1)
        {
            yield break;
        }

        var lines = Lines(state, area.Columns);
        yield return new TextLine().Add("━ ", TextRole.BorderFocused).Add("keys", TextRole.BorderFocused).Add(" " + new string('━', Math.Max(0, area.Columns - 7)), TextRole.BorderFocused);
        for (var row = 0; row < area.Rows - 1; row++)
        {
            yield return top + row < lines.Count ? lines[top + row] : new TextLine();
        }
    }
}
