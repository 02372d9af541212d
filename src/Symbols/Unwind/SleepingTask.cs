// A task that does not run stands in __switch_to_asm (arch/x86/entry/entry_{32,64}.S): it pushed its callee-saved registers and left sp in
// thread.sp. struct inactive_task_frame (arch/x86/include/asm/switch_to.h, 4.9 and newer): x86-64 r15 r14 r13 r12 bx bp return address;
// i386 flags si di bx bp return address (flags since 5.1.3, 6690e86be83a).
using System.Buffers.Binary;
using KTrace.Symbols.Arch;

namespace KTrace.Symbols.Unwind;

/// <summary>The registers of a task that waits for a processor.</summary>
public static class SleepingTask
{
    private static readonly int[] Wide = [X86_64.R15, X86_64.R14, X86_64.R13, X86_64.R12, X86_64.Rbx, X86_64.Rbp, X86_64.Rip];
    private static readonly int[] Narrow = [I386.Eflags, I386.Esi, I386.Edi, I386.Ebx, I386.Ebp, I386.Eip];

    /// <summary>
    /// Registers as __switch_to_asm's caller will find them when the task runs again; unwind from there as from a stopped CPU. Null when the
    /// memory cannot be read; <paramref name="missing"/> then says what to fetch, if fetching can help.
    /// </summary>
    /// <param name="stackPointer">task_struct.thread.sp.</param>
    public static RegisterSet? Registers(Architecture architecture, ulong stackPointer, IMemoryReader memory, out UnwindStop.MemoryMissing? missing)
    {
        var order = architecture.WordSize == 8 ? Wide : Narrow;
        Span<byte> bytes = stackalloc byte[order.Length * architecture.WordSize];
        var result = memory.Read(stackPointer, bytes);
        missing = result == MemoryReadResult.NotFetched ? new UnwindStop.MemoryMissing(stackPointer, bytes.Length) : null;
        if (result != MemoryReadResult.Ok)
        {
            return null;
        }

        var registers = new RegisterSet(architecture) { [architecture.StackPointer] = stackPointer + (ulong)bytes.Length };
        for (var i = 0; i < order.Length; i++)
        {
            var word = bytes[(i * architecture.WordSize)..];
            registers[order[i]] = architecture.WordSize == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(word) : BinaryPrimitives.ReadUInt32LittleEndian(word);
        }

        return registers;
    }
}
