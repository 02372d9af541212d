using System.Collections.Immutable;
using System.Globalization;

namespace KTrace.Tui.State;

/// <summary>Cells of the screen, from 0.</summary>
public readonly record struct Area(int Column, int Row, int Columns, int Rows)
{
    public bool Contains(int column, int row) => column >= Column && column < Column + Columns && row >= Row && row < Row + Rows;
}

/// <summary>A slot on the screen: its first row is the title, its rest shows rows of the pane.</summary>
/// <param name="Tabs">All panes of the slot.</param>
public sealed record PlacedPane(PaneKind Kind, ImmutableArray<PaneKind> Tabs, Area Area)
{
    /// <summary>Rows below the title.</summary>
    public int BodyRows => Math.Max(0, Area.Rows - 1);
}

/// <summary>A border that the mouse can move.</summary>
/// <param name="Key">Of <see cref="Remembered.Splits"/>.</param>
/// <param name="Line">Where it is to be taken: a column of cells, or a title row.</param>
/// <param name="Whole">What it divides.</param>
public sealed record PlacedBorder(string Key, bool IsColumns, Area Line, Area Whole);

/// <summary>Where everything of a state is on the screen. Row 0 is the session's title, the last row keys, messages and prompts.</summary>
public sealed record Arrangement(ImmutableArray<PlacedPane> Panes, ImmutableArray<PlacedBorder> Borders)
{
    // A pane with less has no room for its title and a row.
    private const int LeastColumns = 12;
    private const int LeastRows = 2;

    public static Arrangement Of(UiState state)
    {
        var body = Body(state);
        var tree = Layouts.Tree(state);
        var panes = ImmutableArray.CreateBuilder<PlacedPane>();
        var borders = ImmutableArray.CreateBuilder<PlacedBorder>();
        if (body.Rows < 1 || body.Columns < 1)
        {
            return new Arrangement([], []);
        }

        if (state.IsZoomed || body.Columns < 2 * LeastColumns || body.Rows < 2 * LeastRows)
        {
            return new Arrangement([new PlacedPane(state.Focus, TabsWith(tree, state.Focus), body)], []);
        }

        Place(tree, body);
        return new Arrangement(panes.ToImmutable(), borders.ToImmutable());

        void Place(LayoutNode node, Area area)
        {
            if (node is LayoutNode.Slot slot)
            {
                panes.Add(new PlacedPane(Front(state, slot), slot.Panes, area));
                return;
            }

            var split = (LayoutNode.Split)node;
            var key = string.Create(CultureInfo.InvariantCulture, $"{state.Remembered.Layout}{(ReferenceEquals(tree, Layouts.Of(state).Wide) ? "" : "s")}/{split.Name}");
            var fraction = state.Remembered.Splits.TryGetValue(key, out var dragged) && double.IsFinite(dragged) ? Math.Clamp(dragged, 0.05, 0.95) : split.Fraction;
            if (split.IsColumns)
            {
                // One column is the border's.
                var left = Share(area.Columns - 1, fraction, LeastColumns);
                borders.Add(new PlacedBorder(key, IsColumns: true, area with { Column = area.Column + left, Columns = 1 }, area));
                Place(split.First, area with { Columns = left });
                Place(split.Second, area with { Column = area.Column + left + 1, Columns = area.Columns - left - 1 });
            }
            else
            {
                var top = Share(area.Rows, fraction, LeastRows);
                borders.Add(new PlacedBorder(key, IsColumns: false, area with { Row = area.Row + top, Rows = 1 }, area));
                Place(split.First, area with { Rows = top });
                Place(split.Second, area with { Row = area.Row + top, Rows = area.Rows - top });
            }
        }
    }

    /// <summary>Between title and footer.</summary>
    public static Area Body(UiState state) => new(0, Math.Min(1, Math.Max(0, state.Size.Rows - 1)), state.Size.Columns, Math.Max(0, state.Size.Rows - 2));

    public PlacedPane? Find(PaneKind kind) => Panes.FirstOrDefault(p => p.Kind == kind);

    public PlacedPane? At(int column, int row) => Panes.FirstOrDefault(p => p.Area.Contains(column, row));

    /// <summary>The slot's pane that was looked at last, or its first.</summary>
    private static PaneKind Front(UiState state, LayoutNode.Slot slot)
    {
        foreach (var kind in state.Recent)
        {
            if (slot.Panes.Contains(kind))
            {
                return kind;
            }
        }

        return slot.Panes[0];
    }

    private static ImmutableArray<PaneKind> TabsWith(LayoutNode node, PaneKind kind) => node switch
    {
        LayoutNode.Slot slot => slot.Panes.Contains(kind) ? slot.Panes : [],
        LayoutNode.Split split => TabsWith(split.First, kind) is { IsEmpty: false } found ? found : TabsWith(split.Second, kind),
        _ => [],
    };

    private static int Share(int cells, double fraction, int least) => Math.Clamp((int)Math.Round(cells * fraction), Math.Min(least, cells / 2), Math.Max(cells / 2, cells - least));
}
