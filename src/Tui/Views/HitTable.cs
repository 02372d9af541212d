using System.Globalization;
using KTrace.Tracing;

namespace KTrace.Tui.Views;

/// <summary>
/// The hits of a trace, one a line: which tracepoint, where, who, when, and the function that tells where it belongs
/// (<see cref="CallPathLandmark"/>). A narrow terminal shows tracepoints by number, with their names above, and no source.
/// </summary>
public sealed class HitTable(Trace trace) : View
{
    private const int Gap = 2;
    private const int SourceMinimum = 20;
    private const int WhereMinimum = 24;

    // Many hits share few paths, and looking for what says most in a path is what costs.
    private readonly Dictionary<CallPath, (Cell Where, Cell Source)> _landmarks = [];

    private enum Column
    {
        Hit,
        Id,
        Tracepoint,
        Cpu,
        Task,
        Pid,
        Time,
        Flags,
        Where,
        Source,
        End,
    }

    public override IEnumerable<TextLine> Lines(int? width)
    {
        List<Cell[]> rows = [.. trace.Hits.Select(Row)];
        Cell[] heads = [.. Enum.GetValues<Column>().Select(column => new Cell(Head(column), TextRole.Heading))];
        int[] natural = [.. heads.Select((head, i) => rows.Aggregate(head.Width, (most, row) => Math.Max(most, row[i].Width)))];
        (List<Column> columns, int[] widths) = Choose(natural, width, trace.Hits.Any(hit => hit.Context is not null));
        if (width is not null)
        {
            foreach (TextLine line in Title(columns.Contains(Column.Id)))
            {
                yield return line;
            }
        }

        yield return Line(heads, columns, widths);
        foreach ((Cell[] row, TraceRecord.Hit hit) in rows.Zip(trace.Hits))
        {
            yield return Line(row, columns, widths);
            foreach (TextLine line in CallPathView.PrintLines(hit.Prints, trace.Returns.GetValueOrDefault(hit.Sequence), widths[(int)Column.Hit] + Gap, width))
            {
                yield return line;
            }
        }
    }

    /// <summary>What a hit's clock says, in seconds where possible.</summary>
    internal static string Time(TraceClock? clock, TraceRecord.Header header) => clock switch
    {
        null => "-",
        _ when clock.Seconds(header.JiffiesPerSecond) is { } seconds => seconds.ToString(
            clock is { Nanoseconds: null, Ticks: null } ? "0.000" : "0.000000", CultureInfo.InvariantCulture),
        { Instructions: { } instructions } => string.Create(CultureInfo.InvariantCulture, $"{instructions} insn"),
        { Jiffies: { } jiffies } => string.Create(CultureInfo.InvariantCulture, $"{jiffies} j"),
        _ => "-",
    };

    /// <summary>Safe text, which may be cut by cells.</summary>
    internal static string Place(TraceFrame? frame) => TerminalText.Sanitize(frame switch
    {
        { File: { } file, Line: { } line } => string.Create(CultureInfo.InvariantCulture, $"{file}:{line}"),
        { File: { } file } => file,
        _ => "-",
    });

    private static string Head(Column column) => column switch
    {
        Column.Id => "TP",
        _ => column.ToString().ToUpperInvariant(),
    };

    private static (List<Column> Columns, int[] Widths) Choose(int[] natural, int? width, bool withFlags)
    {
        int[] widths = [.. natural];
        List<Column> columns =
            [Column.Hit, Column.Tracepoint, Column.Cpu, Column.Task, Column.Pid, Column.Time, Column.Flags, Column.Where, Column.Source, Column.End];
        if (!withFlags)
        {
            columns.Remove(Column.Flags);
        }

        if (width is not { } cells)
        {
            return (columns, widths);
        }

        // First what a terminal cannot show goes, then the source is shortened, then the function.
        if (Excess(columns, widths, cells) > Spare(Column.Source))
        {
            columns.Remove(Column.End);
        }

        if (Excess(columns, widths, cells) > Spare(Column.Source))
        {
            columns[columns.IndexOf(Column.Tracepoint)] = Column.Id;
        }

        if (Excess(columns, widths, cells) > Spare(Column.Source))
        {
            columns.Remove(Column.Source);
        }

        if (Excess(columns, widths, cells) > 0 && !columns.Contains(Column.Source) && Excess(columns, widths, cells) > widths[(int)Column.Where] - WhereMinimum)
        {
            columns.Remove(Column.Flags);
        }

        if (columns.Contains(Column.Source))
        {
            Shrink(Column.Source, SourceMinimum);
        }

        Shrink(Column.Where, WhereMinimum);
        return (columns, widths);

        int Spare(Column column) => Math.Max(0, widths[(int)column] - SourceMinimum);

        void Shrink(Column column, int minimum)
        {
            int excess = Excess(columns, widths, cells);
            if (excess > 0)
            {
                widths[(int)column] = Math.Max(Math.Min(minimum, widths[(int)column]), widths[(int)column] - excess);
            }
        }
    }

