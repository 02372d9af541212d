using KTrace.Symbols.Arch;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Values;

/// <summary>What the names in an expression mean at one stop. The debugger implements it over a live target, tests over tables.</summary>
public interface IExpressionScope
{
    Architecture Architecture { get; }

    /// <summary>Types, global variables (at run-time addresses), functions and enumerators.</summary>
    ITypeSource Types { get; }

    /// <summary>Synchronous; a miss (<see cref="MemoryReadResult.NotFetched"/>) ends the evaluation, and whoever asked fetches and evaluates again.</summary>
    IMemoryReader Memory { get; }

    /// <summary>The CPU that stopped.</summary>
    int Cpu { get; }

    /// <summary>An argument or local of the frame in question; null when there is none of that name.</summary>
    FrameVariable? FindLocal(string name);

    /// <summary>A register of the frame (<c>rdi</c>, <c>pc</c>, <c>sp</c>), or a word such as <c>ret</c>; without the dollar sign. Null when not known.</summary>
    TypedValue? FindRegister(string name);

    /// <summary>The task that runs on this CPU (struct task_struct *), or null.</summary>
    TypedValue? CurrentTask { get; }

    /// <summary>What is added to a per-cpu variable's template address for that CPU; null when there is no such CPU, or its memory was not fetched (then it counts as a miss).</summary>
    ulong? PerCpuOffset(int cpu);

    /// <summary>A function or variable at a run-time address: <c>e1000_intr_msix_rx</c>, <c>init_task+0x40</c>; null when nothing is there.</summary>
    string? NameOf(ulong address);
}
