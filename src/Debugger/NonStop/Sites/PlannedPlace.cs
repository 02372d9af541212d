using KTrace.Debugger.NonStop.Relocation;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Debugger.Tracepoints;

namespace KTrace.Debugger.NonStop.Sites;

/// <summary>What a trampoline is to do: places with equal needs share a program.</summary>
/// <param name="StackBytes">Of <see cref="TrampolineProgram.StackBytes"/>.</param>
/// <param name="Request">Whose hits are counted together for sampling and "first N"; null when nothing is counted.</param>
public sealed record ProgramNeeds(int StackBytes, long Sample, long? First, bool Returns, CompiledCondition? Condition, TracepointRequest? Request)
{
    public TrampolineProgram ToProgram(int index) => new(index, StackBytes) { Sample = Sample, First = First, Returns = Returns, Condition = Condition };
}

/// <summary>How one place is traced, and what that takes.</summary>
/// <param name="Needs">Of the program; null for a place that stops the machine.</param>
/// <param name="Nop">The tracer's no-op that is to be replaced; null where the machine stops, or the entry's first instructions are moved.</param>
public sealed record PlannedPlace(PlannedWay Planned, ProgramNeeds? Needs, TracerNop? Nop)
{
    /// <summary>How the first instructions are moved, where there is no no-op.</summary>
    public RelocationPlan? Relocation { get; init; }

    /// <summary>It lies in text that is freed after boot, or after its module's init.</summary>
    public bool IsInit { get; init; }

    public CaptureWay Way => Planned.Way;

    public string Reason => Planned.Reason;
}
