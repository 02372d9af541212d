using System.Collections.Immutable;
using KTrace.Tui.Targets;

namespace KTrace.Tui.State;

/// <summary>The hits of the session or of the trace, and those of them that a filter lets through.</summary>
public sealed record Timeline
{
    /// <summary>Columns whose widths are kept: number, CPU, task, context, clock, place, landmark.</summary>
    public const int Columns = 7;

    private static readonly int[] MostCells = [9, 3, 24, 5, 14, 32, 32];

    public static Timeline Empty { get; } = new();

    public AppendOnlyList<HitSummary> All { get; private init; } = AppendOnlyList<HitSummary>.Empty;

    /// <summary>Hits behind those of <see cref="All"/> that are not listed: there are too many. They can be looked at by their number.</summary>
    public long Hidden { get; init; }

    public HitFilterText? Filter { get; private init; }

    // Indices into All; null without a filter.
    private AppendOnlyList<int>? Passed { get; init; }

    /// <summary>Cells of each column's widest text, so far and up to a bound.</summary>
    public ImmutableArray<int> Widths { get; private init; } = [3, 3, 4, 4, 4, 5, 5];

    /// <summary>The marked hits, at most two, in the order of marking.</summary>
    public ImmutableArray<long> Marks { get; private init; } = [];

    public int Count => Passed?.Count ?? All.Count;

    public HitSummary this[int index] => Passed is { } passed ? All[passed[index]] : All[index];

    public Timeline Add(ImmutableArray<HitSummary> hits)
    {
        Span<int> widths = stackalloc int[Columns];
        Widths.CopyTo(widths);
        foreach (var hit in hits)
        {
            Widen(widths, hit);
        }

        return this with
        {
            All = All.Append(hits.AsSpan()),
            Passed = Filter is { } filter && Passed is { } passed ? passed.Append(Matching(filter, hits, All.Count)) : null,
            Widths = [.. widths],
        };
    }

    /// <param name="filter">Null: all hits.</param>
    public Timeline FilteredBy(HitFilterText? filter) => this with
    {
        Filter = filter,
        Passed = filter is null ? null : AppendOnlyList<int>.Empty.Append(Matching(filter, All, 0)),
    };

    /// <summary>Marks a hit, or takes the mark away; of three marks the oldest goes.</summary>
    public Timeline ToggleMark(long sequence) => this with
    {
        Marks = Marks.Contains(sequence) ? Marks.Remove(sequence) : Marks.Length < 2 ? Marks.Add(sequence) : [Marks[1], sequence],
    };

    /// <summary>The row of a hit; -1 when it is not there. Rows are in the order of their numbers.</summary>
    public int RowOf(long sequence)
    {
        var (low, high) = (0, Count - 1);
        while (low <= high)
        {
            var middle = (low + high) / 2;
            switch (this[middle].Sequence.CompareTo(sequence))
            {
                case 0: return middle;
                case < 0: low = middle + 1; break;
                default: high = middle - 1; break;
            }
        }

        return -1;
    }

    /// <summary>A column's text, in the order of <see cref="Widths"/>.</summary>
    internal static string Cell(HitSummary hit, int column) => column switch
    {
        0 => hit.Sequence.ToString(System.Globalization.CultureInfo.InvariantCulture),
        1 => hit.Cpu.ToString(System.Globalization.CultureInfo.InvariantCulture),
        2 => hit.Task,
        3 => hit.Context,
        4 => hit.Clock,
        5 => hit.Place,
        _ => hit.Where,
    };

    private static void Widen(Span<int> widths, HitSummary hit)
    {
        for (var i = 0; i < Columns; i++)
        {
            if (widths[i] < MostCells[i])
            {
                widths[i] = Math.Max(widths[i], Math.Min(MostCells[i], Views.TerminalText.Width(Views.TerminalText.Sanitize(Cell(hit, i)))));
            }
        }
    }

    private static int[] Matching(HitFilterText filter, IReadOnlyList<HitSummary> hits, int firstIndex)
    {
        var found = new List<int>();
        for (var i = 0; i < hits.Count; i++)
        {
            if (filter.Matches(hits[i]))
            {
                found.Add(firstIndex + i);
            }
        }

        return [.. found];
    }
}
