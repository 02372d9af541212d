using System.Collections.Immutable;

namespace KTrace.Tracing;

/// <summary>Two call paths side by side, innermost first: where they run together, where they fork and join again.</summary>
/// <param name="Segments">Alternating common and differing stretches; together they hold every frame of both paths once.</param>
public sealed record PathDiff(ImmutableArray<PathDiff.Segment> Segments)
{
    /// <param name="IsCommon">Both sides have the same functions here; files, lines and offsets may differ.</param>
    /// <param name="A">Index of the first frame and number of frames in the first path.</param>
    /// <param name="B">The same for the second path.</param>
    public readonly record struct Segment(bool IsCommon, (int Start, int Count) A, (int Start, int Count) B);

    public bool IsEqual => Segments.All(segment => segment.IsCommon);

    /// <summary>Compares function, module and whether a frame is inline; nothing that another build or boot may change.</summary>
    public static PathDiff Compare(CallPath a, CallPath b)
    {
        var keys = new FrameKeys(a.Frames.Concat(b.Frames));
        int[] left = keys.Of(a);
        int[] right = keys.Of(b);
        List<(int A, int B)> pairs = SequenceAlignment.Match(left, right);
        ImmutableArray<Segment>.Builder segments = ImmutableArray.CreateBuilder<Segment>();
        (int i, int j) = (0, 0);
        for (int at = 0; at <= pairs.Count;)
        {
            (int toA, int toB) = at < pairs.Count ? pairs[at] : (left.Length, right.Length);
            if (toA > i || toB > j)
            {
                segments.Add(new Segment(false, (i, toA - i), (j, toB - j)));
                (i, j) = (toA, toB);
            }

            int run = 0;
            while (at < pairs.Count && pairs[at] == (i + run, j + run))
            {
                run++;
                at++;
            }

            if (run == 0)
            {
                break;
            }

            segments.Add(new Segment(true, (i, run), (j, run)));
            (i, j) = (i + run, j + run);
        }

        if (i < left.Length || j < right.Length)
        {
            segments.Add(new Segment(false, (i, left.Length - i), (j, right.Length - j)));
        }

        return new PathDiff(segments.DrainToImmutable());
    }
}
