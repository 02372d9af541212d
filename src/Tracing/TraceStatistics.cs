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
        return new TraceStatistics(
            trace.Hits.Count,
            trace.End?.Seconds,
            [.. trace.Tracepoints.All.Select(tracepoint => (tracepoint, (long)counts.GetValueOrDefault(tracepoint.Id)))],
            paths.Select(frames.TextOf).Distinct().Count())
        {
            ActiveSeconds = trace.End?.ActiveSeconds,
        };
    }
}
