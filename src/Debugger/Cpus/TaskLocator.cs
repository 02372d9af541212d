// Who runs: every CPU has a per-cpu pointer to its current task. x86-64 reaches per-cpu data through gs_base, i386 through fs_base.
// The pointer is the per-cpu variable current_task (to 6.1 and again since 6.15), or the first member of pcpu_hot (6.2 to 6.14).
// Up to 6.14 x86-64 links per-cpu variables at zero-based offsets; where __per_cpu_start is not 0 they are linked like other data and slide with KASLR.
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Cpus;

/// <summary>Where the current task's pointer and its members are.</summary>
internal sealed class TaskLocator
{
    // Half a packet of QEMU's. The members are some 600 bytes apart in kernels of 4.14 to 6.12.
    private const int MaximumDistance = 2000;

    private readonly Architecture _architecture;
    private readonly ulong _perCpuOffset;

    private TaskLocator(Architecture architecture, ulong perCpuOffset, int pid, int comm, int commLength)
    {
        _architecture = architecture;
        _perCpuOffset = perCpuOffset;
        Pid = pid;
        Comm = comm;
        CommLength = commLength;
    }

    /// <summary>Offset of task_struct.pid (an int) in bytes.</summary>
    public int Pid { get; }

    /// <summary>Offset of task_struct.comm.</summary>
    public int Comm { get; }

    /// <summary>TASK_COMM_LEN.</summary>
    public int CommLength { get; }

    /// <summary>
    /// Both members lie between here … (offset in task_struct). They are read as one: a request costs the stub more than the few hundred bytes between them.
    /// </summary>
    public int MembersStart => Math.Min(Pid, Comm);

    /// <summary>… and so many bytes further.</summary>
    public int MembersLength => Math.Max(Pid + 4, Comm + CommLength) - MembersStart;

    /// <summary>Null when the kernel's symbols or types do not tell.</summary>
    public static TaskLocator? Find(KernelMap map)
    {
        var image = map.Image;
        if (!image.Layouts.TryFindMember("task_struct", "pid", out var pid) || !image.Layouts.TryFindMember("task_struct", "comm", out var comm))
        {
            return null;
        }

        if (Math.Max(pid.ByteOffset, comm.ByteOffset) - Math.Min(pid.ByteOffset, comm.ByteOffset) > MaximumDistance)
        {
            return null;
        }

        ulong offset;
        if (image.TryFindSymbol("current_task", out var symbol))
        {
            offset = symbol.Value;
        }
        else if (image.TryFindSymbol("pcpu_hot", out symbol) && image.Layouts.TryFindMember("pcpu_hot", "current_task", out var member))
        {
            offset = symbol.Value + (ulong)member.ByteOffset;
        }
        else
        {
            return null;
        }

        var zeroBased = image.TryFindSymbol("__per_cpu_start", out var start) && start.Value == 0;
        return new TaskLocator(image.Architecture, zeroBased ? offset : map.ToRunTime(offset), pid.ByteOffset, comm.ByteOffset, comm.Size);
    }

    /// <summary>Address of this CPU's current-task pointer, or null when no register tells where its per-cpu data is.</summary>
    public ulong? PointerAddress(RegisterSet registers) => PerCpuBase(registers) is { } start
        ? _architecture.WordSize == 4 ? (uint)(start + _perCpuOffset) : start + _perCpuOffset
        : null;

    /// <summary>What is added to the address of a per-cpu variable's template for this CPU's copy; null when no register tells.</summary>
    public static ulong? PerCpuBase(RegisterSet registers)
    {
        if (registers.Architecture is I386)
        {
            return registers.IsKnown(I386.FsBase) ? registers[I386.FsBase] : null;
        }

        // Between an entry from user space and its swapgs, the kernel's base is still in the shadow register.
        foreach (var register in (int[])[X86_64.GsBase, X86_64.KernelGsBase])
        {
            if (registers.IsKnown(register) && (long)registers[register] < 0)
            {
                return registers[register];
            }
        }

        // Before the kernel set gs, per-cpu data is at its link address and gs_base is 0 or the firmware's.
        return null;
    }
}
