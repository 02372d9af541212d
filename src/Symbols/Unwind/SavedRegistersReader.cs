using System.Buffers.Binary;
using KTrace.Symbols.Arch;

namespace KTrace.Symbols.Unwind;

/// <summary>Reads struct pt_regs, or the interrupt frame at its end, from a stack.</summary>
internal static class SavedRegistersReader
{
    // arch/x86/entry/entry_32.S: since 5.3 (3c88c692c287) kernel-mode frames are completed with sp and ss, and say so in cs.
    internal const uint I386CompletedKernelFrame = 1u << 29;
    private const ulong FlagsVirtual8086 = 1UL << 17;
    private const ulong FlagsAlwaysSet = 2;
    private const ulong FlagsOfNewProgram = 0x200;
    private const ulong FlagsDefined = 0x3fffff;
    private const ulong VsyscallPage = 0xffffffffff600000;
    private const int MaximumSize = 168;

    /// <summary>What was found.</summary>
    /// <param name="Registers">Set when it can be what it should be.</param>
    /// <param name="Failure">Set when not.</param>
    public readonly record struct Result(RegisterSet? Registers, bool IsUser, long SystemCallNumber, UnwindStop? Failure)
    {
        /// <summary>Set when the interrupted pc lies in a copy of known code: <see cref="UnwoundFrame.OriginalCounter"/>.</summary>
        public ulong? OriginalCounter { get; init; }

        public static Result Failed(UnwindStop stop) => new(null, false, 0, stop);
    }

    /// <param name="address">Of pt_regs, or of the interrupt frame.</param>
    /// <param name="basis">The frame below: what is not saved is taken from here when <paramref name="keep"/> has it.</param>
    /// <param name="isWhole">A whole pt_regs; otherwise only ip, cs, flags, sp and ss.</param>
    public static Result Read(ulong address, RegisterSet basis, ulong keep, bool isWhole, IMemoryReader memory, IUnwindTable table)
    {
        var architecture = basis.Architecture;
        var layout = architecture.PtRegs;
        var word = architecture.WordSize;
        if (address % (ulong)word != 0)
        {
            return Result.Failed(new UnwindStop.Corrupt($"saved registers at the odd address 0x{address:x}"));
        }

        var skip = isWhole ? 0 : layout.InterruptFrame;
        Span<byte> buffer = stackalloc byte[MaximumSize];
        var bytes = buffer[..(layout.Size - skip)];
        switch (memory.Read(address, bytes))
        {
            case MemoryReadResult.NotFetched:
                return Result.Failed(new UnwindStop.MemoryMissing(address, bytes.Length));
            case MemoryReadResult.Unreadable:
                return Result.Failed(new UnwindStop.BadMemory(address));
        }

        var registers = basis.CloneOnly(keep);
        ulong rawCodeSegment = 0;
        foreach (var slot in layout.Slots)
        {
            if (slot.Offset >= skip)
            {
                var value = Word(bytes[(slot.Offset - skip)..], word);
                if (slot.Register == architecture.CodeSegment)
                {
                    rawCodeSegment = value;
                }

                registers[slot.Register] = slot.IsSegment ? (ushort)value : value;
            }
        }

        if (!AreFlags(registers[architecture.Flags]))
        {
            return Result.Failed(new UnwindStop.Corrupt($"saved registers at 0x{address:x} with impossible flags 0x{registers[architecture.Flags]:x}"));
        }

        var number = isWhole ? SignExtend(Word(bytes[layout.SystemCallNumber..], word), word) : 0;
        var pc = registers.ProgramCounter;
        if ((rawCodeSegment & 3) == 3 || (word == 4 && (registers[architecture.Flags] & FlagsVirtual8086) != 0))
        {
            return IsUserAddress(pc, word)
                ? new Result(registers, true, number, null)
                : Result.Failed(new UnwindStop.Corrupt($"saved user registers at 0x{address:x} whose pc 0x{pc:x} is no user address"));
        }

        ulong? original = null;
        if ((word == 4 || pc >= FrameStep.RuntimeTextStart) && !table.IsText(pc))
        {
            var answer = table.FindRuntimeText(pc, memory);
            if (answer.Missing is not null)
            {
                return Result.Failed(answer.Missing);
            }

            original = answer.Original == 0 ? null : answer.Original;
        }

        if (!IsKernelSegment(registers[architecture.CodeSegment], word) || (pc != 0 && original is null && !table.IsText(pc)))
        {
            return Result.Failed(new UnwindStop.Corrupt(
                $"saved registers at 0x{address:x} with cs 0x{registers[architecture.CodeSegment]:x} and pc 0x{pc:x}, which is no code of the kernel or of a known module"));
        }

        if (word == 4 && (rawCodeSegment & I386CompletedKernelFrame) == 0)
        {
            // The processor pushes sp and ss only when it changes the privilege level: the interrupted stack goes on behind flags.
            registers[architecture.StackPointer] = address + (ulong)(layout.InterruptFrame + (3 * word) - skip);
            registers.Forget(I386.Ss);
        }

        return new Result(registers, false, number, null) { OriginalCounter = original };
    }

    /// <summary>
    /// EFLAGS (Intel SDM volume 1, 3.4.3): bit 1 is always set and nothing above bit 21 exists. Random words rarely look like that. Only
    /// start_thread() (arch/x86/kernel/process_64.c) leaves bit 1 to the processor, for a program that execve() is about to start.
    /// </summary>
    internal static bool AreFlags(ulong flags) => (flags & ~FlagsDefined) == 0 && ((flags & FlagsAlwaysSet) != 0 || flags == FlagsOfNewProgram);

    /// <summary>__KERNEL_CS, and what Xen gives to a paravirtual kernel (arch/x86/include/asm/segment.h, xen/interface/xen-x86_{32,64}.h).</summary>
    internal static bool IsKernelSegment(ulong selector, int word) => word == 8 ? selector is 0x10 or 0xe030 : selector is 0x60 or 0xe018;

    internal static bool IsUserAddress(ulong pc, int word) =>
        word == 4 || pc >> 56 == 0 || (pc & ~0xfffUL) == VsyscallPage;

    private static ulong Word(ReadOnlySpan<byte> bytes, int size) =>
        size == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : BinaryPrimitives.ReadUInt32LittleEndian(bytes);

    private static long SignExtend(ulong value, int size) => size == 8 ? (long)value : (int)value;
}
