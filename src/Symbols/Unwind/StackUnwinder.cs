// The one unwinder. It walks from the registers of a stopped CPU to where the stack ends, a frame at a time, with the rows of an
// IUnwindTable; CFI, ORC and frame pointers are only sources of rows. Rules that keep it honest:
//  - a frame whose pc is no known code is never reported; the walk ends with the reason;
//  - a call's frame lies above its callee's; where a row switches the stack (interrupt and exception stacks), no frame may come twice;
//  - memory that was not fetched ends the walk at once, so that the caller can fetch it and walk again: no other row is tried
//    that might seem to work.
using System.Collections.Immutable;
using KTrace.Symbols.Arch;

namespace KTrace.Symbols.Unwind;

/// <summary>Walks stacks. Stateless; safe from any thread.</summary>
public static class StackUnwinder
{
    /// <summary>Frames that are taken at most, unless told otherwise. The kernel's deepest stacks have about 100.</summary>
    public const int DefaultLimit = 256;

    /// <summary>Unwinds from a stopped CPU's registers (at least pc and sp known).</summary>
    /// <param name="memory">Whatever was fetched so far; see <see cref="UnwindStop.MemoryMissing"/>.</param>
    /// <param name="limit">Frames at most; then <see cref="UnwindStop.TooDeep"/>.</param>
    public static UnwindResult Unwind(RegisterSet start, IMemoryReader memory, IUnwindTable table, int limit = DefaultLimit)
    {
        var architecture = start.Architecture;
        if (start.IsKnown(architecture.CodeSegment) && (start[architecture.CodeSegment] & 3) == 3)
        {
            return new UnwindResult([], new UnwindStop.UserSpace(start, null, IsCompatSegment(start)));
        }

        var frames = ImmutableArray.CreateBuilder<UnwoundFrame>(32);
        var frame = new UnwoundFrame(start, UnwindRule.Registers, IsCall: false);
        if (start.ProgramCounter != 0 && !table.IsText(start.ProgramCounter))
        {
            if (BeforeKernel(start) is { } early)
            {
                return new UnwindResult([frame], early);
            }

            var answer = table.FindRuntimeText(start.ProgramCounter, memory);
            if (answer.Missing is not null)
            {
                return new UnwindResult([frame], answer.Missing);
            }

            frame = frame with { OriginalCounter = answer.Original == 0 ? null : answer.Original };
        }

        var step = new FrameStep(architecture, memory, table);
        while (true)
        {
            frames.Add(frame);
            if (frames.Count >= limit)
            {
                return new UnwindResult(frames.DrainToImmutable(), new UnwindStop.TooDeep(limit));
            }

            var stop = Next(step, frames, table, out var caller);
            if (caller is null)
            {
                return new UnwindResult(frames.DrainToImmutable(), stop!);
            }

            if (caller.Registers.StackPointer <= frame.Registers.StackPointer && IsRepeated(frames, caller))
            {
                return new UnwindResult(frames.DrainToImmutable(), new UnwindStop.Corrupt($"the stack leads back to the frame at 0x{caller.ProgramCounter:x}, sp 0x{caller.Registers.StackPointer:x}"));
            }

            frame = caller;
        }
    }

    private static UnwindStop? Next(FrameStep step, ImmutableArray<UnwoundFrame>.Builder frames, IUnwindTable table, out UnwoundFrame? caller)
    {
        var frame = frames[^1];
        caller = null;
        UnwindStop? failure = null;
        if (frame is { ProgramCounter: 0, IsCall: false })
        {
            // A call through a null pointer: the return address is where every call leaves it (unwind_orc.c: null_orc_entry).
            var outcome = step.Apply(NullCall(frame.Registers.Architecture), frame.Registers);
            caller = outcome.Caller;
            return outcome.Stop;
        }

        if (KernelEntries.ReturnReplacedBy(table.FunctionAt(frame.LookupAddress)) is { } tracer && frame.IsCall)
        {
            return new UnwindStop.EndOfStack(tracer);
        }

        foreach (var row in table.FindRows(frame.LookupAddress))
        {
            var outcome = step.Apply(row, frame.Registers);
            if (outcome.Caller is not null)
            {
                return Called(step, frame, outcome.Caller, table, out caller);
            }

            if (outcome.IsUser)
            {
                return UserSpace(outcome.User, frames, table);
            }

            if (outcome.Stop is UnwindStop.MemoryMissing)
            {
                return outcome.Stop;
            }

            if (outcome.Stop is UnwindStop.EndOfStack)
            {
                return End(step, frames, table, out caller);
            }

            failure ??= outcome.Stop;
        }

        return WithoutRow(step, frames, table, failure, out caller);
    }

