// Structures hang on pointers: what is missing is noted, the walk goes on with what it has, and all that was missed is fetched in few trips; then the walk is done again. A walk
// over lists of any length costs as many rounds as the longest chain of pointers has links. Where guest RAM is mapped there is one round.
using System.Text;
using KTrace.Debugger.Memory;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Interrupts;

/// <summary>Reads of a walk through guest memory that is repeated until nothing is missing.</summary>
internal sealed class GatheringReader(StopMemory memory)
{
    private const int PageSize = 4096;

    // Bytes between two reads that are worth reading along, and what one read may become by that.
    private const int NearEnough = 192;
    private const int MaximumRange = 2048;
    private const int TextPiece = 64;
    private const int MaximumText = 256;

    // A thousand interrupts on 64 CPUs. A guest whose structures never end stops here.
    private const int MaximumReads = 1 << 16;

    private readonly HashSet<(ulong Address, int Length)> _missing = [];

    // The walk asks for the same again in every round. Null: cannot be read.
    private readonly Dictionary<(ulong Address, int Length), byte[]?> _known = [];

    /// <summary>Another stop: nothing is known any more.</summary>
    public void Clear()
    {
        _missing.Clear();
        _known.Clear();
    }

    /// <summary>True when something was not there that a fetch may bring.</summary>
    public bool HasMissing => _missing.Count > 0;

    /// <summary>Null when it was not fetched yet (then it is noted), or cannot be read. The bytes are shared.</summary>
    public byte[]? Read(ulong address, int length)
    {
        if (address == 0 || length <= 0 || address + (ulong)length < address)
        {
            return null;
        }

        if (_known.TryGetValue((address, length), out var known) || _known.Count >= MaximumReads)
        {
            return known;
        }

        byte[]? bytes = new byte[length];
        switch (memory.Read(address, bytes))
        {
            case MemoryReadResult.NotFetched:
                _missing.Add((address, length));
                return null;
            case MemoryReadResult.Unreadable:
                bytes = null;
                break;
        }

        return _known[(address, length)] = bytes;
    }

    /// <summary>A NUL-terminated string; what is too long is cut. Null as with <see cref="Read"/>.</summary>
    public string? ReadText(ulong address)
    {
        var text = new List<byte>();
        while (text.Count < MaximumText)
        {
            // Not over a page's end: the next one may not be there, and the string may end before it.
            var piece = (int)Math.Min(TextPiece, PageSize - (address % PageSize));
            if (Read(address, piece) is not { } bytes)
            {
                return null;
            }

            var end = Array.IndexOf(bytes, (byte)0);
            text.AddRange(bytes.AsSpan(0, end < 0 ? piece : end));
            if (end >= 0)
            {
                break;
            }

            address += (ulong)piece;
        }

        return Encoding.UTF8.GetString([.. text]);
    }

    /// <summary>Fetches what was missing; neighbours as one.</summary>
    public async ValueTask FetchAsync(CancellationToken cancellationToken)
    {
        var ranges = Merge();
        _missing.Clear();
        for (var wanted = true; wanted;)
        {
            wanted = false;
            foreach (var (address, length) in ranges)
            {
                wanted |= memory.Want(address, length);
            }

            await memory.FetchAsync(cancellationToken);
        }
    }

    private List<(ulong Address, int Length)> Merge()
    {
        var ranges = new List<(ulong Address, int Length)>();
        foreach (var (address, length) in _missing.Order())
        {
            if (ranges.Count > 0 && ranges[^1] is var last && last.Address + (ulong)last.Length is var end && address <= end + NearEnough
                && (address + (ulong)length - 1) / PageSize == last.Address / PageSize && address + (ulong)length - last.Address <= MaximumRange)
            {
                ranges[^1] = (last.Address, (int)(Math.Max(end, address + (ulong)length) - last.Address));
            }
            else
            {
                ranges.Add((address, length));
            }
        }

        return ranges;
    }
}
