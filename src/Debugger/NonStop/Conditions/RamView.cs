// A map of all RAM for conditions alone, read only. x86-64: in the 444 GiB from 0xffffff8000000000 on that no kernel uses ("unused hole", Documentation/arch/x86/x86_64/mm.rst, with four levels of page tables
// and with five). Its part of the level-3 table is the same in every address space, EFI's included (efi_sync_low_kernel_mappings, arch/x86/platform/efi/efi_64.c, shares it up to EFI_VA_END). The tables below lie in
// the control block's large page, whose second half nobody else wants.
//
// RAM appears in pages of 2 MiB; pages of 4 KiB where a large one would be RAM in part. What is not RAM there (devices, holes) leads to a page of zeros: whatever a broken page table points to, looking there
// touches no device and does not fault.
//
// Why not the kernel's own direct map: what it leaves out of it or takes out later (firmware's tables, memfd_secret, debug_pagealloc) would fault. i386 has no address space to spare, and does with it:
// low memory, up to max_low_pfn, is mapped from PAGE_OFFSET on (arch/x86/mm/init_32.c), but for what KTrace took out of the memory map itself.
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Numerics;
using KTrace.Debugger.Memory;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Trampolines;

namespace KTrace.Debugger.NonStop.Conditions;

/// <summary>Makes a guest's memory readable for its own trampolines.</summary>
internal static class RamView
{
    private const ulong Hole64 = 0xffff_ff80_0000_0000;
    private const int HoleGigabytes = 444;
    private const int GigabyteBits = 30, LargeBits = 21, SmallBits = 12, TableBits = 9;
    private const int EntriesPerTable = 1 << TableBits;
    private const ulong Present = 1, Accessed = 0x20, Dirty = 0x40, Large = 0x80, Global = 0x100, NoExecute = 1UL << 63;
    private const int MaximumRanges = 4;

    /// <summary>Writes the tables. The guest stands where its page tables are the ones that every process will have.</summary>
    /// <returns>Null where it cannot be done.</returns>
    public static async ValueTask<GuestView?> TryMapAsync(KernelTarget target, NonStopLayout layout, CancellationToken cancellationToken)
    {
        var machine = target.Machine;
        if (machine.Memory.Ram is not { Ranges: { Length: <= MaximumRanges } ranges } ram || await GuestTables.ModeAsync(machine, cancellationToken) is not { } mode)
        {
            return null;
        }

        return mode.Kind is PagingKind.FourLevels or PagingKind.FiveLevels
            ? TryMap(mode, layout, ram, ranges, await GuestTables.HasNoExecuteAsync(machine, cancellationToken), target.Map.Slide)
            : TryFindLowMemory(target, mode, layout, ram, ranges);
    }

    private static GuestView? TryMap(in PagingMode mode, NonStopLayout layout, MappedRam ram, ImmutableArray<RamRange> ranges, bool noExecute, ulong slide)
    {
        var bits = Math.Max(GigabyteBits, 64 - BitOperations.LeadingZeroCount(ranges[^1].End - 1));
        var gigabytes = 1 << Math.Min(bits - GigabyteBits, TableBits);
        if (gigabytes >= HoleGigabytes || LevelThree(mode, ram) is not { } levelThree || FreeEntries(levelThree, gigabytes, ram) is not { } first)
        {
            return null;
        }

        var tables = new Tables(ram, layout.PhysicalControl + ControlBlock.Tables, layout.PhysicalRing, Present | Accessed | Dirty | Global | (noExecute ? NoExecute : 0));
        for (var gigabyte = 0; gigabyte < gigabytes; gigabyte++)
        {
            if (tables.Gigabyte((ulong)gigabyte << GigabyteBits, ranges) is not { } table || !tables.Write(levelThree, first + gigabyte, table | Present | Accessed))
            {
                return null;
            }
        }

        return new GuestView(mode.Kind, Hole64 + ((ulong)first << GigabyteBits), bits, ranges, null, slide);
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

        public bool Write(ulong table, int index, ulong entry)
        {
            Span<byte> bytes = stackalloc byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(bytes, entry);
            return ram.TryWrite(table + ((ulong)index * 8), bytes);
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
                if (entry(index) is not { } value || !Write(table, index, value))
                {
                    return null;
                }
            }

            return table;
        }
    }
}