    /// <summary>
    /// x86-64's kernel lives in the upper half of the address space. What runs below it in kernel mode is the boot loader, the decompressor, or the
    /// kernel's first instructions at their physical address; where nothing is at its link address, no symbol and no row can be right.
    /// </summary>
    private static UnwindStop.BootEntry? BeforeKernel(RegisterSet start)
    {
        const ulong paging = 1UL << 31;
        var architecture = start.Architecture;
        var pc = start.ProgramCounter;
        var control = architecture.IndexOf("cr0");
        if (start.IsKnown(control) && (start[control] & paging) == 0)
        {
            return new UnwindStop.BootEntry($"0x{pc:x} before paging: no symbols for the firmware, the boot loader or the decompressor");
        }

        return (architecture.WordSize == 8 ? pc >> 47 == 0 : pc < 0x4000_0000)
            ? new UnwindStop.BootEntry($"0x{pc:x} before the kernel's own page tables: no symbols for the boot loader or the decompressor")
            : null;
    }

    /// <summary>
    /// A retpoline overwrites its own return address with the function to jump to and returns, through the return thunk where there is one.
    /// Stopped there, or in what the thunk calls, that function's entry is on the stack where a caller should be; the real return address is the next word. (In entry
    /// code a label may stand right behind a call: i386's handle_exception_return.)
    /// </summary>
    private static UnwindStop? Called(FrameStep step, UnwoundFrame frame, UnwoundFrame found, IUnwindTable table, out UnwoundFrame? caller)
    {
        caller = found;
        if (!found.IsCall || !KernelEntries.IsOnTheWayBack(table.FunctionAt(frame.LookupAddress)))
        {
            return null;
        }

        var before = table.FunctionAt(found.ProgramCounter - 1);
        if (table.FunctionAt(found.ProgramCounter) == before || KernelEntries.HasPtRegs(before))
        {
            return null;
        }

        var outcome = step.Apply(NullCall(frame.Registers.Architecture), found.Registers);
        caller = outcome.Caller;
        return outcome.Stop;
    }

    private static UnwindStop? End(FrameStep step, ImmutableArray<UnwoundFrame>.Builder frames, IUnwindTable table, out UnwoundFrame? caller)
    {
        var function = table.FunctionAt(frames[^1].LookupAddress);
        caller = null;
        return NewUserTask(step, frames, table, function) ?? KernelEntries.StopIn(function)
            ?? (KernelEntries.IsEntryCode(function) ? Entered(step, frames, table, function!, out caller) : new UnwindStop.EndOfStack());
    }

    /// <summary>Entry code that no row describes at this instruction.</summary>
    private static UnwindStop? Entered(FrameStep step, ImmutableArray<UnwoundFrame>.Builder frames, IUnwindTable table, string function, out UnwoundFrame? caller)
    {
        var outcome = step.EnteredFrom(frames[^1].Registers, function);
        caller = outcome.Caller;
        return outcome.IsUser ? UserSpace(outcome.User, frames, table) : outcome.Stop;
    }

    /// <summary>No row leads anywhere: entry code is known by its name, and only then.</summary>
    private static UnwindStop? WithoutRow(
        FrameStep step, ImmutableArray<UnwoundFrame>.Builder frames, IUnwindTable table, UnwindStop? failure, out UnwoundFrame? caller)
    {
        var frame = frames[^1];
        caller = null;
        var function = table.FunctionAt(frame.LookupAddress);
        if (NewUserTask(step, frames, table, function) is { } user)
        {
            return user;
        }

        if (KernelEntries.StopIn(function) is { } end)
        {
            return end;
        }

        // Not only behind a call: ORC is wrong for the one instruction that follows error_entry, which leaves pt_regs on its caller's stack.
        var callee = frames.Count > 1 ? table.FunctionAt(frames[^2].LookupAddress) : null;
        if ((KernelEntries.HasPtRegs(function) || (frame.IsCall && KernelEntries.IsEntryCode(function)) || KernelEntries.IsSystemCall(null, callee)) && (frame.IsCall || (failure is not null && frame.Registers.Architecture.WordSize == 8)))
        {
            var outcome = step.Saved(frame.Registers.StackPointer, frame.Registers, isWhole: true, isInterrupted: true);
            caller = outcome.Caller;
            if (outcome.IsUser)
            {
                return UserSpace(outcome.User, frames, table);
            }

            if (caller is not null || outcome.Stop is UnwindStop.MemoryMissing)
            {
                return outcome.Stop;
            }

            if (frame.IsCall && function is not null)
            {
                // error_entry and paranoid_entry are called themselves: their return address lies below pt_regs.
                var entered = Entered(step, frames, table, function, out caller);
                return caller is not null || entered is UnwindStop.UserSpace or UnwindStop.MemoryMissing ? entered : failure ?? outcome.Stop;
            }
        }

        if (!frame.IsCall && failure is UnwindStop.Corrupt && function == "__switch_to_asm")
        {
            var outcome = step.CallerOfSwitch(frame.Registers, function);
            caller = outcome.Caller;
            return outcome.Stop;
        }

        if (!frame.IsCall && KernelEntries.IsEntryCode(function))
        {
            return Entered(step, frames, table, function!, out caller);
        }

        if (failure is null && frame.OriginalCounter is null && !table.IsText(frame.LookupAddress))
        {
            return Generated(step, frame, out caller);
        }

        if (failure is null && !frame.IsCall && function is not null && frame.OriginalCounter is null)
        {
            return step.CallerOfLeaf(frame.Registers, function, out caller) ?? (caller is null ? new UnwindStop.NoUnwindRow(frame.ProgramCounter) : null);
        }

        return failure ?? new UnwindStop.NoUnwindRow(frame.ProgramCounter);
    }