    private static int Excess(List<Column> columns, int[] widths, int cells) =>
        columns.Sum(column => widths[(int)column] + Gap) - Gap - cells;

    private static TextLine Line(Cell[] cells, List<Column> columns, int[] widths)
    {
        var line = new TextLine();
        int start = 0;
        foreach (Column column in columns)
        {
            Cell cell = cells[(int)column];
            int width = widths[(int)column];
            bool right = column is Column.Hit or Column.Id or Column.Cpu or Column.Pid or Column.Time;
            line.PadTo(right ? start + width - cell.Width : start);
            if (column == Column.Source)
            {
                line.Add(TerminalText.KeepEnd(cell.Text.ToString(), width), TextRole.Source);
            }
            else
            {
                line.Add(cell.Text.Fit(width));
            }

            start += width + Gap;
        }

        return line;
    }

    private IEnumerable<TextLine> Title(bool withLegend)
    {
        string release = trace.Header.Kernel.Release is { } name ? $"Linux {name}, " : "";
        string hits = trace.Hits.Count == trace.HitCount
            ? Plural.Of(trace.HitCount, "hit")
            : string.Create(CultureInfo.InvariantCulture, $"{trace.Hits.Count} of {trace.HitCount} hits");
        yield return new TextLine().Add(trace.File, TextRole.Heading).Add($": {release}{trace.Header.Arch}, {hits}");
        if (withLegend)
        {
            foreach (TraceTracepoint tracepoint in trace.Tracepoints.All)
            {
                yield return new TextLine().Add(string.Create(CultureInfo.InvariantCulture, $"  TP {tracepoint.Id} is "))
                    .Add(tracepoint.Requested, TextRole.Function)
                    .Add(TracepointText.Armed(tracepoint), TextRole.Source);
            }
        }

        yield return new TextLine();
    }

    private Cell[] Row(TraceRecord.Hit hit)
    {
        if (!_landmarks.TryGetValue(hit.Path, out (Cell Where, Cell Source) landmark))
        {
            TraceFrame? frame = CallPathLandmark.Find(hit.Path);
            landmark = (new Cell(FrameText.Name(frame)), new Cell(Place(frame), TextRole.Source));
            _landmarks.Add(hit.Path, landmark);
        }

        string end = hit.PathEnd.Syscall is { } syscall
            ? syscall.Name ?? string.Create(CultureInfo.InvariantCulture, $"syscall {syscall.Number}")
            : hit.PathEnd.Reason;
        return
        [
            new Cell(hit.Sequence),
            new Cell(hit.Tracepoint),
            new Cell(trace.Tracepoints.Place(hit.Tracepoint), TextRole.Plain),
            new Cell(hit.Cpu),
            new Cell(hit.Task?.Comm ?? "-", TextRole.Plain),
            hit.Task is { } task ? new Cell(task.Pid) : new Cell("-", TextRole.Plain),
            new Cell(Time(hit.Clock, trace.Header), TextRole.Plain),
            new Cell(hit.Context?.Flags ?? "-", TextRole.Plain),
            landmark.Where,
            landmark.Source,
            new Cell(end, TextRole.Reason),
        ];
    }

    private readonly record struct Cell(TextLine Text)
    {
        public Cell(string text, TextRole role)
            : this(new TextLine().Add(text, role))
        {
        }

        public Cell(long number)
            : this(number.ToString(CultureInfo.InvariantCulture), TextRole.Plain)
        {
        }

        public int Width => Text.Width;
    }
}
