namespace KTrace.Symbols.Unwind;

/// <summary>What became of a read. "Not fetched" and "unreadable" differ: the first can be mended by fetching.</summary>
public enum MemoryReadResult
{
    /// <summary>All bytes were read.</summary>
    Ok,

    /// <summary>At least one byte was never fetched from the target; the caller may fetch the range and try again.</summary>
    NotFetched,

    /// <summary>The target refused: no page is mapped there.</summary>
    Unreadable,
}

/// <summary>Synchronous reads of target memory at virtual addresses, over what was fetched before. It never waits.</summary>
public interface IMemoryReader
{
    MemoryReadResult Read(ulong address, Span<byte> destination);
}
