// The processor's walk from a linear to a physical address: Intel SDM volume 3A, sections 4.3 (32-bit), 4.4 (PAE) and 4.5 (4-level and 5-level paging).
//
// It answers what QEMU's stub answers (x86_cpu_get_phys_page_attrs_debug, target/i386/helper.c, 7.2), which is more generous than the processor: privilege, NX,
// reserved bits and the width of physical addresses do not count, only "present" does. The number of steps is that of the levels, whatever the tables say: a
// table that points to itself is walked through at most five times.
using System.Buffers.Binary;

namespace KTrace.Debugger.Memory;

/// <summary>What became of a translation.</summary>
public enum TranslationStatus
{
    /// <summary>An entry on the way is not present, or the address is not canonical.</summary>
    Unmapped,

    Mapped,

    /// <summary>
    /// A table lies where it cannot be read from here (in a device's memory, beyond RAM), or the address line A20 decides: somebody else has to be asked.
    /// </summary>
    Unknown,
}

/// <summary>Where a linear address lies.</summary>
/// <param name="Physical">Of the address itself, not of its page.</param>
/// <param name="Length">How many bytes from there on belong to the same page, in bytes; for what is not mapped, how many surely share its fate.</param>
public readonly record struct Translation(TranslationStatus Status, ulong Physical, ulong Length);

/// <summary>Guest-physical memory that can be read at once.</summary>
public interface IPhysicalMemory
{
    /// <summary>Reads all of it, or nothing: false when part of the range is not there.</summary>
    bool TryRead(ulong address, Span<byte> destination);
}

/// <summary>Walks page tables. Pure: nothing is kept, nothing waits; tables may hold anything.</summary>
public static class PageTables
{
    private const ulong SmallPage = 4096;
    private const int EntryBits = 9;
    private const ulong Present = 1, Large = 1 << 7;
    private const ulong A20 = 1 << 20;
    private const ulong PhysicalBits = (1UL << 52) - 1;

    public static Translation Translate(ulong address, in PagingMode mode, IPhysicalMemory memory)
    {
        address &= mode.AddressMask;
        return mode.Kind switch
        {
            PagingKind.Off => WithoutPaging(address),
            PagingKind.TwoLevels => TwoLevels(address, mode, memory),
            PagingKind.Pae => Walk(address & uint.MaxValue, mode.Root, 3, memory),
            PagingKind.FourLevels => IsCanonical(address, 48) ? Walk(address, mode.Root, 4, memory) : Failed(TranslationStatus.Unmapped, address),
            PagingKind.FiveLevels => IsCanonical(address, 57) ? Walk(address, mode.Root, 5, memory) : Failed(TranslationStatus.Unmapped, address),
            _ => Failed(TranslationStatus.Unknown, address),
        };
    }

    /// <summary>
    /// Before paging, the PC's address line 20 may be masked, which no register of the stub tells: the odd megabytes are then the even ones. QEMU starts with
    /// the line open, and firmware and kernel leave it so, but a wrong byte is worse than one that has to be asked for.
    /// </summary>
    private static Translation WithoutPaging(ulong address) =>
        (address & A20) != 0
            ? Failed(TranslationStatus.Unknown, address)
            : new Translation(TranslationStatus.Mapped, address & PhysicalBits, A20 - (address & (A20 - 1)));

    private static Translation TwoLevels(ulong address, in PagingMode mode, IPhysicalMemory memory)
    {
        const ulong largePage = 4 << 20;
        Span<byte> bytes = stackalloc byte[4];
        if (!memory.TryRead(mode.Root + ((address >> 20) & 0xffc), bytes))
        {
            return Failed(TranslationStatus.Unknown, address);
        }

        var entry = (ulong)BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        if ((entry & Present) == 0)
        {
            return Failed(TranslationStatus.Unmapped, address);
        }

        if ((entry & Large) != 0 && mode.HasFourMegabytePages)
        {
            // PSE-36: bits 13 to 20 are bits 32 to 39 of the page's address (SDM 3A, table 4-4).
            return Page((entry & 0xffc0_0000) | ((entry & 0x1f_e000) << 19), address, largePage);
        }

        if (!memory.TryRead((entry & 0xffff_f000) + ((address >> 10) & 0xffc), bytes))
        {
            return Failed(TranslationStatus.Unknown, address);
        }

        entry = BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        return (entry & Present) == 0 ? Failed(TranslationStatus.Unmapped, address) : Page(entry & 0xffff_f000, address, SmallPage);
    }

    /// <summary>Tables of 512 entries of 8 bytes; PAE's topmost has 4, which its root and the 32-bit address see to.</summary>
    private static Translation Walk(ulong address, ulong table, int levels, IPhysicalMemory memory)
    {
        // A present entry of these levels with this bit is a page: 2 MiB, and 1 GiB in long mode. Above them the bit is reserved and not looked at.
        const int twoMegabytes = 21, oneGigabyte = 30;
        Span<byte> bytes = stackalloc byte[8];
        for (var shift = 12 + ((levels - 1) * EntryBits); ; shift -= EntryBits)
        {
            if (!memory.TryRead(table + (((address >> shift) & 0x1ff) * 8), bytes))
            {
                return Failed(TranslationStatus.Unknown, address);
            }

            var entry = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
            if ((entry & Present) == 0)
            {
                return Failed(TranslationStatus.Unmapped, address);
            }

            if (shift == 12 || ((entry & Large) != 0 && (shift == twoMegabytes || (shift == oneGigabyte && levels > 3))))
            {
                var size = 1UL << shift;
                return Page(entry & PagingMode.FrameBits & ~(size - 1), address, size);
            }

            table = entry & PagingMode.FrameBits;
        }
    }

    private static bool IsCanonical(ulong address, int bits) => (long)address >> (bits - 1) is 0 or -1;

    private static Translation Page(ulong frame, ulong address, ulong size)
    {
        var offset = address & (size - 1);
        return new Translation(TranslationStatus.Mapped, frame | offset, size - offset);
    }

    private static Translation Failed(TranslationStatus status, ulong address) => new(status, 0, SmallPage - (address & (SmallPage - 1)));
}
