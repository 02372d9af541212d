// Entries written into the kernel's own page tables, so that reserved memory appears at the same addresses in every address space. The upper part of every process's tables leads to
// the kernel's: on x86-64 through the shared level-3 table (level3_kernel_pgt, arch/x86/kernel/head_64.S), on i386 because pgd_ctor (arch/x86/mm/pgtable.c) copies the kernel's
// entries, and no process exists yet when this is done.
// Where: x86-64: at the upper end of the module area (MODULES_END is 0xffffffffff000000, Documentation/arch/x86/x86_64/mm.rst), which fills up from below and is 1 GiB. Code is within 2 GiB of
// kernel and module text there. i386: below the per-cpu areas at the upper end of vmalloc's range; vmalloc fills up from below.
// Code is never writable and data never executable: with CONFIG_DEBUG_WX the kernel looks for pages that are both (arch/x86/mm/dump_pagetables.c).
using System.Buffers.Binary;
using KTrace.Debugger.Memory;

namespace KTrace.Debugger.NonStop.Guest;

/// <summary>Page tables of the stopped CPU, read and written.</summary>
internal static class GuestTables
{
    private const ulong Present = 1, Writable = 2, Large = 1 << 7, NoExecute = 1UL << 63;

    // Accessed, dirty, large, global: the processor has nothing to write into them.
    private const ulong LargePage = Present | 0x20 | 0x40 | Large | 0x100;

    private const ulong Top64 = 0xffff_ffff_ff00_0000, Bottom64 = 0xffff_ffff_e000_0000;
    private const ulong Top32 = 0xfd00_0000, Bottom32 = 0xe000_0000;
    private const int NoExecuteEnabled = 1 << 11;

    /// <summary>Bytes of a large page in this mode; null where there are none to map with.</summary>
    public static int? PageSizeOf(in PagingMode mode) => mode.Kind switch
    {
        PagingKind.FourLevels or PagingKind.FiveLevels or PagingKind.Pae => 2 << 20,
        PagingKind.TwoLevels when mode.HasFourMegabytePages => 4 << 20,
        _ => null,
    };

    /// <summary>As <see cref="PageSizeOf"/>, and where a kernel has not switched its large pages on yet.</summary>
    public static int? FuturePageSizeOf(in PagingMode mode) => PageSizeOf(mode with { HasFourMegabytePages = true });

    /// <summary>The mode of the CPU that stopped; null when the stub does not tell.</summary>
    public static async ValueTask<PagingMode?> ModeAsync(Machine machine, CancellationToken cancellationToken) =>
        new PagingRegisters(machine.Client.Layout).Read(await machine.RegisterBlockAsync(null, cancellationToken));

    /// <summary>The physical address behind a virtual one; null where it is not mapped, or the RAM cannot be read here.</summary>
    public static async ValueTask<ulong?> TranslateAsync(Machine machine, ulong address, CancellationToken cancellationToken) =>
        machine.Memory.Ram is { } ram && await ModeAsync(machine, cancellationToken) is { } mode
            && PageTables.Translate(address, mode, ram) is { Status: TranslationStatus.Mapped } found
            ? found.Physical
            : null;

    /// <summary>Where a variable of the kernel's lies in physical memory; null where there is none of that name, or it is not mapped.</summary>
    public static async ValueTask<ulong?> TranslateAsync(KernelTarget target, string symbol, CancellationToken cancellationToken) =>
        target.Map.Image.TryFindSymbol(symbol, out var found) ? await TranslateAsync(target.Machine, target.Map.ToRunTime(found.Value), cancellationToken) : null;

    /// <summary>Finds address space for a layout in the tables of a mode; null when there is none.</summary>
    public static ulong? FindRoom(in PagingMode mode, ulong size, IPhysicalMemory memory)
    {
        if (PageSizeOf(mode) is not { } page)
        {
            return null;
        }

        var (top, bottom) = mode.Kind is PagingKind.FourLevels or PagingKind.FiveLevels ? (Top64, Bottom64) : (Top32, Bottom32);
        var free = 0UL;
        for (var address = top - (ulong)page; address >= bottom; address -= (ulong)page)
        {
            free = ReadEntry(mode, address, memory) is { } entry && (entry.Value & Present) == 0 ? free + (ulong)page : 0;
            if (free >= size)
            {
                return address;
            }
        }

        return null;
    }

    /// <summary>Writes the entries of a layout. The guest is stopped.</summary>
    /// <param name="ram">Opened for writing.</param>
    /// <param name="noExecute">Whether the CPU knows the bit that forbids execution (IA32_EFER.NXE).</param>
    /// <returns>False when a table is not there; nothing is mapped then that would be used.</returns>
    public static bool TryMap(in PagingMode mode, NonStopLayout layout, MappedRam ram, bool noExecute)
    {
        var data = LargePage | Writable | (noExecute && mode.Kind != PagingKind.TwoLevels ? NoExecute : 0);
        for (var offset = 0UL; offset < layout.VirtualSize; offset += (ulong)layout.PageSize)
        {
            // The ring's second appearance has the physical memory of the first.
            var physical = layout.Physical + (offset < layout.PhysicalSize ? offset : offset - (ulong)layout.RingSize);
            if (ReadEntry(mode, layout.Virtual + offset, ram) is not { } entry || (entry.Value & Present) != 0
                || !WriteEntry(mode, entry.Place, physical | (offset == 0 ? LargePage : data), ram))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Whether the stopped CPU forbids execution where its tables say so.</summary>
    public static async ValueTask<bool> HasNoExecuteAsync(Machine machine, CancellationToken cancellationToken) =>
        machine.Client.Layout.TryFind("efer", out var efer)
        && (await machine.RegisterBlockAsync(null, cancellationToken)).TryGetValue(efer, out var value) && (value & NoExecuteEnabled) != 0;

    private static bool WriteEntry(in PagingMode mode, ulong place, ulong value, MappedRam ram)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return ram.TryWrite(place, mode.Kind == PagingKind.TwoLevels ? bytes[..4] : bytes);
    }

    /// <summary>The entry that maps a large page, and where it lies; null when the way to it is not there, or ends in a larger page.</summary>
    private static (ulong Place, ulong Value)? ReadEntry(in PagingMode mode, ulong address, IPhysicalMemory memory)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        if (mode.Kind == PagingKind.TwoLevels)
        {
            var place = mode.Root + ((address >> 20) & 0xffc);
            return memory.TryRead(place, bytes[..4]) ? (place, BinaryPrimitives.ReadUInt32LittleEndian(bytes)) : null;
        }

        const int largePageShift = 21, tableBits = 9;
        var levels = mode.Kind switch { PagingKind.Pae => 3, PagingKind.FourLevels => 4, _ => 5 };
        var table = mode.Root;
        for (var shift = 12 + ((levels - 1) * tableBits); ; shift -= tableBits)
        {
            var index = mode.Kind == PagingKind.Pae && shift == 30 ? (address >> 30) & 3 : (address >> shift) & 0x1ff;
            var place = table + (index * 8);
            if (!memory.TryRead(place, bytes))
            {
                return null;
            }

            var value = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
            if (shift == largePageShift)
            {
                return (place, value);
            }

            if ((value & Present) == 0 || (value & Large) != 0)
            {
                return null;
            }

            table = value & PagingMode.FrameBits;
        }
    }
}
