namespace KTrace.Tracing;

/// <summary>A trace could not be written: a full disk, a medium that failed. What was written before is intact.</summary>
public sealed class TraceWriteException : IOException
{
    public TraceWriteException(string file, long safeHits, bool tornLine, IOException cause)
        : base(Compose(file, safeHits, tornLine, cause), cause)
    {
        File = file;
        SafeHits = safeHits;
    }

    public string File { get; }

    /// <summary>Hits that are completely in the file.</summary>
    public long SafeHits { get; }

    private static string Compose(string file, long safeHits, bool tornLine, IOException cause)
    {
        string safe = safeHits switch
        {
            0 => "no hit was written",
            1 => "the 1 hit before is safe in it",
            _ => $"the {safeHits} hits before are safe in it",
        };
        return $"{file}: cannot write: {cause.Message.TrimEnd('.')}; {safe}{(tornLine ? " (its last line is incomplete)" : "")}";
    }
}
