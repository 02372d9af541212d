// Intel SDM volume 3A, chapter 4 "Paging" (December 2022): which paging mode CR0, CR4 and IA32_EFER select, and where CR3 points.
using KTrace.Rsp;

namespace KTrace.Debugger.Memory;

/// <summary>The processor's paging modes (SDM 3A, table 4-1).</summary>
public enum PagingKind
{
    /// <summary>CR0.PG is clear: linear addresses are physical ones.</summary>
    Off,

    /// <summary>32-bit paging: two levels, pages of 4 KiB and, with CR4.PSE, of 4 MiB.</summary>
    TwoLevels,

    /// <summary>PAE without long mode: three levels, entries of 8 bytes.</summary>
    Pae,

    FourLevels,

    /// <summary>CR4.LA57.</summary>
    FiveLevels,
}

/// <summary>How one CPU translates linear addresses at one stop.</summary>
/// <param name="Root">Physical address of the topmost table; without CR3's flags (PCID, PWT, PCD).</param>
/// <param name="HasFourMegabytePages">CR4.PSE. Only 32-bit paging asks for it.</param>
/// <param name="AddressMask">What of an address counts: a stub of 32-bit registers has 32-bit addresses.</param>
public readonly record struct PagingMode(PagingKind Kind, ulong Root, bool HasFourMegabytePages = true, ulong AddressMask = ulong.MaxValue)
{
    /// <summary>
    /// Bits 12 to 51: where the address of a table or page stands in CR3 and in 8-byte entries. What processors use of the upper ones varies, and QEMU uses
    /// all.
    /// </summary>
    internal const ulong FrameBits = 0x000f_ffff_ffff_f000;

    private const ulong PagingBit = 1UL << 31, PseBit = 1 << 4, PaeBit = 1 << 5, La57Bit = 1 << 12, LongModeActiveBit = 1 << 10;

    /// <param name="efer">IA32_EFER; 0 for a processor without it.</param>
    public static PagingMode Of(ulong cr0, ulong cr3, ulong cr4, ulong efer, ulong addressMask = ulong.MaxValue)
    {
        var hasLargePages = (cr4 & PseBit) != 0;
        return (cr0 & PagingBit) == 0 ? new PagingMode(PagingKind.Off, 0, hasLargePages, addressMask)
            : (cr4 & PaeBit) == 0 ? new PagingMode(PagingKind.TwoLevels, cr3 & 0xffff_f000, hasLargePages, addressMask)
            : (efer & LongModeActiveBit) == 0 ? new PagingMode(PagingKind.Pae, cr3 & 0xffff_ffe0, hasLargePages, addressMask)
            : new PagingMode((cr4 & La57Bit) == 0 ? PagingKind.FourLevels : PagingKind.FiveLevels, cr3 & FrameBits, hasLargePages, addressMask);
    }
}

/// <summary>Reads the paging mode out of registers as the stub sends them.</summary>
internal sealed class PagingRegisters(RegisterLayout layout)
{
    private const int Cr0 = 0, Cr3 = 1, Cr4 = 2, Efer = 3;

    private readonly RegisterSelection _selection = layout.Select("cr0", "cr3", "cr4", "efer");
    private readonly ulong[] _values = new ulong[4];

    // qemu-system-i386 takes 32 bits of an address, whatever the packet says.
    private readonly ulong _addressMask = layout.TryFind("rip", out _) ? ulong.MaxValue : uint.MaxValue;

    /// <summary>Null when the stub does not tell: user-mode stubs have no control registers.</summary>
    public PagingMode? Read(RegisterBlock block)
    {
        const ulong needed = (1 << Cr0) | (1 << Cr3) | (1 << Cr4);
        var known = _selection.Read(block, _values);
        return (known & needed) == needed && ((known & (1 << Efer)) != 0 || _addressMask == uint.MaxValue)
            ? PagingMode.Of(_values[Cr0], _values[Cr3], _values[Cr4], _values[Efer], _addressMask)
            : null;
    }
}
