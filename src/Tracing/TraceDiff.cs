// The one comparison of recordings (ktrace diff, ktrace replay). Two hits are the same when they are of the same tracepoint and their call
// paths have the same functions, in the same modules, inlined alike. Addresses, clocks, CPUs, pids and source lines are never compared:
// they change from boot to boot or from build to build, and would hide what is asked for.
using System.Collections.Immutable;

namespace KTrace.Tracing;

/// <summary>One place where two traces differ. A sum type: exactly one of the nested records.</summary>
public abstract record HitDifference
{
    private HitDifference()
    {
    }

    /// <summary>A hit that the second trace has no counterpart for.</summary>
    public sealed record OnlyInA(TraceRecord.Hit Hit) : HitDifference;

    /// <summary>A hit that the first trace has no counterpart for.</summary>
    public sealed record OnlyInB(TraceRecord.Hit Hit) : HitDifference;

    /// <summary>Hits of the same tracepoint, at the same place of the order, that were reached by different paths.</summary>
    public sealed record OtherPath(TraceRecord.Hit A, TraceRecord.Hit B, PathDiff Path) : HitDifference;
}

/// <summary>What two traces have in common and where they differ, in the order of the first one.</summary>
/// <param name="Same">Hits that both have.</param>
/// <param name="HitsA">Hits of the first trace.</param>
/// <param name="HitsB">Hits of the second trace.</param>
/// <param name="Differences">Empty when the traces have the same call paths in the same order.</param>
public sealed record TraceDiff(int Same, int HitsA, int HitsB, ImmutableArray<HitDifference> Differences)
{
    public bool IsEqual => Differences.IsEmpty;

    /// <summary>Compares all hits of two traces (those that their filters let through), in order.</summary>
    public static TraceDiff Compare(Trace a, Trace b) => Compare(a.Hits, a.Tracepoints, b.Hits, b.Tracepoints);

    public static TraceDiff Compare(
        IReadOnlyList<TraceRecord.Hit> a, TracepointTable tracepointsA, IReadOnlyList<TraceRecord.Hit> b, TracepointTable tracepointsB)
    {
        var keys = new HitKeys(a, tracepointsA, b, tracepointsB);
        List<(int A, int B)> same = SequenceAlignment.Match(keys.A, keys.B);
        ImmutableArray<HitDifference>.Builder differences = ImmutableArray.CreateBuilder<HitDifference>();
        var paths = new Dictionary<(CallPath, CallPath), PathDiff>();
        (int i, int j) = (0, 0);
        foreach ((int toA, int toB) in same.Append((a.Count, b.Count)))
        {
            if (toA > i || toB > j)
            {
                AddDifferences(i, toA, j, toB);
            }

            (i, j) = (toA + 1, toB + 1);
        }

        return new TraceDiff(same.Count, a.Count, b.Count, differences.DrainToImmutable());

        void AddDifferences(int fromA, int toA, int fromB, int toB)
        {
            // Between two common hits: hits of the same tracepoint, in order, are counterparts that took another path.
            (int nextA, int nextB) = (fromA, fromB);
            foreach ((int pairA, int pairB) in SequenceAlignment
                .Match(keys.TracepointsA.AsSpan(fromA..toA), keys.TracepointsB.AsSpan(fromB..toB))
                .Append((toA - fromA, toB - fromB)))
            {
                for (; nextA < fromA + pairA; nextA++)
                {
                    differences.Add(new HitDifference.OnlyInA(a[nextA]));
                }

                for (; nextB < fromB + pairB; nextB++)
                {
                    differences.Add(new HitDifference.OnlyInB(b[nextB]));
                }

                if (nextA < toA && nextB < toB)
                {
                    differences.Add(new HitDifference.OtherPath(a[nextA], b[nextB], ComparePaths(a[nextA].Path, b[nextB].Path)));
                    nextA++;
                    nextB++;
                }
            }
        }

        PathDiff ComparePaths(CallPath left, CallPath right)
        {
            if (!paths.TryGetValue((left, right), out PathDiff? diff))
            {
                diff = PathDiff.Compare(left, right);
                paths.Add((left, right), diff);
            }

            return diff;
        }
    }
}
