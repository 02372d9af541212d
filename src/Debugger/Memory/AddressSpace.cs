using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Memory;

/// <summary>
/// The linear addresses of one CPU at one stop, read out of mapped RAM. It keeps translations until <see cref="Enter"/>: page tables change whenever the guest
/// runs.
/// </summary>
internal sealed class AddressSpace(MappedRam ram)
{
    private const ulong PageSize = 4096;

    // Stacks, tasks and per-cpu data of a hit take some dozens of pages; a walk costs less than a tenth of a microsecond, so a collision is no harm.
    private const int CachedPages = 256;

    private readonly Entry[] _cache = new Entry[CachedPages];
    private PagingMode _mode;
    private int _generation;

    /// <summary>Another stop, another CPU, or other tables.</summary>
    public void Enter(in PagingMode mode)
    {
        _mode = mode;
        _generation++;
    }

    /// <summary>Reads from the beginning as much as can be.</summary>
    /// <param name="end">Ok when all was read; otherwise why it ended: Unreadable, or NotFetched for what is not RAM and only the stub can read.</param>
    /// <returns>How many bytes.</returns>
    public int Read(ulong address, Span<byte> destination, out MemoryReadResult end)
    {
        var read = 0;
        while (read < destination.Length)
        {
            var place = Translate(address + (ulong)read);
            if (place.Status != TranslationStatus.Mapped)
            {
                end = place.Status == TranslationStatus.Unmapped ? MemoryReadResult.Unreadable : MemoryReadResult.NotFetched;
                return read;
            }

            var piece = (int)Math.Min((ulong)(destination.Length - read), place.Length);
            var count = ram.Read(place.Physical, destination.Slice(read, piece));
            if (count == 0)
            {
                end = MemoryReadResult.NotFetched;
                return read;
            }

            read += count;
        }

        end = MemoryReadResult.Ok;
        return read;
    }

    /// <summary>What a read of the byte would give.</summary>
    public MemoryReadResult Probe(ulong address)
    {
        var place = Translate(address);
        return place.Status == TranslationStatus.Unmapped ? MemoryReadResult.Unreadable
            : place.Status == TranslationStatus.Mapped && ram.Contains(place.Physical) ? MemoryReadResult.Ok : MemoryReadResult.NotFetched;
    }

    public Translation Translate(ulong address)
    {
        var page = address / PageSize;
        ref var entry = ref _cache[page % CachedPages];
        if (entry.Generation != _generation || entry.Page != page)
        {
            entry = new Entry(_generation, page, PageTables.Translate(page * PageSize, _mode, ram));
        }

        var offset = address % PageSize;
        return entry.Place with { Physical = entry.Place.Physical + offset, Length = entry.Place.Length - offset };
    }

    /// <param name="Place">Of the page's first byte.</param>
    private readonly record struct Entry(int Generation, ulong Page, Translation Place);
}
