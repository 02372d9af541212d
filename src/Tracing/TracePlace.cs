namespace KTrace.Tracing;

/// <summary>A place between two records of a trace, with all that later records refer to: from there a reader goes on without what comes before. Does not change.</summary>
public sealed class TracePlace
{
    internal TracePlace(TraceRecord.Header header, long offset, long line, RecordDecoder decoder) => (Header, Offset, Line, Decoder) = (header, offset, line, decoder);

    /// <summary>In the file, in bytes.</summary>
    public long Offset { get; }

    /// <summary>Definitions that are kept for it (frames, paths, stacks and so on): some 30 bytes each.</summary>
    public int Definitions => Decoder.Count;

    internal TraceRecord.Header Header { get; }

    /// <summary>Lines before it.</summary>
    internal long Line { get; }

    internal RecordDecoder Decoder { get; }
}
