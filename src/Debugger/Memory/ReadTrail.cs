using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Memory;

/// <summary>What was read of memory on the way to a result: while it reads the same, so is the result.</summary>
internal sealed class ReadTrail
{
    // What takes more than this is quicker worked out than compared.
    private const int MaximumBytes = 256;

    private readonly List<(ulong Address, int Length, MemoryReadResult Result)> _reads = [];
    private readonly List<byte> _bytes = [];

    public void Clear()
    {
        _reads.Clear();
        _bytes.Clear();
    }

    public void Add(ulong address, ReadOnlySpan<byte> bytes, MemoryReadResult result)
    {
        _reads.Add((address, bytes.Length, result));
        if (result == MemoryReadResult.Ok && _bytes.Count <= MaximumBytes)
        {
            _bytes.AddRange(bytes);
        }
    }

    /// <summary>To keep; null when there is too much of it, or something was not fetched.</summary>
    public Kept? Keep() =>
        _bytes.Count > MaximumBytes || _reads.Exists(r => r.Result == MemoryReadResult.NotFetched) ? null
        : _reads.Count == 0 ? Kept.Nothing
        : new Kept([.. _reads], [.. _bytes]);

    /// <summary>A trail that is over.</summary>
    public sealed class Kept((ulong Address, int Length, MemoryReadResult Result)[] reads, byte[] bytes)
    {
        public static Kept Nothing { get; } = new([], []);

        /// <summary>Whether memory reads the same now. What was not fetched does not.</summary>
        public bool Holds(IMemoryReader memory)
        {
            Span<byte> now = stackalloc byte[MaximumBytes];
            var at = 0;
            foreach (var (address, length, result) in reads)
            {
                if (length > MaximumBytes || memory.Read(address, now[..length]) != result)
                {
                    return false;
                }

                if (result == MemoryReadResult.Ok)
                {
                    if (!now[..length].SequenceEqual(bytes.AsSpan(at, length)))
                    {
                        return false;
                    }

                    at += length;
                }
            }

            return true;
        }
    }
}
