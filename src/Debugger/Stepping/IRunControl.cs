using KTrace.Debugger.Sessions;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Stepping;

/// <summary>How a piece of a step ended.</summary>
public abstract record StepStop
{
    private StepStop()
    {
    }

    /// <summary>The one instruction was executed.</summary>
    public sealed record Stepped(int Cpu, RegisterSet Registers) : StepStop;

    /// <summary>One of the asked addresses was reached by the asked CPU or by any.</summary>
    public sealed record Reached(ulong Address, int Cpu, RegisterSet Registers) : StepStop;

    /// <summary>Something that a person must see came first (a breakpoint, the guest's end, an interrupt): the step is over.</summary>
    public sealed record Interrupted(SessionStop Stop) : StepStop;
}

/// <summary>
/// What a step is made of. Behind it stand breakpoints, conditions, tracepoints and modules: whatever of them comes up meanwhile is handled or ends the step, and the step need
/// not know of it.
/// </summary>
public interface IRunControl
{
    Machine Machine { get; }

    /// <summary>One instruction of one CPU; the others stand still. Interrupts and timers are masked where the stub can.</summary>
    ValueTask<StepStop> StepInstructionAsync(int cpu, CancellationToken cancellationToken);

    /// <summary>
    /// Lets all CPUs run until one stands at one of the addresses, and <paramref name="isReached"/> (asked with that CPU's registers) says that this is it: another
    /// task, or a deeper call of the same function, passes.
    /// </summary>
    ValueTask<StepStop> RunToAsync(IReadOnlyList<ulong> addresses, Func<int, RegisterSet, bool> isReached, CancellationToken cancellationToken);
}
