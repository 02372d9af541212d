using System.Globalization;
using KTrace.Tui.State;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>
/// A slot's first row: the names of its panes, the shown one in brackets where there are more, what it shows, and where the cursor is: <c>━ [call path] hits ━━━ cpu 0 ifconfig ━ 3/40 ━</c>.
/// The focused pane has heavy lines.
/// </summary>
internal static class PaneTitle
{
    public static TextLine Line(UiState state, PlacedPane placed, int count, bool isFocused)
    {
        var width = placed.Area.Columns;
        var (dash, border) = isFocused ? ("━", TextRole.BorderFocused) : ("─", TextRole.Border);
        var right = Position(state, placed, count);
        var names = Names(placed, Room(state, placed, right));
        var line = new TextLine().Add(dash, border);
        foreach (var (text, kind, _) in names)
        {
            line.Add(" ").Add(text, kind == placed.Kind ? isFocused ? TextRole.BorderFocused : TextRole.Title : TextRole.Tab);
        }

        line.Add(" ");
        var end = right.Length > 0 ? right.Length + 3 : 1;
        // What is shown is worth more than the line: but a few cells of that must stay.
        const int Least = 8;
        if (PaneCatalog.Of(placed.Kind).Subject(state) is { Length: > 0 } subject && width - line.Width - end - 4 >= Least)
        {
            var safe = TerminalText.Sanitize(subject);
            // Of a file's path the end says more, of everything else the beginning.
            var text = placed.Kind == PaneKind.Source ? TerminalText.KeepEnd(safe, width - line.Width - end - 4) : TerminalText.KeepStart(safe, width - line.Width - end - 4);
            line.Add(new string(dash[0], Math.Max(1, width - line.Width - end - TerminalText.Width(text) - 2)), border).Add(" ").Add(text, TextRole.Value).Add(" ");
        }

        line.Add(new string(dash[0], Math.Max(0, width - line.Width - end)), border);
        if (right.Length > 0 && line.Width + right.Length + 3 <= width)
        {
            line.Add(" ").Add(right, TextRole.Number).Add(" ");
        }

        return line.Add(new string(dash[0], Math.Max(0, width - line.Width)), border).Fit(width);
    }

    /// <summary>The pane whose name is at a column of the screen; null: none.</summary>
    public static PaneKind? TabAt(UiState state, PlacedPane placed, int column)
    {
        var width = placed.Area.Columns;
        var right = Position(state, placed, PaneCatalog.Of(placed.Kind).Rows(state, Math.Max(1, width - 1)).Count);
        foreach (var (text, kind, start) in Names(placed, Room(state, placed, right)))
        {
            if (column >= placed.Area.Column + start && column < placed.Area.Column + start + text.Length)
            {
                return kind;
            }
        }

        return null;
    }

    /// <summary>Cells for names: what is shown gets some of them before panes that are not.</summary>
    private static int Room(UiState state, PlacedPane placed, string right)
    {
        const int ForSubject = 28;
        var subject = PaneCatalog.Of(placed.Kind).Subject(state) is { Length: > 0 } text ? Math.Min(ForSubject, text.Length + 4) : 0;
        return Math.Max(0, placed.Area.Columns - 2 - (right.Length > 0 ? right.Length + 3 : 0) - subject);
    }

    /// <summary>Names of the slot's panes as far as there is room: the shown one always, the others in their order.</summary>
    private static List<(string Text, PaneKind? Kind, int Start)> Names(PlacedPane placed, int room)
    {
        var shown = PaneCatalog.Of(placed.Kind).Name;
        if (placed.Tabs.Length < 2)
        {
            return [(shown, placed.Kind, 2)];
        }

        shown = $"[{shown}]";
        var left = room - shown.Length - 1;
        var names = new List<(string, PaneKind?, int)>();
        var hidden = 0;
        foreach (var kind in placed.Tabs)
        {
            var name = PaneCatalog.Of(kind).Name;
            if (kind == placed.Kind)
            {
                names.Add((shown, kind, 0));
            }
            else if (left > name.Length + 4)
            {
                names.Add((name, kind, 0));
                left -= name.Length + 1;
            }
            else
            {
                hidden++;
            }
        }

        if (hidden > 0 && left >= 3)
        {
            names.Add((string.Create(CultureInfo.InvariantCulture, $"+{hidden}"), null, 0));
        }

        var start = 2;
        for (var i = 0; i < names.Count; i++)
        {
            names[i] = (names[i].Item1, names[i].Item2, start);
            start += names[i].Item1.Length + 1;
        }

        return names;
    }

    private static string Position(UiState state, PlacedPane placed, int count) =>
        count == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"{Math.Min(count, state.Pane(placed.Kind).Cursor + 1)}/{count}");
}
