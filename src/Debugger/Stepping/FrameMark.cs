using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Stepping;

/// <summary>
/// One activation of a function, by where its stack pointer will be when it goes on. In the kernel that is enough: a stack is one task's (or one CPU's) as long as
/// anything on it is to be returned to, so another task, another CPU and a deeper call have other stack pointers. User stacks of two processes may have the
/// same addresses: there the page tables count too.
/// </summary>
internal readonly record struct FrameMark(ulong StackPointer, bool IsUser, ulong PageTables)
{
    // Bits 0 to 11 are flags or the PCID; bit 12 tells the user's half from the kernel's with page table isolation (arch/x86/include/asm/processor-flags.h).
    private const ulong PageTableBits = ~0x1ffful;

    public static FrameMark Of(RegisterSet registers) => At(registers, registers.StackPointer);

    /// <summary>The same mode and task, with another stack pointer.</summary>
    public static FrameMark At(RegisterSet registers, ulong stackPointer) => new(stackPointer, IsInUserMode(registers), PageTablesOf(registers));

    public bool Matches(RegisterSet registers) =>
        registers.StackPointer == StackPointer && IsInUserMode(registers) == IsUser && (!IsUser || PageTablesOf(registers) == PageTables);

    public static bool IsInUserMode(RegisterSet registers) =>
        registers.IsKnown(registers.Architecture.CodeSegment) && (registers[registers.Architecture.CodeSegment] & 3) == 3;

    private static ulong PageTablesOf(RegisterSet registers) => registers[registers.Architecture is X86_64 ? X86_64.Cr3 : I386.Cr3] & PageTableBits;
}
