// System V psABI for i386, table 2.14 "DWARF Register Number Mapping".
using System.Collections.Immutable;

namespace KTrace.Symbols.Arch;

public sealed class I386 : Architecture
{
    public const int Eax = 0, Ecx = 1, Edx = 2, Ebx = 3, Esp = 4, Ebp = 5, Esi = 6, Edi = 7, Eip = 8;
    public const int Eflags = 9, Cs = 10, Ss = 11, FsBase = 12, GsBase = 13, Cr0 = 14, Cr2 = 15, Cr3 = 16, Cr4 = 17;

    public static I386 Instance { get; } = new();

    public override string Name => "i386";

    public override ushort ElfMachine => 3;

    public override int WordSize => 4;

    public override ImmutableArray<string> RegisterNames { get; } =
    [
        "eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip",
        "eflags", "cs", "ss", "fs_base", "gs_base", "cr0", "cr2", "cr3", "cr4",
    ];

    public override int DwarfRegisterCount => 9;

    public override int ProgramCounter => Eip;

    public override int StackPointer => Esp;

    public override int FramePointer => Ebp;

    public override ImmutableArray<int> GeneralRegisters { get; } = [Eax, Ebx, Ecx, Edx, Esi, Edi, Ebp, Esp, Eip, Eflags];

    /// <summary>Linux builds its 32-bit kernel with -mregparm=3.</summary>
    public override ImmutableArray<int> ArgumentRegisters { get; } = [Eax, Edx, Ecx];

    public override ImmutableArray<int> CalleeSavedRegisters { get; } = [Ebx, Esi, Edi, Ebp];

    public override int Flags => Eflags;

    public override int CodeSegment => Cs;

    public override PtRegsLayout PtRegs { get; } = new(
        Size: 68,
        InterruptFrame: 48,
        SystemCallNumber: 44,
        Slots:
        [
            new(Ebx, 0), new(Ecx, 4), new(Edx, 8), new(Esi, 12), new(Edi, 16), new(Ebp, 20), new(Eax, 24),
            new(Eip, 48), new(Cs, 52, IsSegment: true), new(Eflags, 56), new(Esp, 60), new(Ss, 64, IsSegment: true),
        ]);
}
