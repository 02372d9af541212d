namespace KTrace.Tracing;

/// <summary>
/// The hits of two traces as numbers, so that comparing two of them is comparing two integers. Numbers are given in the order of the keys'
/// text, not of their appearance: which trace is called the first makes no difference.
/// </summary>
internal sealed class HitKeys
{
    public HitKeys(
        IReadOnlyList<TraceRecord.Hit> a, TracepointTable tracepointsA, IReadOnlyList<TraceRecord.Hit> b, TracepointTable tracepointsB)
    {
        (Dictionary<int, string> namesA, Dictionary<int, string> namesB) = MatchTracepoints(a, tracepointsA, b, tracepointsB);
        var paths = a.Concat(b).Select(hit => hit.Path).Distinct().ToList();
        var frames = new FrameKeys(paths.SelectMany(path => path.Frames));
        var texts = paths.ToDictionary(path => path, path => frames.TextOf(path));
        string[] keysA = Keys(a, namesA, texts);
        string[] keysB = Keys(b, namesB, texts);
        A = Numbers(keysA, keysB);
        B = Numbers(keysB, keysA);
        string[] tracepointKeysA = [.. a.Select(hit => namesA[hit.Tracepoint])];
        string[] tracepointKeysB = [.. b.Select(hit => namesB[hit.Tracepoint])];
        TracepointsA = Numbers(tracepointKeysA, tracepointKeysB);
        TracepointsB = Numbers(tracepointKeysB, tracepointKeysA);
    }

    /// <summary>One number per hit of the first trace: its tracepoint and its path.</summary>
    public int[] A { get; }

    public int[] B { get; }

    /// <summary>One number per hit of the first trace: its tracepoint.</summary>
    public int[] TracepointsA { get; }

    public int[] TracepointsB { get; }

    /// <summary>
    /// Ids say nothing across traces. Tracepoints are the same when the user asked for the same, or, where one trace does not have the
    /// request of the other, when the same symbol was armed (an alias in one, the real name in the other).
    /// </summary>
    private static (Dictionary<int, string> A, Dictionary<int, string> B) MatchTracepoints(
        IReadOnlyList<TraceRecord.Hit> a, TracepointTable tracepointsA, IReadOnlyList<TraceRecord.Hit> b, TracepointTable tracepointsB)
    {
        Dictionary<int, string> namesA = Requests(a, tracepointsA);
        Dictionary<int, string> namesB = Requests(b, tracepointsB);
        var freeA = namesA.Where(entry => !namesB.ContainsValue(entry.Value)).Select(entry => entry.Key).Order().ToList();
        foreach (int id in namesB.Where(entry => !namesA.ContainsValue(entry.Value)).Select(entry => entry.Key).Order().ToList())
        {
            string? symbol = tracepointsB.Find(id)?.Symbol;
            int counterpart = freeA.FindIndex(other => symbol is not null && tracepointsA.Find(other)?.Symbol == symbol);
            if (counterpart >= 0)
            {
                namesA[freeA[counterpart]] = symbol!;
                namesB[id] = symbol!;
                freeA.RemoveAt(counterpart);
            }
        }

        return (namesA, namesB);
    }

    private static Dictionary<int, string> Requests(IReadOnlyList<TraceRecord.Hit> hits, TracepointTable tracepoints) =>
        tracepoints.All.Select(tracepoint => tracepoint.Id).Concat(hits.Select(hit => hit.Tracepoint)).Distinct()
            .ToDictionary(id => id, tracepoints.Name);

    private static string[] Keys(IReadOnlyList<TraceRecord.Hit> hits, Dictionary<int, string> names, Dictionary<CallPath, string> texts)
    {
        // The few different keys are made once; 100,000 hits then share their strings.
        var keys = new Dictionary<(int, CallPath), string>();
        string[] result = new string[hits.Count];
        for (int i = 0; i < result.Length; i++)
        {
            TraceRecord.Hit hit = hits[i];
            if (!keys.TryGetValue((hit.Tracepoint, hit.Path), out string? key))
            {
                key = names[hit.Tracepoint] + '\0' + texts[hit.Path];
                keys.Add((hit.Tracepoint, hit.Path), key);
            }

            result[i] = key;
        }

        return result;
    }

    private static int[] Numbers(string[] keys, string[] others)
    {
        string[] sorted = [.. keys.Concat(others).Distinct().Order(StringComparer.Ordinal)];
        var numbers = new Dictionary<string, int>(sorted.Length);
        for (int i = 0; i < sorted.Length; i++)
        {
            numbers.Add(sorted[i], i);
        }

        int[] result = new int[keys.Length];
        for (int i = 0; i < keys.Length; i++)
        {
            result[i] = numbers[keys[i]];
        }

        return result;
    }
}
