// The one sequence comparison: Myers' O(ND) algorithm (DiffPlex' Differ, linear space) over small integers that stand for hits or frames.
// Two boots of a kernel with several CPUs can differ in very many places, and O(ND) is then quadratic. What bounds it here:
// equal ends are cut off; elements that the other side does not have at all cannot match and are left out (both are exact, as GNU diff does);
// and when the rest has more than MostDifferences it is cut at elements that are unique on both sides (patience diff), or, failing that, into
// blocks of equal share: the alignment is then a correct one, but perhaps not the longest.
using System.Globalization;
using DiffPlex;
using DiffPlex.Model;

namespace KTrace.Tracing;

/// <summary>Aligns two sequences: which element of one is which element of the other, in order.</summary>
internal static class SequenceAlignment
{
    // Up to here the answer is exact, whatever the length: Myers takes about length + differences² steps.
    private const int MostDifferences = 3_000;

    // Both sides of a block together have twice as many elements at most.
    private const int Block = 3_000;

    /// <summary>Pairs of positions, growing in both sequences. The same two sequences the other way round give the same pairs (the numbers must be the same).</summary>
    /// <param name="a">Equal numbers mean equal elements.</param>
    /// <param name="b">As <paramref name="a"/>.</param>
    public static List<(int A, int B)> Match(ReadOnlySpan<int> a, ReadOnlySpan<int> b)
    {
        var pairs = new List<(int A, int B)>(Math.Min(a.Length, b.Length));
        bool swapped = a.Length != b.Length ? a.Length > b.Length : a.SequenceCompareTo(b) > 0;
        if (swapped)
        {
            ReadOnlySpan<int> c = a;
            a = b;
            b = c;
        }

        Match(a, b, 0, 0, pairs);
        return swapped ? pairs.ConvertAll(pair => (pair.B, pair.A)) : pairs;
    }

    private static void Match(ReadOnlySpan<int> a, ReadOnlySpan<int> b, int baseA, int baseB, List<(int A, int B)> pairs)
    {
        int prefix = a.CommonPrefixLength(b);
        for (int i = 0; i < prefix; i++)
        {
            pairs.Add((baseA + i, baseB + i));
        }

        a = a[prefix..];
        b = b[prefix..];
        baseA += prefix;
        baseB += prefix;
        int suffix = 0;
        while (suffix < a.Length && suffix < b.Length && a[^(suffix + 1)] == b[^(suffix + 1)])
        {
            suffix++;
        }

        MatchMiddle(a[..^suffix], b[..^suffix], baseA, baseB, pairs);
        for (int i = suffix; i > 0; i--)
        {
            pairs.Add((baseA + a.Length - i, baseB + b.Length - i));
        }
    }

    private static void MatchMiddle(ReadOnlySpan<int> a, ReadOnlySpan<int> b, int baseA, int baseB, List<(int A, int B)> pairs)
    {
        int[] keptA = PositionsIn(a, b);
        int[] keptB = PositionsIn(b, a);
        if (keptA.Length == 0)
        {
            return;
        }

        int[] left = Select(a, keptA);
        int[] right = Select(b, keptB);
        List<(int A, int B)> cuts = Cuts(left, right);
        cuts.Add((left.Length, right.Length));
        (int fromA, int fromB) = (0, 0);
        foreach ((int toA, int toB) in cuts)
        {
            foreach ((int i, int j) in Myers(left.AsSpan(fromA, toA - fromA), right.AsSpan(fromB, toB - fromB)))
            {
                pairs.Add((baseA + keptA[fromA + i], baseB + keptB[fromB + j]));
            }

            (fromA, fromB) = (toA, toB);
        }
    }

    private static int[] PositionsIn(ReadOnlySpan<int> sequence, ReadOnlySpan<int> other)
    {
        var there = new HashSet<int>();
        foreach (int element in other)
        {
            there.Add(element);
        }

        var positions = new List<int>();
        for (int i = 0; i < sequence.Length; i++)
        {
            if (there.Contains(sequence[i]))
            {
                positions.Add(i);
            }
        }

        return [.. positions];
    }

    private static int[] Select(ReadOnlySpan<int> sequence, int[] positions)
    {
        int[] selected = new int[positions.Length];
        for (int i = 0; i < positions.Length; i++)
        {
            selected[i] = sequence[positions[i]];
        }

        return selected;
    }

