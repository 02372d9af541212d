using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Memory;

/// <summary>
/// Guest memory as it was fetched at one stop. The unwinder reads it synchronously; a miss says what to fetch next.
/// "Not fetched" and "unreadable" differ: a page that the stub refused is remembered, so that nobody asks twice.
/// </summary>
internal sealed class FetchedMemory : IMemoryReader
{
    private readonly List<(ulong Start, ReadOnlyMemory<byte> Bytes)> _ranges = [];
    private readonly List<(ulong Start, ulong End)> _unreadable = [];

    public void Add(ulong start, ReadOnlyMemory<byte> bytes)
    {
        if (!bytes.IsEmpty)
        {
            _ranges.Add((start, bytes));
        }
    }

    public void AddUnreadable(ulong start, ulong length) => _unreadable.Add((start, start + length));

    public void Clear()
    {
        _ranges.Clear();
        _unreadable.Clear();
    }

    /// <summary>True when every byte was fetched, or refused: asking the stub again would bring nothing new.</summary>
    public bool Knows(ulong address, int length)
    {
        while (length > 0)
        {
            var known = KnownFrom(address, length);
            if (known == 0)
            {
                return false;
            }

            address += (ulong)known;
            length -= known;
        }

        return true;
    }

    public MemoryReadResult Read(ulong address, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            var copied = CopyFromOneRange(address, destination);
            if (copied == 0)
            {
                foreach (var (start, end) in _unreadable)
                {
                    if (address >= start && address < end)
                    {
                        return MemoryReadResult.Unreadable;
                    }
                }

                return MemoryReadResult.NotFetched;
            }

            address += (ulong)copied;
            destination = destination[copied..];
        }

        return MemoryReadResult.Ok;
    }

    private int KnownFrom(ulong address, int length)
    {
        foreach (var (start, bytes) in _ranges)
        {
            if (address >= start && address - start < (ulong)bytes.Length)
            {
                return (int)Math.Min((ulong)length, (ulong)bytes.Length - (address - start));
            }
        }

        foreach (var (start, end) in _unreadable)
        {
            if (address >= start && address < end)
            {
                return (int)Math.Min((ulong)length, end - address);
            }
        }

        return 0;
    }

    private int CopyFromOneRange(ulong address, Span<byte> destination)
    {
        foreach (var (start, bytes) in _ranges)
        {
            if (address >= start && address - start < (ulong)bytes.Length)
            {
                var offset = (int)(address - start);
                var count = Math.Min(destination.Length, bytes.Length - offset);
                bytes.Span.Slice(offset, count).CopyTo(destination);
                return count;
            }
        }

        return 0;
    }
}
