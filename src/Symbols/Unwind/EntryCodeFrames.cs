// Entry code between its first instruction and a complete struct pt_regs, and again between the last pop and iret or sysret. The kernel's own
// tables say nothing about these few instructions (ORC: end of stack; i386: nothing), as the kernel never unwinds from them; a debugger does.
// What can be relied upon (arch/x86/entry/entry_{32,64,64_compat}.S, calling.h; Intel SDM volume 3, 6.12 and 6.14):
//  - the processor pushed ip, cs, flags (and sp, ss: always on x86-64, on a change of privilege on i386), and entry code only pushes below them.
//    So that frame is the first thing above sp that looks like one: five words that must fit each other hardly occur by chance. On x86-64 a
//    frame of user mode also ends where its stack ends, on a page boundary;
//  - behind SYSCALL, ip and flags of user space are in rcx and r11 until they are pushed, and again before SYSRET;
//  - before iret to user mode x86-64 copies the frame to the trampoline stack, while rdi points at the word below the original.
using System.Buffers.Binary;
using KTrace.Symbols.Arch;

namespace KTrace.Symbols.Unwind;

/// <summary>Finds what entry code was entered from, where no row tells.</summary>
internal static class EntryCodeFrames
{
    // A whole pt_regs, error codes, a few return addresses, and the three copies that an NMI makes of its frame.
    private const int MaximumWords = 48;
    private const ulong PageSize = 4096;
    private const int FrameWords = 5;

    /// <summary>What was found: a caller, the end in user space, or a reason.</summary>
    public static FrameStep.Outcome Find(RegisterSet registers, string function, IMemoryReader memory, IUnwindTable table, ulong keep)
    {
        // On its way back too: what user space goes on with is in rcx before the last of its registers leave the stack (arch/x86/entry/entry_64.S).
        var isSyscall64 = (function is "syscall_return_via_sysret" || function.StartsWith("entry_SYS", StringComparison.Ordinal) && !function.Contains("compat", StringComparison.Ordinal))
            && registers.Architecture.WordSize == 8;
        if (isSyscall64 && IsUserHalf(registers.StackPointer))
        {
            return BySyscallRegisters(registers, registers.StackPointer, memory);
        }

        var found = Search(registers, function, memory, table, keep);
        if (found.Caller is not null || found.IsUser || found.Stop is UnwindStop.MemoryMissing)
        {
            return found;
        }

        if (registers.Architecture.WordSize == 8 && registers.IsKnown(X86_64.Rdi) && !IsUserHalf(registers[X86_64.Rdi]))
        {
            var original = At(registers[X86_64.Rdi] + 16, registers, function, memory, table, keep);
            if (original.IsUser || original.Stop is UnwindStop.MemoryMissing)
            {
                return original;
            }
        }

        return isSyscall64 ? BySyscallRegisters(registers, null, memory)
            : new FrameStep.Outcome(null, new UnwindStop.EndOfStack($"entry code ({function}) that has not yet saved, or has already restored, what it was entered from"));
    }

    private static FrameStep.Outcome Search(RegisterSet registers, string function, IMemoryReader memory, IUnwindTable table, ulong keep)
    {
        var word = (ulong)registers.Architecture.WordSize;
        var start = registers.StackPointer;
        if (start % word != 0 || (word == 8 && IsUserHalf(start)))
        {
            return default;
        }

        for (var i = 0; i < MaximumWords; i++)
        {
            var found = At(start + ((ulong)i * word), registers, function, memory, table, keep);
            if (found.Caller is not null || found.IsUser || found.Stop is UnwindStop.MemoryMissing)
            {
                return found;
            }
        }

        return default;
    }

