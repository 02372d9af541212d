using KTrace.Tracing;

namespace KTrace.Tui.Views;

/// <summary>
/// Two call paths, innermost first: side by side where there is room, otherwise one below the other with - and +. What they have in
/// common is folded when it is long.
/// </summary>
public sealed class PathDiffView(PathDiff diff, CallPath a, CallPath b) : View
{
    /// <summary>From this width on the paths stand side by side.</summary>
    public const int SideBySide = 120;

    // A common stretch keeps this many lines next to what differs.
    private const int Context = 3;
    // What a narrow terminal keeps for the source, where functions are longer than it can show.
    private const int SourceColumn = 30;
    private const string Divider = " | ";

    public override IEnumerable<TextLine> Lines(int? width) =>
        width is >= SideBySide ? TwoColumns(width.Value) : Unified(width);

    private IEnumerable<TextLine> Unified(int? width)
    {
        int numbers = FrameText.Number(Math.Max(a.Frames.Length, b.Frames.Length)).Length;
        int nameStart = 2 + (2 * (numbers + 1)) + 1;
        int names = a.Frames.Concat(b.Frames).Select(frame => FrameText.Name(frame).Width).DefaultIfEmpty().Max();
        for (int s = 0; s < diff.Segments.Length; s++)
        {
            PathDiff.Segment segment = diff.Segments[s];
            if (segment.IsCommon)
            {
                foreach (int? offset in Folded(segment.A.Count, s))
                {
                    yield return offset is { } at
                        ? Frame(" ", a, segment.A.Start + at, segment.B.Start + at, null)
                        : Fold(segment.A.Count, s).Add(Range(segment), TextRole.Source);
                }

                continue;
            }

            for (int i = segment.A.Start; i < segment.A.Start + segment.A.Count; i++)
            {
                yield return Frame("-", a, i, null, TextRole.Removed);
            }

            for (int j = segment.B.Start; j < segment.B.Start + segment.B.Count; j++)
            {
                yield return Frame("+", b, null, j, TextRole.Added);
            }
        }

        TextLine Frame(string sign, CallPath path, int? numberA, int? numberB, TextRole? role)
        {
            TextLine line = new TextLine().Add(sign + " ", role ?? TextRole.Plain)
                .Add(numberA is { } i ? FrameText.Number(i) : "", TextRole.Number).PadTo(2 + numbers + 1)
                .Add(numberB is { } j ? FrameText.Number(j) : "", TextRole.Number).PadTo(nameStart);
            TraceFrame frame = path.Frames[(numberA ?? numberB)!.Value];
            line.Add(FrameText.Name(frame, role));
            if (frame.File is null)
            {
                return line;
            }

            int start = width is { } cells ? Math.Max(line.Width + 2, Math.Min(nameStart + names + 2, cells - SourceColumn)) : nameStart + names + 2;
            string place = HitTable.Place(frame);
            return line.PadTo(start).Add(width is null ? place : TerminalText.KeepEnd(place, width.Value - start), TextRole.Source);
        }
    }

    private IEnumerable<TextLine> TwoColumns(int width)
    {
        int column = (width - Divider.Length) / 2;
        for (int s = 0; s < diff.Segments.Length; s++)
        {
            PathDiff.Segment segment = diff.Segments[s];
            if (segment.IsCommon)
            {
                foreach (int? offset in Folded(segment.A.Count, s))
                {
                    yield return offset is { } at
                        ? Row(Half(a, segment.A.Start + at, column, null), Half(b, segment.B.Start + at, column, null), column, Divider)
                        : Fold(segment.A.Count, s);
                }

                continue;
            }

            int rows = Math.Max(segment.A.Count, segment.B.Count);
            for (int row = 0; row < rows; row++)
            {
                bool left = row < segment.A.Count;
                bool right = row < segment.B.Count;
                yield return Row(
                    left ? Half(a, segment.A.Start + row, column, TextRole.Removed) : new TextLine(),
                    right ? Half(b, segment.B.Start + row, column, TextRole.Added) : new TextLine(),
                    column,
                    left && right ? " ! " : left ? " < " : " > ");
            }
        }
    }

    private static TextLine Row(TextLine left, TextLine right, int column, string divider) =>
        new TextLine().Add(left).PadTo(column).Add(divider, TextRole.Heading).Add(right);

    private static TextLine Half(CallPath path, int index, int column, TextRole? role)
    {
        TraceFrame frame = path.Frames[index];
        TextLine line = new TextLine().Add(FrameText.Number(index), TextRole.Number)
            .PadTo(FrameText.Number(path.Frames.Length).Length + 1)
            .Add(FrameText.Name(frame, role));
        const int SourceMinimum = 12;
        int room = column - line.Width - 2;
        if (frame.File is not null && room >= SourceMinimum)
        {
            // To the right edge of its half, so that sources line up and functions stay readable.
            string place = TerminalText.KeepEnd(HitTable.Place(frame), room);
            line.PadTo(column - TerminalText.Width(place)).Add(place, TextRole.Source);
        }

        return line.Fit(column);
    }

    /// <summary>Offsets into a common stretch that are shown; null where some are left out.</summary>
    private IEnumerable<int?> Folded(int count, int segment)
    {
        int head = segment == 0 ? 0 : Context;
        int tail = segment == diff.Segments.Length - 1 ? 0 : Context;
        // Equal paths have no differing neighbour to give context for.
        if (diff.Segments.Length == 1)
        {
            (head, tail) = (Context, Context);
        }

        bool folds = count > head + tail + 2;
        for (int i = 0; i < count; i++)
        {
            if (!folds || i < head || i >= count - tail)
            {
                yield return i;
            }
            else if (i == head)
            {
                yield return null;
            }
        }
    }

    private TextLine Fold(int count, int segment)
    {
        int shown = Folded(count, segment).Count(offset => offset is not null);
        return new TextLine().Add($"      … {Plural.Of(count - shown, "frame")} in common …", TextRole.Source);
    }

    private string Range(PathDiff.Segment segment) =>
        segment.A.Start == segment.B.Start ? "" : $" (#{segment.A.Start}… in A, #{segment.B.Start}… in B)";
}
