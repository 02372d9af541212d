using System.Collections.Immutable;

namespace KTrace.Tracing;

/// <summary>A trace in numbers.</summary>
/// <param name="Hits">All hits of the file.</param>
/// <param name="Seconds">Wall-clock seconds of the recording, or null when it was not closed.</param>
/// <param name="Tracepoints">Each tracepoint and its hits, in the order of their ids.</param>
/// <param name="Paths">Different call paths, as a comparison tells them apart: by function names.</param>
public sealed record TraceStatistics(
    long Hits, double? Seconds, ImmutableArray<(TraceTracepoint Tracepoint, long Hits)> Tracepoints, int Paths)
{
    /// <summary>Wall-clock seconds from the first hit to the last, or null when the recording did not say.</summary>
    public double? ActiveSeconds { get; init; }

    /// <summary>Hits without stops per second of the guest's, from the first to the last; null where the trace does not tell.</summary>
    public double? MeanRate { get; init; }

    /// <summary>The same in the tenth of a second that had most.</summary>
    public double? PeakRate { get; init; }

    /// <summary>
    /// From the first hit to the last, so that the boot before them does not count; over the whole recording where that is not known. Null when neither is, or
    /// is nothing.
    /// </summary>
    public double? HitsPerSecond => ActiveSeconds > 0 && Hits > 1 ? (Hits - 1) / ActiveSeconds : Seconds > 0 ? Hits / Seconds : null;

    /// <summary>Counts the hits that the trace holds (see <see cref="Trace.Load(string, HitFilter?, bool)"/> for filters).</summary>
    public static TraceStatistics Of(Trace trace)
    {
        var counts = trace.Hits.CountBy(hit => hit.Tracepoint).ToDictionary();
        List<CallPath> paths = [.. trace.Hits.Select(hit => hit.Path).Distinct()];
        var frames = new FrameKeys(paths.SelectMany(path => path.Frames));
        (double? mean, double? peak) = Rates(trace);
        return new TraceStatistics(
            trace.Hits.Count,
            trace.End?.Seconds,
            [.. trace.Tracepoints.All.Select(tracepoint => (tracepoint, (long)counts.GetValueOrDefault(tracepoint.Id)))],
            paths.Select(frames.TextOf).Distinct().Count())
        {
            ActiveSeconds = trace.End?.ActiveSeconds,
            MeanRate = mean,
            PeakRate = peak,
        };
    }

    private static (double? Mean, double? Peak) Rates(Trace trace)
    {
        const int piecesPerSecond = 10;
        if (trace.TicksPerSecond is not (> 0 and var rate))
        {
            return (null, null);
        }

        long count = 0, most = 0;
        ulong first = ulong.MaxValue, last = 0;
        var pieces = new Dictionary<ulong, long>();
        foreach (ulong ticks in trace.Hits.Select(hit => hit.Clock?.Ticks).OfType<ulong>())
        {
            (count, first, last) = (count + 1, Math.Min(first, ticks), Math.Max(last, ticks));
            most = Math.Max(most, System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(pieces, (ulong)(ticks / rate * piecesPerSecond), out _) += 1);
        }

        return last > first ? ((count - 1) / ((last - first) / rate), most * piecesPerSecond) : (null, null);
    }
}
