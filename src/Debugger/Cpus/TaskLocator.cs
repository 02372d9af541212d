// Who runs: every CPU has a per-cpu pointer to its current task. x86-64 reaches per-cpu data through gs_base, i386 through fs_base.
// The pointer is the per-cpu variable current_task (to 6.1 and again since 6.15), or a member of pcpu_hot (6.2 to 6.14); __preempt_count lies beside it.
// Up to 6.14 x86-64 links per-cpu variables at zero-based offsets; where __per_cpu_start is not 0 they are linked like other data and slide with KASLR.
using System.Buffers.Binary;
using System.Text;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;

namespace KTrace.Debugger.Cpus;

/// <summary>Where the current task's pointer and its members are, and what they say. Synchronous, over what was fetched.</summary>
internal sealed class TaskLocator
{
    // Bytes between two members that are read along: a request costs the stub more. pid and comm are some 600 bytes apart in kernels of 4.14 to 6.12.
    private const int NearMembers = 640;
    private const int MaximumRange = 1800;

    // The same for per-cpu variables.
    private const int NearEnough = 256;

    // include/linux/sched.h: PF_KTHREAD, the same in all kernels of this century.
    private const uint KernelThreadFlag = 0x0020_0000;

    private readonly Architecture _architecture;
    private readonly bool _zeroBased;
    private readonly MemberLocation _pid, _comm;
    private readonly MemberLocation? _tgid, _flags, _mm, _state, _exitState, _stack;
    private readonly ulong _pointer;
    private readonly ulong? _preempt;

    // Within task_struct.
    private readonly List<(int Start, int Length)> _members = [];

    private TaskLocator(KernelMap map, ulong pointer, MemberLocation pid, MemberLocation comm)
    {
        var image = map.Image;
        _architecture = image.Architecture;
        _zeroBased = IsZeroBased(image);
        _pointer = ToRunTime(map, pointer);
        _preempt = PerCpuAddress(image, "__preempt_count", "preempt_count") is { } preempt ? ToRunTime(map, preempt) : null;
        (_pid, _comm) = (pid, comm);
        _tgid = Member(image, "tgid", 4);
        _flags = Member(image, "flags", 4);
        _mm = Member(image, "mm", _architecture.WordSize);
        _state = Member(image, "__state", 4) ?? Member(image, "state", _architecture.WordSize);
        _exitState = Member(image, "exit_state", 4);
        _stack = Member(image, "stack", _architecture.WordSize);
        foreach (var member in new[] { pid, comm, _tgid, _flags, _mm, _state, _exitState, _stack }.OfType<MemberLocation>().OrderBy(m => m.ByteOffset))
        {
            AddMember(member.ByteOffset, member.Size);
        }
    }

    /// <summary>Null when the kernel's symbols or types do not tell.</summary>
    public static TaskLocator? Find(KernelMap map)
    {
        var image = map.Image;
        return image.Layouts.TryFindMember("task_struct", "pid", out var pid) && pid.Size == 4
            && image.Layouts.TryFindMember("task_struct", "comm", out var comm) && comm.Size is > 0 and < NearEnough
            && PerCpuAddress(image, "current_task", "current_task") is { } pointer
            ? new TaskLocator(map, pointer, pid, comm)
            : null;
    }

    /// <summary>Address of this CPU's current-task pointer, or null when no register tells where its per-cpu data is.</summary>
    public ulong? PointerAddress(RegisterSet registers) => PerCpuBase(registers) is { } start ? At(start, _pointer) : null;

    /// <summary>What is added to the address of a per-cpu variable's template for this CPU's copy; null when no register tells.</summary>
    public ulong? PerCpuBase(RegisterSet registers)
    {
        var inUser = registers.IsKnown(_architecture.CodeSegment) && (registers[_architecture.CodeSegment] & 3) == 3;
        if (_architecture is I386)
        {
            // User space has its own fs.
            return registers.IsKnown(I386.FsBase) && !inUser ? registers[I386.FsBase] : null;
        }

        // In user space, and between an entry from it and its swapgs, the kernel's base is in the shadow register; user space may write anything into its own.
        foreach (var register in inUser ? (ReadOnlySpan<int>)[X86_64.KernelGsBase] : [X86_64.GsBase, X86_64.KernelGsBase])
        {
            if (registers.IsKnown(register) && (long)registers[register] < 0)
            {
                return registers[register];
            }
        }

        // Before the kernel set gs, zero-based per-cpu data is at its load address, and gs_base is 0 or the firmware's.
        return !_zeroBased && !inUser && registers.IsKnown(X86_64.GsBase) && registers[X86_64.GsBase] == 0 && (long)registers.ProgramCounter < 0 ? 0 : null;
    }

    /// <summary>The address of a per-cpu variable's copy.</summary>
    /// <param name="start">The CPU's <see cref="PerCpuBase"/>.</param>
    /// <param name="template">The variable's run-time address, or its offset in kernels that link per-cpu data from 0 on.</param>
    public ulong At(ulong start, ulong template) => _architecture.WordSize == 4 ? (uint)(start + template) : start + template;

