using System.Text;
using KTrace.Tui.State;
using KTrace.Tui.Update;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>A slot's lines: its title, then those rows of its pane that are on the screen.</summary>
internal static class PaneBody
{
    public static TextLine[] Lines(UiState state, PlacedPane placed)
    {
        var lines = new TextLine[placed.Area.Rows];
        var pane = PaneCatalog.Of(placed.Kind);
        var width = Math.Max(1, placed.Area.Columns - 1);
        var rows = pane.Rows(state, width);
        var at = state.Pane(placed.Kind);
        var isFocused = placed.Kind == state.Focus;
        lines[0] = PaneTitle.Line(state, placed, rows.Count, isFocused);
        var next = 1;
        if (rows.Head is { } head && next < lines.Length)
        {
            lines[next++] = new TextLine().Add(" ").Add(Shifted(head, at.Left));
        }

        if (rows.Count == 0)
        {
            foreach (var line in new TextLine().PadTo(1).Wrap(pane.WhyEmpty(state), TextRole.Source, placed.Area.Columns).Take(lines.Length - next))
            {
                lines[next++] = line;
            }
        }

        for (var row = Math.Max(0, at.Top); row < rows.Count && next < lines.Length; row++)
        {
            lines[next++] = Row(row);
        }

        while (next < lines.Length)
        {
            lines[next++] = new TextLine();
        }

        return lines;

        TextLine Row(int row)
        {
            if (rows.Grid is { } grid)
            {
                return GridRow(grid, row);
            }

            var line = Found(Shifted(rows[row], at.Left));
            if (row != at.Cursor || (state.IsTyping && isFocused))
            {
                return new TextLine().Add(" ").Add(line);
            }

            return isFocused
                ? new TextLine().Add("▸", TextRole.Selected).Add(line, TextRole.Selected).Fit(placed.Area.Columns) is var fitted
                    ? fitted.Add(new string(' ', Math.Max(0, placed.Area.Columns - fitted.Width)), TextRole.Selected) : line
                : new TextLine().Add("▹", TextRole.Tab).Add(line, TextRole.SelectedElsewhere);
        }

        TextLine GridRow(PaneGrid grid, int row)
        {
            var line = new TextLine();
            var cells = grid.Cells(row);
            for (var column = 0; column < cells.Count; column++)
            {
                var isChosen = row == at.Cursor && column == grid.Column(row);
                line.PadTo(column * grid.CellWidth).Add(isChosen ? isFocused ? "▸" : "▹" : " ", isFocused ? TextRole.Selected : TextRole.Tab);
                line.Add(Found(cells[column]), isChosen ? isFocused ? TextRole.Selected : TextRole.SelectedElsewhere : null);
            }

            return line;
        }

        TextLine Found(TextLine line) => at.Search is { Length: > 0 } search ? WithMatches(line, search) : line;
    }

    /// <summary>A line without its first cells.</summary>
    private static TextLine Shifted(TextLine line, int cells)
    {
        if (cells <= 0)
        {
            return line;
        }

        var rest = new TextLine();
        var gone = 0;
        foreach (var (text, role) in line.Spans)
        {
            if (gone >= cells)
            {
                rest.Add(text, role);
                continue;
            }

            var width = TerminalText.Width(text);
            if (gone + width <= cells)
            {
                gone += width;
                continue;
            }

            var kept = new StringBuilder();
            foreach (var rune in text.EnumerateRunes())
            {
                if (gone >= cells)
                {
                    kept.Append(rune);
                }
                else
                {
                    gone += TerminalText.Width(rune.ToString());
                    // Half of a wide character that was cut through.
                    kept.Append(' ', Math.Max(0, gone - cells));
                }
            }

            rest.Add(kept.ToString(), role);
        }

        return rest;
    }

    /// <summary>A line with what a search found in another role.</summary>
    private static TextLine WithMatches(TextLine line, string search)
    {
        var comparison = Searching.Comparison(search);
        var whole = string.Concat(line.Spans.Select(s => s.Text));
        var found = whole.IndexOf(search, comparison);
        if (found < 0)
        {
            return line;
        }

        var marked = new TextLine();
        var start = 0;
        foreach (var (text, role) in line.Spans)
        {
            var at = 0;
            while (at < text.Length)
            {
                while (found >= 0 && found + search.Length <= start + at)
                {
                    found = whole.IndexOf(search, found + search.Length, comparison);
                }

                var isMatch = found >= 0 && found <= start + at;
                var end = found < 0 ? text.Length : Math.Min(text.Length, (isMatch ? found + search.Length : found) - start);
                marked.Add(text[at..end], isMatch ? TextRole.Match : role);
                at = end;
            }

            start += text.Length;
        }

        return marked;
    }
}
