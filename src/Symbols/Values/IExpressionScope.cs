namespace KTrace.Symbols.Values;

/// <summary>What the names in an expression mean at one stop. The debugger implements it over a live target, tests over tables.</summary>
public interface IExpressionScope : IValueScope
{
    /// <summary>The CPU that stopped.</summary>
    int Cpu { get; }

    /// <summary>An argument or local of the frame in question; null when there is none of that name.</summary>
    FrameVariable? FindLocal(string name);

    /// <summary>A register of the frame (<c>rdi</c>, <c>pc</c>, <c>sp</c>), or a word such as <c>ret</c>; without the dollar sign. Null when not known.</summary>
    TypedValue? FindRegister(string name);

    /// <summary>
    /// The task that runs on this CPU (struct task_struct *), or null. It may be an lvalue (an address without bytes): then the pointer is read when it is needed.
    /// </summary>
    TypedValue? CurrentTask { get; }

    /// <summary>
    /// What is added to a per-cpu variable's template address for that CPU; null when there is no such CPU, or when that is not known without reading memory
    /// (then <c>__per_cpu_offset[cpu]</c> is read, and counts as a miss where it was not fetched).
    /// </summary>
    ulong? PerCpuOffset(int cpu);

    /// <summary>Names of locals, variables and functions near a name that does not exist, best first.</summary>
    IReadOnlyList<string> SuggestNames(string name, int limit) => [];
}