    /// <summary>Where to cut both sequences so that each piece is small enough; positions grow on both sides.</summary>
    private static List<(int A, int B)> Cuts(int[] a, int[] b)
    {
        var cuts = new List<(int A, int B)>();
        if (a.Length + b.Length <= 2 * Block || !HasMoreDifferences(a, b))
        {
            return cuts;
        }

        (int fromA, int fromB) = (0, 0);
        foreach ((int i, int j) in Anchors(a, b).Append((a.Length, b.Length)))
        {
            // Anchors close to the last cut are not needed: Myers finds its way between them.
            int length = i - fromA + j - fromB;
            if (length < Block && i < a.Length)
            {
                continue;
            }

            int blocks = (length + (2 * Block) - 1) / (2 * Block);
            for (int block = 1; block < blocks; block++)
            {
                cuts.Add((fromA + (int)((long)(i - fromA) * block / blocks), fromB + (int)((long)(j - fromB) * block / blocks)));
            }

            if (i < a.Length)
            {
                cuts.Add((i, j));
            }

            (fromA, fromB) = (i, j);
        }

        return cuts;
    }

    /// <summary>Myers' greedy search without its bookkeeping: do insertions and removals together exceed <see cref="MostDifferences"/>?</summary>
    private static bool HasMoreDifferences(int[] a, int[] b)
    {
        int[] furthest = new int[(2 * MostDifferences) + 3];
        const int Middle = MostDifferences + 1;
        for (int differences = 0; differences <= MostDifferences; differences++)
        {
            for (int diagonal = -differences; diagonal <= differences; diagonal += 2)
            {
                bool down = diagonal == -differences
                    || (diagonal != differences && furthest[Middle + diagonal - 1] < furthest[Middle + diagonal + 1]);
                int x = down ? furthest[Middle + diagonal + 1] : furthest[Middle + diagonal - 1] + 1;
                int y = x - diagonal;
                if (x <= a.Length && y <= b.Length)
                {
                    x += a.AsSpan(x).CommonPrefixLength(b.AsSpan(y));
                }

                furthest[Middle + diagonal] = x;
                if (x >= a.Length && x - diagonal >= b.Length)
                {
                    return false;
                }
            }
        }

        return true;
    }

    /// <summary>Elements that are unique on both sides, as the longest run that grows on both sides (patience).</summary>
    private static List<(int A, int B)> Anchors(int[] a, int[] b)
    {
        Dictionary<int, int> uniqueB = Unique(b);
        var candidates = Unique(a)
            .Where(entry => uniqueB.ContainsKey(entry.Key))
            .Select(entry => (A: entry.Value, B: uniqueB[entry.Key]))
            .OrderBy(pair => pair.A)
            .ToList();
        var tails = new List<int>();
        int[] before = new int[candidates.Count];
        for (int i = 0; i < candidates.Count; i++)
        {
            int low = 0, high = tails.Count;
            while (low < high)
            {
                int middle = (low + high) / 2;
                if (candidates[tails[middle]].B < candidates[i].B)
                {
                    low = middle + 1;
                }
                else
                {
                    high = middle;
                }
            }

            before[i] = low == 0 ? -1 : tails[low - 1];
            if (low == tails.Count)
            {
                tails.Add(i);
            }
            else
            {
                tails[low] = i;
            }
        }

        var anchors = new List<(int A, int B)>();
        for (int i = tails.Count == 0 ? -1 : tails[^1]; i >= 0; i = before[i])
        {
            anchors.Add(candidates[i]);
        }

        anchors.Reverse();
        return anchors;
    }

    private static Dictionary<int, int> Unique(int[] sequence)
    {
        var positions = new Dictionary<int, int>();
        for (int i = 0; i < sequence.Length; i++)
        {
            positions[sequence[i]] = positions.ContainsKey(sequence[i]) ? -1 : i;
        }

        return positions.Where(entry => entry.Value >= 0).ToDictionary();
    }

    private static List<(int A, int B)> Myers(ReadOnlySpan<int> a, ReadOnlySpan<int> b)
    {
        // DiffPlex compares pieces of text; a piece here is one number.
        string[] oldPieces = Pieces(a);
        string[] newPieces = Pieces(b);
        DiffResult result = new Differ().CreateCustomDiffs("a", "b", false, text => text == "a" ? oldPieces : newPieces);
        var pairs = new List<(int A, int B)>();
        (int i, int j) = (0, 0);
        foreach (DiffBlock block in result.DiffBlocks.Append(new DiffBlock(a.Length, 0, b.Length, 0)))
        {
            for (; i < block.DeleteStartA; i++, j++)
            {
                pairs.Add((i, j));
            }

            i += block.DeleteCountA;
            j += block.InsertCountB;
        }

        return pairs;
    }

    private static string[] Pieces(ReadOnlySpan<int> sequence)
    {
        string[] pieces = new string[sequence.Length];
        for (int i = 0; i < pieces.Length; i++)
        {
            pieces[i] = sequence[i].ToString(CultureInfo.InvariantCulture);
        }

        return pieces;
    }
}
