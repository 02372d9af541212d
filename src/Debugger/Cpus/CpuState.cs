using System.Collections.Immutable;
using KTrace.Rsp;
using KTrace.Symbols;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;

namespace KTrace.Debugger.Cpus;

/// <summary>Where a CPU executes.</summary>
public enum CpuMode
{
    /// <summary>Not told by the registers that the stub sends.</summary>
    Unknown,

    /// <summary>Before the kernel's virtual addresses: firmware, boot loader, decompressor; or a CPU that was never started.</summary>
    Firmware,

    Kernel,

    /// <summary>A program: privilege level 3.</summary>
    User,
}

/// <summary>Which stack a CPU's stack pointer is in.</summary>
public enum CpuStackKind
{
    Unknown,

    /// <summary>The task's kernel stack.</summary>
    Task,

    HardIrq,

    /// <summary>i386 alone has one of its own.</summary>
    SoftIrq,

    /// <summary>One of the interrupt stack table's, by <see cref="CpuStack.Name"/>; on i386 the double fault's.</summary>
    Exception,

    /// <summary>The few words between the entry from user space and the task's stack.</summary>
    Entry,

    User,
}

/// <param name="Name">Of an exception's stack: <c>NMI</c>, <c>DF</c>, <c>DB</c>, <c>MCE</c>, <c>VC</c>.</param>
public readonly record struct CpuStack(CpuStackKind Kind, string? Name = null);

/// <summary>One CPU of a machine that stands still.</summary>
/// <param name="Index">As in <see cref="Machine.ThreadsAsync"/>, from 0.</param>
/// <param name="Words">The stub's words about it (<c>CPU#0 [running]</c>); empty when it has none.</param>
/// <param name="LinearPc">The next instruction's address, with the code segment's base in real mode.</param>
public sealed record CpuState(int Index, ThreadId Thread, string Words, RegisterSet Registers, ulong LinearPc, CpuMode Mode)
{
    /// <summary>It waits for an interrupt (hlt), or was never started; null when the stub does not say.</summary>
    public bool? IsHalted => Words.Contains("[halted", StringComparison.Ordinal) ? true : Words.Contains("[running", StringComparison.Ordinal) ? false : null;

    /// <summary>The functions at the pc, innermost first, in kernel mode; empty elsewhere.</summary>
    public ImmutableArray<Frame> Location { get; init; } = [];

    /// <summary>The kernel's current task there; null before the kernel set it up, and when it could not be read.</summary>
    public CpuTask? Task { get; init; }

    /// <summary>Null when it could not be read.</summary>
    public PreemptCount? Preempt { get; init; }

    /// <summary>EFLAGS.IF is set.</summary>
    public bool InterruptsEnabled => !AreInterruptsOff(Registers);

    public CpuStack Stack { get; init; }

    /// <summary>Null when the preempt count is not known.</summary>
    public TraceContext? Context => Preempt is { } preempt ? new TraceContext(preempt, !InterruptsEnabled) : null;

    internal static bool AreInterruptsOff(RegisterSet registers) =>
        registers.IsKnown(registers.Architecture.Flags) && (registers[registers.Architecture.Flags] & 0x200) == 0;
}
