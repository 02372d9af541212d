namespace KTrace.Tracing;

/// <summary>The tracepoints of a trace by id, as they stand after the records that were seen so far.</summary>
public sealed class TracepointTable
{
    private readonly SortedDictionary<int, TraceTracepoint> _byId = [];

    /// <summary>In the order of their ids.</summary>
    public IReadOnlyCollection<TraceTracepoint> All => _byId.Values;

    /// <summary>Takes what a record says about tracepoints; every record may be given.</summary>
    public void Observe(TraceRecord record)
    {
        switch (record)
        {
            case TraceRecord.Header header:
                foreach (TraceTracepoint tracepoint in header.Tracepoints)
                {
                    _byId[tracepoint.Id] = tracepoint;
                }

                break;
            case TraceRecord.TracepointResolved resolved:
                _byId[resolved.Tracepoint.Id] = resolved.Tracepoint;
                break;
        }
    }

    public TraceTracepoint? Find(int id) => _byId.GetValueOrDefault(id);

    /// <summary>The user's words for a tracepoint (of a pattern's or set's function its name), or its number where the trace has none.</summary>
    public string Name(int id) => Find(id) is { } tracepoint ? tracepoint is { IsGroup: true, Symbol: { } symbol } ? symbol : tracepoint.Requested : $"tracepoint {id}";

    /// <summary>The same without conditions and prints: what a table has room for.</summary>
    public string Place(int id) => Find(id)?.Place ?? Name(id);
}
