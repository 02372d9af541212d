// A map of all RAM for conditions alone, read only. x86-64: in the 444 GiB from 0xffffff8000000000 on that no kernel uses ("unused hole", Documentation/arch/x86/x86_64/mm.rst, with four levels of page tables
// and with five). Its part of the level-3 table is the same in every address space, EFI's included (efi_sync_low_kernel_mappings, arch/x86/platform/efi/efi_64.c, shares it up to EFI_VA_END). The tables below lie in
// the control block's large page, whose second half nobody else wants.
//
// RAM appears in pages of 2 MiB; pages of 4 KiB where a large one would be RAM in part. What is not RAM there (devices, holes) leads to a page of zeros: whatever a broken page table points to, looking there
// touches no device and does not fault.
//
// The kernel has walkers of its own that look at all tables, ptdump_check_wx (mm/ptdump.c) at the end of each boot with CONFIG_DEBUG_WX among them, and they look for tables in the kernel's direct map. The memory
// that was reserved for KTrace is not there; so the large page with the tables is put there too, where it would be. That map is complete when setup_arch has run.
//
// Why not the kernel's own direct map for all: what it leaves out of it or takes out later (firmware's tables, memfd_secret, debug_pagealloc) would fault. i386 has no address space to spare, and does with it:
// low memory, up to max_low_pfn, is mapped from PAGE_OFFSET on (arch/x86/mm/init_32.c), but for what KTrace took out of the memory map itself.
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Numerics;
using KTrace.Debugger.Memory;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.NonStop.Conditions;

/// <summary>Makes a guest's memory readable for its own trampolines.</summary>
internal static class RamView
{
    private const ulong Hole64 = 0xffff_ff80_0000_0000;
    private const int HoleGigabytes = 444;
    private const int GigabyteBits = 30, LargeBits = 21, SmallBits = 12, TableBits = 9;
    private const int EntriesPerTable = 1 << TableBits;
    private const ulong Present = 1, Writable = 2, Accessed = 0x20, Dirty = 0x40, Large = 0x80, Global = 0x100, NoExecute = 1UL << 63;
    private const int MaximumRanges = 4;

    // Where the direct map begins in kernels without page_offset_base: since 4.20, and before.
    private static readonly ulong[] DirectMaps = [0xffff_8880_0000_0000, 0xffff_8800_0000_0000];

    /// <summary>Writes the tables. The guest stands behind setup_arch, and before there are processes.</summary>
    /// <returns>Null where it cannot be done.</returns>
    public static async ValueTask<GuestView?> TryMapAsync(KernelTarget target, NonStopLayout layout, CancellationToken cancellationToken)
    {
        var machine = target.Machine;
        if (machine.Memory.Ram is not { Ranges: { Length: <= MaximumRanges } ranges } ram || await GuestTables.ModeAsync(machine, cancellationToken) is not { } mode)
        {
            return null;
        }

        return mode.Kind is PagingKind.FourLevels or PagingKind.FiveLevels
            ? TryMap(target.Map, mode, layout, ram, ranges, await GuestTables.HasNoExecuteAsync(machine, cancellationToken))
            : TryFindLowMemory(target, mode, layout, ram, ranges);
    }

    private static GuestView? TryMap(KernelMap map, in PagingMode mode, NonStopLayout layout, MappedRam ram, ImmutableArray<RamRange> ranges, bool noExecute)
    {
        var bits = Math.Max(GigabyteBits, 64 - BitOperations.LeadingZeroCount(ranges[^1].End - 1));
        var gigabytes = 1 << Math.Min(bits - GigabyteBits, TableBits);
        if (gigabytes >= HoleGigabytes || LevelThree(mode, ram) is not { } levelThree || FreeEntries(levelThree, gigabytes, ram) is not { } first)
        {
            return null;
        }

        var data = Present | Accessed | Dirty | Global | (noExecute ? NoExecute : 0);
        if (!TryMapDirectly(map, mode, layout.PhysicalControl, data | Writable, ram))
        {
            return null;
        }

        var tables = new Tables(ram, layout.PhysicalControl + ControlBlock.Tables, layout.PhysicalRing, data);
        for (var gigabyte = 0; gigabyte < gigabytes; gigabyte++)
        {
            if (tables.Gigabyte((ulong)gigabyte << GigabyteBits, ranges) is not { } table || !Write(levelThree, first + gigabyte, table | Present | Accessed, ram))
            {
                return null;
            }
        }

        return new GuestView(mode.Kind, Hole64 + ((ulong)first << GigabyteBits), bits, ranges, null, map.Slide);
    }

    private static GuestView? TryFindLowMemory(KernelTarget target, in PagingMode mode, NonStopLayout layout, MappedRam ram, ImmutableArray<RamRange> ranges)
    {
        var (map, image) = (target.Map, target.Map.Image);
        if (!image.TryFindSymbol("max_low_pfn", out var pages) || !image.TryFindSymbol("_stext", out var text)
            || PageTables.Translate(map.ToRunTime(text.Value), mode, ram) is not { Status: TranslationStatus.Mapped, Physical: var physical })
        {
            return null;
        }

        var (start, end) = (layout.Physical, layout.Physical + layout.PhysicalSize);
        var others = ranges.SelectMany(r => (RamRange[])[r with { End = Math.Min(r.End, start) }, new RamRange(Math.Max(r.Start, end), r.End, 0)]).Where(r => r.Start < r.End);
        return new GuestView(mode.Kind, map.ToRunTime(text.Value) - physical, 32, [.. others.Where(r => r.End <= 1UL << 32)], map.ToRunTime(pages.Value), map.Slide);
    }

