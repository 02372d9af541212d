// System V psABI for x86-64, figure 3.36 "DWARF Register Number Mapping".
using System.Collections.Immutable;

namespace KTrace.Symbols.Arch;

public sealed class X86_64 : Architecture
{
    public const int Rax = 0, Rdx = 1, Rcx = 2, Rbx = 3, Rsi = 4, Rdi = 5, Rbp = 6, Rsp = 7;
    public const int R8 = 8, R9 = 9, R10 = 10, R11 = 11, R12 = 12, R13 = 13, R14 = 14, R15 = 15, Rip = 16;
    public const int Eflags = 17, Cs = 18, Ss = 19, FsBase = 20, GsBase = 21, KernelGsBase = 22, Cr0 = 23, Cr2 = 24, Cr3 = 25, Cr4 = 26, Efer = 27;

    public static X86_64 Instance { get; } = new();

    public override string Name => "x86-64";

    public override ushort ElfMachine => 62;

    public override int WordSize => 8;

    public override ImmutableArray<string> RegisterNames { get; } =
    [
        "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp",
        "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip",
        "eflags", "cs", "ss", "fs_base", "gs_base", "k_gs_base", "cr0", "cr2", "cr3", "cr4", "efer",
    ];

    public override int DwarfRegisterCount => 17;

    public override int ProgramCounter => Rip;

    public override int StackPointer => Rsp;

    public override int FramePointer => Rbp;

    public override ImmutableArray<int> GeneralRegisters { get; } =
        [Rax, Rbx, Rcx, Rdx, Rsi, Rdi, Rbp, Rsp, R8, R9, R10, R11, R12, R13, R14, R15, Rip, Eflags];

    public override ImmutableArray<int> ArgumentRegisters { get; } = [Rdi, Rsi, Rdx, Rcx, R8, R9];

    public override ImmutableArray<int> CalleeSavedRegisters { get; } = [Rbx, Rbp, R12, R13, R14, R15];

    public override int Flags => Eflags;

    public override int CodeSegment => Cs;

    public override PtRegsLayout PtRegs { get; } = new(
        Size: 168,
        InterruptFrame: 128,
        SystemCallNumber: 120,
        Slots:
        [
            new(R15, 0), new(R14, 8), new(R13, 16), new(R12, 24), new(Rbp, 32), new(Rbx, 40), new(R11, 48), new(R10, 56), new(R9, 64), new(R8, 72),
            new(Rax, 80), new(Rcx, 88), new(Rdx, 96), new(Rsi, 104), new(Rdi, 112),
            new(Rip, 128), new(Cs, 136, IsSegment: true), new(Eflags, 144), new(Rsp, 152), new(Ss, 160, IsSegment: true),
        ]);
}
