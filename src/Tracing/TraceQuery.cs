using KTrace.Symbols;

namespace KTrace.Tracing;

/// <summary>Picks single hits out of a trace without holding the others.</summary>
public static class TraceQuery
{
    /// <summary>A hit, and the trace around it without its other hits.</summary>
    /// <param name="Hit">The hit.</param>
    /// <param name="Trace">Header, tracepoints and modules; <see cref="Trace.Hits"/> holds this one.</param>
    public sealed record PickedHit(TraceRecord.Hit Hit, Trace Trace)
    {
        /// <summary>What was recorded when its function returned, or null.</summary>
        public TraceRecord.Return? Return { get; init; }
    }

    /// <param name="file">Path of a trace.</param>
    /// <param name="pick">Which hit.</param>
    /// <exception cref="TraceQueryException">The trace has no such hit; the message says which it has.</exception>
    /// <exception cref="MalformedFileException">No trace, or a damaged one.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static PickedHit Pick(string file, HitPick pick)
    {
        using TraceReader reader = TraceReader.Open(file);
        return Pick(reader, pick);
    }

    /// <inheritdoc cref="Pick(string, HitPick)"/>
    public static PickedHit Pick(TraceReader reader, HitPick pick)
    {
        var tracepoints = new TracepointTable();
        var modules = new List<TraceRecord.Module>();
        var remarks = new List<TraceRecord>();
        TraceRecord.Return? returned = null;
        TraceRecord.Hit? found = null, first = null, last = null;
        long count = 0;
        foreach (TraceRecord record in reader.ReadAll())
        {
            tracepoints.Observe(record);
            switch (record)
            {
                case TraceRecord.Hit hit:
                    count++;
                    first ??= hit;
                    last = hit;
                    found = pick switch
                    {
                        HitPick.First => first,
                        HitPick.Last => last,
                        HitPick.Number number when number.Sequence == hit.Sequence => hit,
                        _ => found,
                    };
                    break;
                case TraceRecord.Return mine when mine.HitSequence == found?.Sequence: returned = mine; break;
                case TraceRecord.Module module: modules.Add(module); break;
                case TraceRecord.Note or TraceRecord.Warning: remarks.Add(record); break;
            }
        }

        if (found is null)
        {
            string has = count switch
            {
                0 => "it has no hits at all",
                1 => $"it has one hit, #{first!.Sequence}",
                _ => $"it has hits #{first!.Sequence} to #{last!.Sequence}",
            };
            throw new TraceQueryException($"{reader.File}: no hit #{pick}: {has}");
        }

        var trace = new Trace(
            reader.File, reader.Header, tracepoints, [found], count, [.. modules], [.. remarks], reader.End, reader.Incomplete, reader.Truncated);
        return new PickedHit(found, trace)
        {
            Return = returned?.HitSequence == found.Sequence ? returned : null,
        };
    }
}