    /// <summary>Code of which nothing is known: BPF programs keep frame pointers, so they are tried, and the frame is marked as found by them.</summary>
    private static UnwindStop? Generated(FrameStep step, UnwoundFrame frame, out UnwoundFrame? caller)
    {
        const string what = "code that the kernel generated (BPF and the like), or a module of which nothing is known";
        var outcome = frame.IsCall ? step.Apply(FramePointerRows.BehindPrologue(frame.Registers.Architecture), frame.Registers) : default;
        caller = outcome.Caller;
        return caller is not null || outcome.Stop is UnwindStop.MemoryMissing ? outcome.Stop : new UnwindStop.NoUnwindRow(frame.ProgramCounter, what);
    }

    /// <summary>
    /// A task that fork() just made runs schedule_tail() on a stack that ends in ret_from_fork, with its parent's registers above. The
    /// stack of a kernel thread has zeros there, or the registers of the program that it is about to start.
    /// </summary>
    private static UnwindStop? NewUserTask(FrameStep step, ImmutableArray<UnwoundFrame>.Builder frames, IUnwindTable table, string? function)
    {
        if (!KernelEntries.IsThreadStart(function) || frames.Count < 2 || !frames[^1].IsCall)
        {
            return null;
        }

        // Since 6.6 ret_from_fork is a C function between schedule_tail and ret_from_fork_asm.
        var callee = table.FunctionAt(frames[^2].LookupAddress);
        if (callee == "ret_from_fork" && frames.Count > 2)
        {
            callee = table.FunctionAt(frames[^3].LookupAddress);
        }

        if (!KernelEntries.IsFirstCallOfUserTask(callee))
        {
            return null;
        }

        var registers = frames[^1].Registers;
        var outcome = step.Saved(registers.StackPointer, registers, isWhole: true, isInterrupted: true);
        return outcome.Stop is UnwindStop.MemoryMissing ? outcome.Stop
            : outcome.IsUser ? new UnwindStop.UserSpace(outcome.User.Registers!, outcome.User.SystemCallNumber, IsCompatSegment(outcome.User.Registers!))
            : null;
    }

    private static UnwindStop.UserSpace UserSpace(SavedRegistersReader.Result user, ImmutableArray<UnwoundFrame>.Builder frames, IUnwindTable table)
    {
        var entry = table.FunctionAt(frames[^1].LookupAddress);
        var callee = frames.Count > 1 ? table.FunctionAt(frames[^2].LookupAddress) : null;
        var caughtBy = frames.Count > 2 ? table.FunctionAt(frames[^3].LookupAddress) : null;
        return UserSpace(user, entry, callee, caughtBy);
    }

    /// <param name="entry">The outermost frame's function.</param>
    /// <param name="callee">What it called.</param>
    /// <param name="caughtBy">What that called.</param>
    internal static UnwindStop.UserSpace UserSpace(SavedRegistersReader.Result user, string? entry, string? callee, string? caughtBy)
    {
        // FRED (6.9) enters for everything at one place; only the C functions tell, the dispatcher's callee among them.
        if (callee is not null && callee.StartsWith("fred_", StringComparison.Ordinal) && caughtBy is not null)
        {
            callee = caughtBy;
        }

        var isSystemCall = KernelEntries.IsSystemCall(entry, callee);
        var registers = user.Registers!;
        return new UnwindStop.UserSpace(
            registers,
            isSystemCall ? user.SystemCallNumber : null,
            IsCompatSegment(registers) || (isSystemCall && registers.Architecture.WordSize == 8 && KernelEntries.IsCompat(entry, callee)));
    }

    /// <summary>__USER32_CS on a 64-bit kernel.</summary>
    private static bool IsCompatSegment(RegisterSet registers) =>
        registers.Architecture.WordSize == 8 && registers[registers.Architecture.CodeSegment] == 0x23;

    private static UnwindRow NullCall(Architecture architecture) => new(
        UnwindRule.Cfi,
        FrameShape.Call,
        new CfaRule(CfaKind.Register, architecture.StackPointer, architecture.WordSize),
        [new SavedRegister(architecture.ProgramCounter, new RegisterRule(RegisterRuleKind.AtCfa, -architecture.WordSize))]);

    private static bool IsRepeated(ImmutableArray<UnwoundFrame>.Builder frames, UnwoundFrame caller)
    {
        foreach (var frame in frames)
        {
            if (frame.ProgramCounter == caller.ProgramCounter && frame.Registers.StackPointer == caller.Registers.StackPointer)
            {
                return true;
            }
        }

        return false;
    }
}
