namespace KTrace.Tui.Views;

/// <summary>A table's column.</summary>
/// <param name="IsNumber">Its right ends are below each other.</param>
/// <param name="Rank">Where a terminal is too narrow, the columns with the highest rank are left out first; 0 never is.</param>
internal sealed record TableColumn(string Head, bool IsNumber = false, int Rank = 0);

/// <summary>Rows below each other in columns, as wide as their widest cell. The last column is cut where the terminal ends.</summary>
internal sealed class ColumnLines(params TableColumn[] columns)
{
    private const int Gap = 2;

    // A last column that is narrower says nothing; others go before it is cut to less.
    private const int LastMinimum = 24;

    private readonly List<TextLine[]> _rows = [];

    /// <param name="cells">One for each column; null: empty.</param>
    public void Add(params TextLine?[] cells) => _rows.Add([.. cells.Select(c => c ?? new TextLine())]);

    /// <summary>A heading, then the rows. Columns in which nothing stands are left out.</summary>
    public IEnumerable<TextLine> Lines(int? width)
    {
        TextLine[] heads = [.. columns.Select(c => new TextLine().Add(c.Head, TextRole.Heading))];
        int[] widths = [.. heads.Select((head, i) => _rows.Aggregate(head.Width, (most, row) => Math.Max(most, row[i].Width)))];
        List<int> shown = [.. Enumerable.Range(0, columns.Length).Where(i => _rows.Count == 0 || _rows.Exists(row => row[i].Width > 0))];
        while (width is { } cells && Needed(shown, widths) > cells && shown.Exists(i => columns[i].Rank > 0))
        {
            shown.Remove(shown.MaxBy(i => columns[i].Rank));
        }

        foreach (TextLine[] row in _rows.Prepend(heads))
        {
            var line = new TextLine();
            int start = 0;
            foreach (int i in shown)
            {
                line.PadTo(columns[i].IsNumber ? start + widths[i] - row[i].Width : start).Add(row[i]);
                start += widths[i] + Gap;
            }

            yield return line.Fit(width);
        }
    }

    private static int Needed(List<int> shown, int[] widths) =>
        shown.Select((column, i) => i == shown.Count - 1 ? Math.Min(widths[column], LastMinimum) : widths[column]).Sum() + (Gap * Math.Max(0, shown.Count - 1));
}