    /// <summary>The table of the address space's last 512 GiB, in which kernel and modules lie.</summary>
    private static ulong? LevelThree(in PagingMode mode, MappedRam ram)
    {
        var table = mode.Root;
        for (var level = mode.Kind == PagingKind.FiveLevels ? 5 : 4; level > 3; level--)
        {
            if (Read(table, EntriesPerTable - 1, ram) is not { } entry || (entry & Present) == 0)
            {
                return null;
            }

            table = entry & PagingMode.FrameBits;
        }

        return table;
    }

    private static int? FreeEntries(ulong table, int count, MappedRam ram)
    {
        var free = 0;
        for (var index = 0; index < HoleGigabytes; index++)
        {
            free = Read(table, index, ram) is { } entry && (entry & Present) == 0 ? free + 1 : 0;
            if (free == count)
            {
                return index - count + 1;
            }
        }

        return null;
    }

    /// <summary>Makes a large page that the kernel's direct map has left out a part of it.</summary>
    private static bool TryMapDirectly(KernelMap map, in PagingMode mode, ulong physical, ulong flags, MappedRam ram)
    {
        if (DirectMap(map, mode, ram) is not { } start || PageTables.Translate(start + physical, mode, ram) is { Status: not TranslationStatus.Unmapped })
        {
            return false;
        }

        var table = mode.Root;
        var shift = SmallBits + ((mode.Kind == PagingKind.FiveLevels ? 4 : 3) * TableBits);
        for (; shift > LargeBits; shift -= TableBits)
        {
            if (Read(table, IndexOf(start + physical, shift), ram) is not { } entry || (entry & Present) == 0 || (entry & Large) != 0)
            {
                return false;
            }

            table = entry & PagingMode.FrameBits;
        }

        return Read(table, IndexOf(start + physical, shift), ram) is { } free && (free & Present) == 0 && Write(table, IndexOf(start + physical, shift), physical | Large | flags, ram);
    }

    /// <summary>PAGE_OFFSET: the virtual address of physical address 0; null when it is not where it should be.</summary>
    private static ulong? DirectMap(KernelMap map, in PagingMode mode, MappedRam ram)
    {
        var known = map.Image.TryFindSymbol("_stext", out var text) && PageTables.Translate(map.ToRunTime(text.Value), mode, ram) is { Status: TranslationStatus.Mapped } found ? found.Physical : 0;
        Span<byte> bytes = stackalloc byte[8];
        var starts = map.Image.TryFindSymbol("page_offset_base", out var symbol) && PageTables.Translate(map.ToRunTime(symbol.Value), mode, ram) is { Status: TranslationStatus.Mapped } variable
            && ram.TryRead(variable.Physical, bytes) ? [BinaryPrimitives.ReadUInt64LittleEndian(bytes)] : DirectMaps;
        foreach (var start in starts)
        {
            if (known != 0 && PageTables.Translate(start + known, mode, ram) is { Status: TranslationStatus.Mapped } same && same.Physical == known)
            {
                return start;
            }
        }

        return null;
    }

    private static int IndexOf(ulong address, int shift) => (int)((address >> shift) & (EntriesPerTable - 1));

    private static bool Write(ulong table, int index, ulong entry, MappedRam ram)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, entry);
        return ram.TryWrite(table + ((ulong)index * 8), bytes);
    }

    private static ulong? Read(ulong table, int index, MappedRam ram)
    {
        Span<byte> bytes = stackalloc byte[8];
        return ram.TryRead(table + ((ulong)index * 8), bytes) ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : null;
    }

    /// <summary>Page tables in a piece of memory, which is all zeros.</summary>
    private sealed class Tables(MappedRam ram, ulong start, ulong end, ulong flags)
    {
        // The first page stays as it is: it is what every hole shows.
        private ulong _next = start + (1 << SmallBits);
        private ulong? _emptyLarge, _emptyGigabyte;

        /// <summary>The table of one GiB of physical memory; null when there is no room left.</summary>
        public ulong? Gigabyte(ulong physical, ImmutableArray<RamRange> ranges)
        {
            if (!ranges.Any(r => r.Start < physical + (1UL << GigabyteBits) && r.End > physical))
            {
                return _emptyGigabyte ??= EmptyLarge() is { } table ? Filled(_ => table | Present | Accessed) : null;
            }

            return Filled(index =>
            {
                var (from, to) = (physical + ((ulong)index << LargeBits), physical + ((ulong)(index + 1) << LargeBits));
                return ranges.Any(r => r.Start <= from && r.End >= to) ? from | Large | flags
                    : (ranges.Any(r => r.Start < to && r.End > from) ? Filled(i => Small(from + ((ulong)i << SmallBits))) : EmptyLarge()) | Present | Accessed;
            });

            ulong Small(ulong page) => (ranges.Any(r => r.Start <= page && r.End >= page + (1 << SmallBits)) ? page : start) | flags;
        }

        private ulong? EmptyLarge() => _emptyLarge ??= Filled(_ => start | flags);

        private ulong? Filled(Func<int, ulong?> entry)
        {
            if (_next >= end)
            {
                return null;
            }

            var table = _next;
            _next += 1 << SmallBits;
            for (var index = 0; index < EntriesPerTable; index++)
            {
                if (entry(index) is not { } value || !Write(table, index, value, ram))
                {
                    return null;
                }
            }

            return table;
        }
    }
}