    /// <summary>What has to be fetched of a CPU's per-cpu data.</summary>
    public void AddPerCpu(ulong start, ICollection<(ulong Address, int Length)> ranges)
    {
        var pointer = At(start, _pointer);
        if (_preempt is not { } template)
        {
            ranges.Add((pointer, _architecture.WordSize));
            return;
        }

        var preempt = At(start, template);
        var (low, high) = (Math.Min(pointer, preempt), Math.Max(pointer + (ulong)_architecture.WordSize, preempt + 4));
        if (high - low <= NearEnough)
        {
            ranges.Add((low, (int)(high - low)));
        }
        else
        {
            ranges.Add((pointer, _architecture.WordSize));
            ranges.Add((preempt, 4));
        }
    }

    /// <summary>The address of the CPU's current task; null when it was not fetched, or is no pointer.</summary>
    public ulong? TaskAt(ulong start, IMemoryReader memory) => PointerAt(start, _pointer, memory);

    /// <summary>A pointer in a CPU's per-cpu data; null when it was not fetched, or is NULL.</summary>
    public ulong? PointerAt(ulong start, ulong template, IMemoryReader memory)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        return memory.Read(At(start, template), bytes[.._architecture.WordSize]) == MemoryReadResult.Ok
            && BinaryPrimitives.ReadUInt64LittleEndian(bytes) is not 0 and var value ? value : null;
    }

    public PreemptCount? PreemptAt(ulong start, IMemoryReader memory)
    {
        Span<byte> bytes = stackalloc byte[4];
        return _preempt is { } template && memory.Read(At(start, template), bytes) == MemoryReadResult.Ok
            ? new PreemptCount(BinaryPrimitives.ReadUInt32LittleEndian(bytes))
            : null;
    }

    /// <summary>What has to be fetched of a task.</summary>
    public void AddMembers(ulong task, ICollection<(ulong Address, int Length)> ranges)
    {
        foreach (var (start, length) in _members)
        {
            ranges.Add((task + (ulong)start, length));
        }
    }

    /// <summary>Null when pid or comm were not fetched.</summary>
    public CpuTask? Read(ulong task, IMemoryReader memory)
    {
        Span<byte> comm = stackalloc byte[NearEnough];
        comm = comm[.._comm.Size];
        if (Number(task, _pid, memory) is not { } pid || memory.Read(task + (ulong)_comm.ByteOffset, comm) != MemoryReadResult.Ok)
        {
            return null;
        }

        var end = comm.IndexOf((byte)0);
        var flags = Number(task, _flags, memory);
        return new CpuTask(task, (int)pid, Encoding.UTF8.GetString(end < 0 ? comm : comm[..end]))
        {
            ThreadGroup = (int?)(uint?)Number(task, _tgid, memory),
            IsKernelThread = flags is not null ? (flags & KernelThreadFlag) != 0 || pid == 0 : Number(task, _mm, memory) is { } mm ? mm == 0 : null,
            State = Number(task, _state, memory) is { } state ? new TaskState((uint)(state | Number(task, _exitState, memory).GetValueOrDefault())) : null,
            Stack = Number(task, _stack, memory),
        };
    }

    /// <summary>Where a per-cpu variable, or a member of pcpu_hot that took its place, is linked; null when the kernel has neither.</summary>
    internal static ulong? PerCpuAddress(KernelImage image, string variable, string hotMember)
    {
        if (image.TryFindSymbol(variable, out var symbol))
        {
            return symbol.Value;
        }

        return image.TryFindSymbol("pcpu_hot", out symbol) && image.Layouts.TryFindMember("pcpu_hot", hotMember, out var member)
            ? symbol.Value + (ulong)member.ByteOffset
            : null;
    }

    /// <summary>What <see cref="At"/> takes for a per-cpu variable that is linked at an address.</summary>
    internal static ulong ToRunTime(KernelMap map, ulong template) => IsZeroBased(map.Image) ? template : map.ToRunTime(template);

    private static bool IsZeroBased(KernelImage image) => image.TryFindSymbol("__per_cpu_start", out var start) && start.Value == 0;

    private static MemberLocation? Member(KernelImage image, string name, int size) =>
        image.Layouts.TryFindMember("task_struct", name, out var member) && member.Size == size && !member.IsBitField ? member : null;

    private static ulong? Number(ulong task, MemberLocation? member, IMemoryReader memory)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        return member is { } at && memory.Read(task + (ulong)at.ByteOffset, bytes[..at.Size]) == MemoryReadResult.Ok
            ? BinaryPrimitives.ReadUInt64LittleEndian(bytes)
            : null;
    }

    /// <summary>Members come in ascending order; near ones become one range.</summary>
    private void AddMember(int start, int size)
    {
        if (_members.Count > 0 && _members[^1] is var last && start - (last.Start + last.Length) <= NearMembers && start + size - last.Start <= MaximumRange)
        {
            _members[^1] = (last.Start, Math.Max(last.Length, start + size - last.Start));
        }
        else
        {
            _members.Add((start, size));
        }
    }
}
