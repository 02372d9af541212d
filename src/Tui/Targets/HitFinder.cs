using KTrace.Tracing;

namespace KTrace.Tui.Targets;

/// <param name="Returned">What was recorded when its function returned, or null.</param>
internal sealed record FoundHit(TraceRecord.Hit Hit, TraceRecord.Return? Returned, TracepointTable Tracepoints);

/// <summary>Reads a trace file up to the hits that are wanted.</summary>
internal static class HitFinder
{
    // A return stands behind what its function did meanwhile; one that comes later than so many records is shown by `ktrace show`.
    private const int ReturnDistance = 20_000;

    /// <summary>The wanted hits, in the order in which they are asked for.</summary>
    /// <param name="known">The trace's tracepoints, for a reader that does not begin at its beginning.</param>
    /// <exception cref="TraceQueryException">The trace has no such hit.</exception>
    /// <exception cref="OperationCanceledException">It was given up.</exception>
    public static IReadOnlyList<FoundHit> Find(TraceReader reader, IReadOnlyList<long> wanted, TracepointTable? known, CancellationToken cancellationToken)
    {
        var found = new Dictionary<long, (TraceRecord.Hit Hit, TraceRecord.Return? Returned)>();
        var tracepoints = known ?? new TracepointTable();
        var last = wanted.Max();
        var beyond = 0;
        foreach (var record in reader.ReadAll())
        {
            cancellationToken.ThrowIfCancellationRequested();
            tracepoints.Observe(record);
            if (record is TraceRecord.Hit { Sequence: var sequence } && sequence > last && !found.ContainsKey(last))
            {
                // Numbers grow: it does not come any more.
                break;
            }

            switch (record)
            {
                case TraceRecord.Hit hit when wanted.Contains(hit.Sequence):
                    found[hit.Sequence] = (hit, null);
                    break;
                case TraceRecord.Return returned when found.TryGetValue(returned.HitSequence, out var before):
                    found[returned.HitSequence] = (before.Hit, returned);
                    break;
            }

            if (found.ContainsKey(last) && (found.Values.All(f => f.Returned is not null) || ++beyond > ReturnDistance))
            {
                break;
            }
        }

        return [.. wanted.Select(asked => found.TryGetValue(asked, out var hit)
            ? new FoundHit(hit.Hit, hit.Returned, tracepoints)
            : throw new TraceQueryException($"{reader.File}: no hit #{asked}"))];
    }
}
