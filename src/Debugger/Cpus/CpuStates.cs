// All CPUs at one stop. Registers come in one batch, then per-cpu data of all CPUs, then their tasks: three trips whatever the number of CPUs.
// A CPU's number is the stub's: QEMU creates CPUs in the order in which firmware lists them, so it is the kernel's too (unless possible CPUs were left out by hand).
using KTrace.Debugger.Memory;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Cpus;

/// <summary>Who runs on every CPU of a machine that stands still.</summary>
public sealed class CpuStates
{
    // NR_CPUS of any distribution.
    private const int MaximumCpus = 8192;

    private readonly Machine _machine;
    private readonly KernelMap? _map;
    private readonly StopMemory _memory;
    private readonly TaskLocator? _tasks;
    private readonly CpuStacks? _stacks;
    private readonly ulong? _perCpuOffsets;

    private CpuStates(Machine machine, KernelMap? map)
    {
        (_machine, _map) = (machine, map);
        _memory = new StopMemory(machine.Client, machine.Memory.Ram);
        _tasks = map is null ? null : TaskLocator.Find(map);
        _stacks = _tasks is null ? null : new CpuStacks(map!, _tasks);
        _perCpuOffsets = map is not null && map.Image.TryFindSymbol("__per_cpu_offset", out var symbol) ? map.ToRunTime(symbol.Value) : null;
    }

    /// <summary>Reads all CPUs, in the stub's order.</summary>
    /// <param name="map">Null before the kernel is known: then modes and registers alone.</param>
    /// <exception cref="RspException">The stub is broken, or the machine runs.</exception>
    public static async ValueTask<IReadOnlyList<CpuState>> ReadAsync(Machine machine, KernelMap? map, CancellationToken cancellationToken = default)
    {
        var threads = await machine.ThreadsAsync(cancellationToken);
        await machine.ReadAllRegistersAsync(cancellationToken);
        var cpus = new List<CpuState>(threads.Count);
        for (var i = 0; i < Math.Min(threads.Count, MaximumCpus); i++)
        {
            var registers = await machine.RegistersAsync(i, cancellationToken);
            var words = await WordsAsync(machine.Client, threads[i], cancellationToken);
            cpus.Add(new CpuState(i, threads[i], words, registers, LinearPc(registers), ModeOf(registers, map)));
        }

        if (map is null)
        {
            return cpus;
        }

        var states = new CpuStates(machine, map);
        return await KernelView.ReadAsync(machine, map, states._memory, stop => states.CompleteAsync(cpus, stop), cancellationToken);
    }

    private async ValueTask<IReadOnlyList<CpuState>> CompleteAsync(List<CpuState> cpus, CancellationToken cancellationToken)
    {
        var starts = await PerCpuStartsAsync(cpus, cancellationToken);
        var ranges = new List<(ulong, int)>();
        foreach (var start in starts.OfType<ulong>())
        {
            _tasks!.AddPerCpu(start, ranges);
            _stacks!.AddPerCpu(start, ranges);
        }

        await FetchAsync(ranges, cancellationToken);
        ranges.Clear();
        foreach (var start in starts.OfType<ulong>())
        {
            if (_tasks!.TaskAt(start, _memory) is { } task)
            {
                _tasks.AddMembers(task, ranges);
            }
        }

        await FetchAsync(ranges, cancellationToken);
        return [.. cpus.Select(c => Complete(c, starts[c.Index]))];
    }

    private CpuState Complete(CpuState cpu, ulong? start)
    {
        var task = start is { } at && _tasks!.TaskAt(at, _memory) is { } address ? _tasks.Read(address, _memory) : null;
        return cpu with
        {
            Task = task,
            Preempt = start is { } perCpu ? _tasks!.PreemptAt(perCpu, _memory) : null,
            Location = cpu.Mode == CpuMode.Kernel ? [.. _map!.Symbolize(cpu.LinearPc)] : [],
            Stack = cpu.Mode == CpuMode.User ? new CpuStack(CpuStackKind.User)
                : cpu.Mode == CpuMode.Kernel && _stacks is not null ? _stacks.Find(cpu.Registers.StackPointer, task, start, _memory) : default,
        };
    }

