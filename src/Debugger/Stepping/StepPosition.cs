using KTrace.Debugger.Sessions;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger.Stepping;

/// <summary>
/// Where a person stands. The program counter alone does not say it: at the first instruction of an inlined function they stand before its call until they
/// step into it, which executes nothing.
/// </summary>
/// <param name="Cpu">Index of the CPU.</param>
/// <param name="ProgramCounter">Linear: with the CS base where it counts.</param>
/// <param name="SkippedInlines">So many of the inlined calls that begin here are not entered yet, innermost first.</param>
public sealed record StepPosition(int Cpu, ulong ProgramCounter, int SkippedInlines = 0);

/// <summary>How a step, or several, ended.</summary>
/// <param name="Stop">As for any other run: <see cref="StopCause.StepDone"/> when the step itself is why the machine stands.</param>
/// <param name="Position">Where a person stands now; null when there is no machine any more.</param>
public sealed record StepResult(SessionStop Stop, StepPosition? Position);

/// <summary>What code a CPU is at.</summary>
/// <param name="LinearPc">The address of the next instruction, with the CS base where it counts.</param>
/// <param name="Map">Names for it; null where there are none (user space, firmware).</param>
public readonly record struct StepPlace(ulong LinearPc, KernelMap? Map);
