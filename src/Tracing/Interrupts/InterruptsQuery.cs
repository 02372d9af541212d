using KTrace.Symbols;

namespace KTrace.Tracing.Interrupts;

/// <summary>Picks one <c>interrupts</c> record out of a trace.</summary>
/// <param name="File">Path of the trace.</param>
/// <param name="Header">Its first record.</param>
public sealed record InterruptsQuery(string File, TraceRecord.Header Header, TraceRecord.Interrupts Interrupts, string? Incomplete)
{
    private const int MaximumNamed = 8;

    /// <summary>Of a machine that stands now, not of a recording.</summary>
    public bool IsLive { get; init; }

    /// <param name="pick">Whose interrupts: a hit's (when its function returned, if that was recorded too, otherwise at the hit); null: the last that were recorded.</param>
    /// <exception cref="TraceQueryException">The trace has none, or not of that hit; the message says of which it has.</exception>
    /// <exception cref="MalformedFileException">No trace, or a damaged one.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static InterruptsQuery Pick(string file, HitPick? pick)
    {
        using TraceReader reader = TraceReader.Open(file);
        return Pick(reader, pick);
    }

    /// <inheritdoc cref="Pick(string, HitPick?)"/>
    public static InterruptsQuery Pick(TraceReader reader, HitPick? pick)
    {
        TraceRecord.Interrupts? found = null;
        var hits = new List<long>();
        foreach (TraceRecord.Interrupts record in reader.ReadAll().OfType<TraceRecord.Interrupts>())
        {
            if (record.HitSequence is { } hit && (hits.Count == 0 || hits[^1] != hit))
            {
                hits.Add(hit);
            }

            found = pick switch
            {
                null => record,
                HitPick.Number number => record.HitSequence == number.Sequence ? record : found,
                HitPick.First => found is null || found.HitSequence == record.HitSequence ? record : found,
                _ => record.HitSequence is null ? found : record,
            };
        }

        return found is not null
            ? new InterruptsQuery(reader.File, reader.Header, found, reader.Incomplete)
            : throw new TraceQueryException(hits.Count == 0
                ? $"{reader.File}: it has no interrupts: record them with -b 'PLACE irqs', or with --irqs at every hit"
                : $"{reader.File}: no interrupts of hit #{pick}: it has those of {string.Join(", ", hits.Take(MaximumNamed).Select(h => $"#{h}"))}{(hits.Count > MaximumNamed ? ", …" : "")}");
    }
}