    /// <summary>Where each CPU's per-cpu data is: its registers tell, or (user space on i386) the kernel's table does. Null for a CPU that has not come up.</summary>
    private async ValueTask<ulong?[]> PerCpuStartsAsync(List<CpuState> cpus, CancellationToken cancellationToken)
    {
        var starts = new ulong?[cpus.Count];
        if (_tasks is null)
        {
            return starts;
        }

        var word = _machine.Architecture.WordSize;
        if (_perCpuOffsets is { } table)
        {
            await FetchAsync([.. cpus.Where(c => NeedsTable(c)).Select(c => (table + (ulong)(c.Index * word), word))], cancellationToken);
        }

        foreach (var cpu in cpus.Where(c => c.Mode is CpuMode.Kernel or CpuMode.User))
        {
            starts[cpu.Index] = _tasks.PerCpuBase(cpu.Registers);
            if (NeedsTable(cpu) && _perCpuOffsets is { } offsets)
            {
                starts[cpu.Index] = _tasks.PointerAt(0, offsets + (ulong)(cpu.Index * word), _memory);
            }
        }

        return starts;

        bool NeedsTable(CpuState cpu) => cpu.Mode is CpuMode.Kernel or CpuMode.User && _tasks.PerCpuBase(cpu.Registers) is null;
    }

    private async ValueTask FetchAsync(List<(ulong Address, int Length)> ranges, CancellationToken cancellationToken)
    {
        // A batch has room for so many; what did not fit goes into the next.
        for (var wanted = true; wanted;)
        {
            wanted = false;
            foreach (var (address, length) in ranges)
            {
                wanted |= _memory.Want(address, length);
            }

            await _memory.FetchAsync(cancellationToken);
        }
    }

    private static async ValueTask<string> WordsAsync(RspClient client, ThreadId thread, CancellationToken cancellationToken)
    {
        try
        {
            return await client.ReadThreadExtraAsync(thread, cancellationToken);
        }
        catch (RspException e) when (e.Kind is RspErrorKind.Unsupported or RspErrorKind.ErrorReply)
        {
            return "";
        }
    }

    /// <summary>QEMU's pc is the instruction pointer alone; in real mode the code segment's base is 16 times its selector, after a reset the last 64 KiB below 4 GiB.</summary>
    private static ulong LinearPc(RegisterSet registers)
    {
        if (!IsRealMode(registers))
        {
            return registers.ProgramCounter;
        }

        var selector = registers[registers.Architecture.CodeSegment];
        return selector == 0xf000 && registers.ProgramCounter == 0xfff0 ? 0xffff_fff0 : (selector << 4) + registers.ProgramCounter;
    }

    internal static CpuMode ModeOf(RegisterSet registers, KernelMap? map)
    {
        var architecture = registers.Architecture;
        if (!registers.IsKnown(architecture.CodeSegment))
        {
            return CpuMode.Unknown;
        }

        if (IsRealMode(registers))
        {
            return CpuMode.Firmware;
        }

        const ulong virtual8086 = 1 << 17;
        if ((registers[architecture.CodeSegment] & 3) == 3 || (registers[architecture.Flags] & virtual8086) != 0)
        {
            return CpuMode.User;
        }

        var isKernel = architecture is I386 ? map is not null && registers.ProgramCounter >= map.ToRunTime(map.Image.KernelMapBase) : (long)registers.ProgramCounter < 0;
        return isKernel ? CpuMode.Kernel : CpuMode.Firmware;
    }

    private static bool IsRealMode(RegisterSet registers)
    {
        var cr0 = registers.Architecture.IndexOf("cr0");
        return registers.IsKnown(cr0) && (registers[cr0] & 1) == 0;
    }
}
