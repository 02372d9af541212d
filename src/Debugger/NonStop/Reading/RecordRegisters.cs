using KTrace.Debugger.NonStop.Ring;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>A call's registers as a breakpoint at the function's first instruction would show them.</summary>
internal static class RecordRegisters
{
    // RecordFormat.Registers has the instruction set's order; the psABI for x86-64 numbers cx, dx and bx, si, di, bp, sp in another one.
    private static readonly int[] X86_64Numbers =
    [
        X86_64.Rax, X86_64.Rcx, X86_64.Rdx, X86_64.Rbx, X86_64.Rsp, X86_64.Rbp, X86_64.Rsi, X86_64.Rdi,
        X86_64.R8, X86_64.R9, X86_64.R10, X86_64.R11, X86_64.R12, X86_64.R13, X86_64.R14, X86_64.R15,
    ];

    private static readonly int[] I386Numbers = [I386.Eax, I386.Ecx, I386.Edx, I386.Ebx, I386.Esp, I386.Ebp, I386.Esi, I386.Edi];

    /// <summary>An architecture's register numbers, in the order of a record.</summary>
    public static ReadOnlySpan<int> Numbers(Architecture architecture) => architecture is X86_64 ? X86_64Numbers : I386Numbers;

    public static RegisterSet Of(RingRecord record, ulong pc, Architecture architecture)
    {
        var registers = new RegisterSet(architecture);
        var numbers = Numbers(architecture);
        for (var i = 0; i < numbers.Length; i++)
        {
            registers[numbers[i]] = Word(record.Register(i), architecture);
        }

        registers[architecture.StackPointer] = Word(record.StackPointer, architecture);
        registers[architecture.ProgramCounter] = pc;
        registers[architecture.Flags] = record.Flags;
        return registers;
    }

    public static ulong Word(ulong value, Architecture architecture) => architecture.WordSize == 4 ? (uint)value : value;
}
