using KTrace.Symbols.Unwind;

namespace KTrace.Debugger;

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
