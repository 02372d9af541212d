// With page table isolation (arch/x86/mm/pti.c, 6.1) a CPU in user mode has page tables of its own, which leave nearly all of the kernel out; the kernel's stand in the 4 KiB
// before them (PTI_USER_PGTABLE_BIT is bit 12 of CR3). The stub translates by the tables in CR3; here the walk is done by hand, through physical memory.
namespace KTrace.Debugger.Memory;

/// <summary>Reads by page tables that the CPU does not use at the moment. Tables are kept: it is for one stop.</summary>
internal sealed class OtherTables(GuestMemory memory, PagingMode mode)
{
    private const ulong PageSize = 4096;

    // Levels of tables, and one more.
    private const int MaximumFetches = 6;

    private readonly FetchedTables _tables = new();

    /// <summary>Reads all of it; false when part of it is not mapped by these tables either.</summary>
    public async ValueTask<bool> TryReadAsync(ulong address, Memory<byte> destination, CancellationToken cancellationToken)
    {
        while (!destination.IsEmpty)
        {
            var place = await TranslateAsync(address, cancellationToken);
            if (place.Status != TranslationStatus.Mapped)
            {
                return false;
            }

            var length = (int)Math.Min((ulong)destination.Length, place.Length);
            await memory.ReadPhysicalAsync(place.Physical, destination[..length], cancellationToken);
            (address, destination) = (address + (ulong)length, destination[length..]);
        }

        return true;
    }

    private async ValueTask<Translation> TranslateAsync(ulong address, CancellationToken cancellationToken)
    {
        for (var i = 0; ; i++)
        {
            var place = PageTables.Translate(address, mode, _tables);
            if (place.Status != TranslationStatus.Unknown || _tables.Missing is not { } missing || i == MaximumFetches)
            {
                return place;
            }

            var table = new byte[PageSize];
            await memory.ReadPhysicalAsync(missing, table, cancellationToken);
            _tables.Add(missing, table);
        }
    }

    private sealed class FetchedTables : IPhysicalMemory
    {
        private readonly Dictionary<ulong, byte[]> _pages = [];

        /// <summary>The page that the last read lacked.</summary>
        public ulong? Missing { get; private set; }

        public void Add(ulong address, byte[] page) => _pages[address] = page;

        public bool TryRead(ulong address, Span<byte> destination)
        {
            var page = address & ~(PageSize - 1);
            if (!_pages.TryGetValue(page, out var bytes))
            {
                Missing = page;
                return false;
            }

            bytes.AsSpan((int)(address - page), destination.Length).CopyTo(destination);
            return true;
        }
    }
}
