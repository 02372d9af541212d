namespace KTrace.Debugger.Cpus;

/// <summary>The task that a CPU runs, as its task_struct describes it. Text of the guest: sanitise it before a terminal sees it.</summary>
/// <param name="Address">Of the task_struct, at run time.</param>
/// <param name="Pid">In the initial pid namespace; 0 is the idle task of any CPU.</param>
/// <param name="Comm">At most 15 bytes, of any kind.</param>
public sealed record CpuTask(ulong Address, int Pid, string Comm)
{
    /// <summary>The thread group: what user space calls the pid of the process. Null when the types do not tell.</summary>
    public int? ThreadGroup { get; init; }

    /// <summary>PF_KTHREAD, or no mm where the flags are not known; null when neither is.</summary>
    public bool? IsKernelThread { get; init; }

    public TaskState? State { get; init; }

    /// <summary>Lowest address of its kernel stack; null when it is not known.</summary>
    public ulong? Stack { get; init; }

    /// <summary>A CPU's idle task: its pid is 0.</summary>
    public bool IsIdle => Pid == 0;
}