    /// <summary>The interrupt frame at an address, if it is one.</summary>
    private static FrameStep.Outcome At(ulong address, RegisterSet registers, string function, IMemoryReader memory, IUnwindTable table, ulong keep)
    {
        var architecture = registers.Architecture;
        var word = architecture.WordSize;
        Span<byte> bytes = stackalloc byte[8 * FrameWords];
        Span<ulong> frame = stackalloc ulong[FrameWords];

        // i386 pushes sp and ss only on a change of privilege; a kernel frame may be the last thing on its stack.
        var available = FrameWords;
        var result = memory.Read(address, bytes[..(word * FrameWords)]);
        if (result != MemoryReadResult.Ok && word == 4)
        {
            available = 3;
            result = memory.Read(address, bytes[..(word * available)]);
        }

        if (result == MemoryReadResult.NotFetched)
        {
            return new FrameStep.Outcome(null, new UnwindStop.MemoryMissing(address, word * available));
        }

        if (result != MemoryReadResult.Ok)
        {
            return default;
        }

        for (var i = 0; i < available; i++)
        {
            frame[i] = word == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(bytes[(8 * i)..]) : BinaryPrimitives.ReadUInt32LittleEndian(bytes[(4 * i)..]);
        }

        var (ip, cs, flags, sp, ss) = (frame[0], word == 4 ? (ushort)frame[1] : frame[1], frame[2], frame[3], word == 4 ? (ushort)frame[4] : frame[4]);
        if (!SavedRegistersReader.AreFlags(flags))
        {
            return default;
        }

        var isUser = (cs & 3) == 3;
        var fits = word == 8
            ? isUser
                ? cs is 0x33 or 0x23 && ss is 0x2b && IsUserHalf(ip) && IsUserHalf(sp) && (address + 40) % PageSize == 0
                : cs == 0x10 && ss is 0x18 or 0 && !IsUserHalf(sp) && (ip == 0 || table.IsText(ip))
                    && ((address + 40) % PageSize == 0 || (sp >= address + 40 && sp - (address + 40) < 16))
            : isUser
                ? available == FrameWords && cs is 0x73 && ss is 0x7b && ip != 0 && sp != 0
                : cs is 0x60 && table.IsText(ip);
        if (!fits)
        {
            return default;
        }

        var caller = registers.CloneOnly(keep);
        caller[architecture.ProgramCounter] = ip;
        caller[architecture.CodeSegment] = cs;
        caller[architecture.Flags] = flags;
        if (word == 8 || isUser || (frame[1] & SavedRegistersReader.I386CompletedKernelFrame) != 0)
        {
            caller[architecture.StackPointer] = sp;
        }
        else
        {
            caller[architecture.StackPointer] = address + 12;
        }

        if (!isUser)
        {
            // An NMI's code copies its frame twice before it saves anything else; until then registers are as they were.
            if (function is "asm_exc_nmi" or "first_nmi" or "repeat_nmi" or "end_repeat_nmi" || function.StartsWith("nested_nmi", StringComparison.Ordinal))
            {
                foreach (var register in architecture.CalleeSavedRegisters)
                {
                    if (registers.IsKnown(register))
                    {
                        caller[register] = registers[register];
                    }
                }
            }
            else if (KeepCalleeSaved(address - (ulong)architecture.PtRegs.InterruptFrame, registers, caller, memory) is { } missing)
            {
                return new FrameStep.Outcome(null, missing);
            }

            return new FrameStep.Outcome(new UnwoundFrame(caller, UnwindRule.SavedRegisters, IsCall: false), null);
        }

        long number = 0;
        if (KernelEntries.IsSystemCall(function, null))
        {
            // orig_ax is pushed next; until then it is in the register.
            var place = address - (ulong)word;
            var accumulator = word == 8 ? X86_64.Rax : I386.Eax;
            if (registers.StackPointer <= place && memory.Read(place, bytes[..word]) == MemoryReadResult.Ok)
            {
                number = word == 8 ? BinaryPrimitives.ReadInt64LittleEndian(bytes) : BinaryPrimitives.ReadInt32LittleEndian(bytes);
            }
            else if (registers.IsKnown(accumulator))
            {
                number = word == 8 ? (long)registers[accumulator] : (int)registers[accumulator];
            }
        }

        return new FrameStep.Outcome(null, null, new SavedRegistersReader.Result(caller, true, number, null));
    }

    /// <summary>
    /// Entry code pushes registers from pt_regs' end to its start and pops them the other way round. So a slot at or above sp holds its register,
    /// and a register whose slot lies below sp has not been pushed yet, or is back already.
    /// </summary>
    private static UnwindStop.MemoryMissing? KeepCalleeSaved(ulong savedRegisters, RegisterSet registers, RegisterSet caller, IMemoryReader memory)
    {
        var architecture = registers.Architecture;
        var word = architecture.WordSize;
        Span<byte> bytes = stackalloc byte[8];
        foreach (var slot in architecture.PtRegs.Slots)
        {
            if (!architecture.CalleeSavedRegisters.Contains(slot.Register))
            {
                continue;
            }

            var place = savedRegisters + (ulong)slot.Offset;
            if (place < registers.StackPointer)
            {
                if (registers.IsKnown(slot.Register))
                {
                    caller[slot.Register] = registers[slot.Register];
                }

                continue;
            }

            switch (memory.Read(place, bytes[..word]))
            {
                case MemoryReadResult.NotFetched:
                    return new UnwindStop.MemoryMissing(place, word);
                case MemoryReadResult.Ok:
                    caller[slot.Register] = word == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : BinaryPrimitives.ReadUInt32LittleEndian(bytes);
                    break;
            }
        }

        return null;
    }

    /// <summary>Between SYSCALL and the push of rcx, and between the last pop and SYSRET.</summary>
    private static FrameStep.Outcome BySyscallRegisters(RegisterSet registers, ulong? userStack, IMemoryReader memory)
    {
        if (!registers.IsKnown(X86_64.Rcx) || !registers.IsKnown(X86_64.R11) || !IsUserHalf(registers[X86_64.Rcx]) || !SavedRegistersReader.AreFlags(registers[X86_64.R11]))
        {
            return new FrameStep.Outcome(null, new UnwindStop.EndOfStack("a system call's entry code, whose registers do not tell where it was called from"));
        }

        Span<byte> bytes = stackalloc byte[8];
        var user = registers.Clone();
        user[X86_64.Rip] = registers[X86_64.Rcx];
        user[X86_64.Eflags] = registers[X86_64.R11];
        user.Forget(X86_64.Cs);
        user[X86_64.Cs] = 0x33;
        user.Forget(X86_64.Ss);
        if (userStack is null)
        {
            user.Forget(X86_64.Rsp);
            var top = (registers.StackPointer + PageSize - 1) & ~(PageSize - 1);

            // Entering, ss and sp are pushed first; leaving, sp and rdi are.
            foreach (var place in (ReadOnlySpan<ulong>)[top - 16, top - 8])
            {
                if (place < registers.StackPointer)
                {
                    continue;
                }

                switch (memory.Read(place, bytes))
                {
                    case MemoryReadResult.NotFetched:
                        return new FrameStep.Outcome(null, new UnwindStop.MemoryMissing(place, 8));
                    case MemoryReadResult.Ok when BinaryPrimitives.ReadUInt64LittleEndian(bytes) is > 0xffff and var word && IsUserHalf(word):
                        user[X86_64.Rsp] = word;
                        break;
                }
            }
        }

        return new FrameStep.Outcome(null, null, new SavedRegistersReader.Result(user, true, (long)registers[X86_64.Rax], null));
    }

    private static bool IsUserHalf(ulong address) => address >> 56 == 0;
}
