using System.Buffers.Binary;
using KTrace.Debugger.Cpus;
using KTrace.Debugger.Memory;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;

namespace KTrace.Debugger.Recording;

/// <summary>What was taken at one stop, before any naming. Everything that needs the guest to stand still is done.</summary>
/// <param name="Code">The bytes at the pc as they are in memory now; empty when they could not be read.</param>
public sealed record StopCapture(
    RegisterSet Registers, UnwindResult Stack, int Cpu, ulong? Jiffies, CpuTask? Task, ReadOnlyMemory<byte> Code)
{
    /// <summary>Interrupt levels, and what was disabled; null when the kernel's symbols or types do not tell.</summary>
    public TraceContext? Context { get; init; }
}

/// <summary>
/// Takes registers, stack, clock and current task of the CPU that stopped, in as few round trips as may be. What to read depends on the registers, which
/// would make two trips of every hit; but hot code stops again and again with the same pc, task and stack, so what the CPU's last hit needed is read along
/// with the registers. What that did not bring is fetched then: a guess may cost a few bytes, and never gives a wrong answer.
/// </summary>
internal sealed class HitCapture
{
    private const int FirstWindow = 1024;
    private const int WindowSlack = 256;
    private const int MaximumWindow = 16 << 10;
    private const int PageSize = 4096;
    private const int CodeBytes = 16;
    private const int JiffiesBytes = 8;

    // A stack has 16 KiB on x86-64; interrupt, softirq and exception stacks come on top. Each fetch brings up to 2 KiB.
    private const int MaximumFetches = 64;

    private readonly KernelMap _map;
    private readonly RegisterBridge _bridge;
    private readonly ulong? _jiffiesAddress;
    private readonly Dictionary<int, Expectation> _expected = [];
    private readonly Dictionary<ulong, int> _windows = [];
    private readonly ReadRegisters _readRegisters;
    private readonly List<(ulong Address, int Length)> _taskRanges = new(6);
    private RegisterSet _registers;
    private int _cpu;

    /// <param name="ram">The machine's RAM where it is mapped.</param>
    public HitCapture(RspClient client, KernelMap map, MappedRam? ram = null)
    {
        _map = map;
        Memory = new StopMemory(client, ram);
        _bridge = new RegisterBridge(client.Layout, map.Image.Architecture);
        _registers = new RegisterSet(map.Image.Architecture);
        Block = new RegisterBlock(client.Layout);
        _readRegisters = new ReadRegisters(Block);
        Tasks = TaskLocator.Find(map);
        _jiffiesAddress = map.Image.TryFindSymbol("jiffies_64", out var jiffies) ? map.ToRunTime(jiffies.Value) : null;
    }

    /// <summary>The registers as the stub sent them at the last capture.</summary>
    public RegisterBlock Block { get; }

    /// <summary>Where the current task is found; null when the kernel's symbols or types do not tell.</summary>
    public TaskLocator? Tasks { get; }

    /// <summary>Walks stacks, where the guest's code is not the kernel's alone; null: <see cref="StackUnwinder"/> does.</summary>
    internal Func<RegisterSet, IMemoryReader, UnwindResult>? Unwinder { get; set; }

    /// <summary>What was fetched at the last capture; more can be, until the guest is let go.</summary>
    public StopMemory Memory { get; }

    /// <summary>Everything of a stop at once.</summary>
    public async ValueTask<StopCapture> TakeAsync(StopReply.Stopped stop, CancellationToken cancellationToken)
    {
        await BeginAsync(stop, cancellationToken);
        return await CompleteAsync(cancellationToken);
    }

    /// <summary>
    /// Reads the registers, and with them what the CPU's last hit needed. Enough to ask a condition; <see cref="CompleteAsync"/> takes the rest.
    /// </summary>
    /// <returns>Registers, and the number of the CPU that stopped.</returns>
    public async ValueTask<(RegisterSet Registers, int Cpu)> BeginAsync(StopReply.Stopped stop, CancellationToken cancellationToken)
    {
        _cpu = CpuOf(stop);
        var expected = System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(_expected, _cpu, out _) ??= new Expectation();
        await ReadRegistersAsync(expected, cancellationToken);
        _registers = _bridge.ToRegisterSet(Block);
        Memory.Enter(Block);
        return (_registers, _cpu);
    }

    /// <summary>Takes stack, task and code of the stop that <see cref="BeginAsync"/> began.</summary>
    public async ValueTask<StopCapture> CompleteAsync(CancellationToken cancellationToken)
    {
        var (registers, expected) = (_registers, _expected[_cpu]);
        var pc = registers.ProgramCounter;
        var window = _windows.GetValueOrDefault(pc, FirstWindow);
        var perCpu = Tasks?.PerCpuBase(registers);

        var missing = Memory.Want(registers.StackPointer, window);
        missing |= Memory.Want(pc, CodeLengthAt(pc));
        _taskRanges.Clear();
        if (perCpu is { } start)
        {
            Tasks!.AddPerCpu(start, _taskRanges);
        }

        missing |= Want(_taskRanges);
        expected.WasRight(!missing);
        await Memory.FetchAsync(cancellationToken);
        var task = await ReadTaskAsync(perCpu, cancellationToken);
        var stack = await UnwindAsync(registers, cancellationToken);
        expected.Set(registers.StackPointer, window, pc, CodeLengthAt(pc), _taskRanges);
        return new StopCapture(registers, stack, _cpu, ReadJiffies(), task, ReadCode(pc)) { Context = ReadContext(perCpu, registers) };
    }

    /// <summary>The bytes at the pc, for a stop that needs nothing else.</summary>
    public async ValueTask<ReadOnlyMemory<byte>> CodeAsync(CancellationToken cancellationToken)
    {
        var pc = _registers.ProgramCounter;
        Memory.Want(pc, CodeLengthAt(pc));
        await Memory.FetchAsync(cancellationToken);
        return ReadCode(pc);
    }

    /// <summary>What the values of this stop needed beside the stack: the next stop of this CPU most likely needs it too.</summary>
    public void Expect(IEnumerable<(ulong Address, int Length)> ranges) => _expected[_cpu].Add(ranges);

    /// <summary>QEMU numbers CPUs from 1 as threads of process 1; stop replies of one CPU may name none.</summary>
    private static int CpuOf(StopReply.Stopped stop) => stop.Thread is { Thread: > 0 and < int.MaxValue } thread ? (int)thread.Thread - 1 : 0;

    private static int CodeLengthAt(ulong pc) => (int)Math.Min((ulong)CodeBytes, PageSize - (pc % PageSize));

    private async ValueTask ReadRegistersAsync(Expectation expected, CancellationToken cancellationToken)
    {
        Memory.Clear();
        var answered = Memory.Add(_readRegisters);
        if (_jiffiesAddress is { } jiffies)
        {
            Memory.Want(jiffies, JiffiesBytes);
        }

        if (expected.IsWorthwhile)
        {
            foreach (var (address, length) in expected.Ranges)
            {
                Memory.Want(address, length);
            }
        }

        await Memory.FetchAsync(cancellationToken);
        if (!Memory.IsOk(answered))
        {
            throw new TargetException("the stub refused to send registers", null);
        }
    }

    /// <summary>jiffies_64 at the stop, or null.</summary>
    public ulong? ReadJiffies()
    {
        Span<byte> bytes = stackalloc byte[JiffiesBytes];
        return _jiffiesAddress is { } address && Memory.Read(address, bytes) == MemoryReadResult.Ok ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : null;
    }

    private ReadOnlyMemory<byte> ReadCode(ulong pc)
    {
        var code = new byte[CodeLengthAt(pc)];
        return Memory.Read(pc, code) == MemoryReadResult.Ok ? code : default(ReadOnlyMemory<byte>);
    }

    private bool Want(List<(ulong Address, int Length)> ranges)
    {
        var missing = false;
        foreach (var (address, length) in ranges)
        {
            missing |= Memory.Want(address, length);
        }

        return missing;
    }

    private async ValueTask<CpuTask?> ReadTaskAsync(ulong? perCpu, CancellationToken cancellationToken)
    {
        if (perCpu is not { } start || Tasks!.TaskAt(start, Memory) is not { } task)
        {
            return null;
        }

        Tasks.AddMembers(task, _taskRanges);
        if (Want(_taskRanges))
        {
            await Memory.FetchAsync(cancellationToken);
        }

        return Tasks.Read(task, Memory);
    }

    private TraceContext? ReadContext(ulong? perCpu, RegisterSet registers) =>
        perCpu is { } start && Tasks!.PreemptAt(start, Memory) is { } preempt ? new TraceContext(preempt, CpuState.AreInterruptsOff(registers)) : null;

    /// <summary>
    /// Another stack of the guest as it stands at the last stop: that of a task that waits for a processor (<see cref="SleepingTask"/>).
    /// </summary>
    /// <param name="stackPointer">task_struct.thread.sp.</param>
    /// <returns>Null when its saved registers cannot be read.</returns>
    internal async ValueTask<UnwindResult?> UnwindSleepingAsync(ulong stackPointer, CancellationToken cancellationToken)
    {
        Memory.Want(stackPointer, FirstWindow);
        await Memory.FetchAsync(cancellationToken);
        return SleepingTask.Registers(_map.Image.Architecture, stackPointer, Memory, out _) is { } registers
            ? await UnwindAsync(registers, cancellationToken)
            : null;
    }

    private async ValueTask<UnwindResult> UnwindAsync(RegisterSet registers, CancellationToken cancellationToken)
    {
        for (var fetch = 0; ; fetch++)
        {
            var result = Unwinder is null ? StackUnwinder.Unwind(registers, Memory, _map.Unwind) : Unwinder(registers, Memory);
            if (result.Stop is not UnwindStop.MemoryMissing missing || fetch == MaximumFetches)
            {
                Remember(registers, result);
                return result;
            }

            // Fetch on from the miss, a window at a time; what lies just behind is often wanted next.
            Memory.Want(missing.Address, Math.Max(missing.Length, FirstWindow));
            await Memory.FetchAsync(cancellationToken);
        }
    }

    /// <summary>The next hit at this place will most likely need as much stack as this one.</summary>
    private void Remember(RegisterSet registers, UnwindResult result)
    {
        if (result.Frames.IsEmpty)
        {
            return;
        }

        var used = result.Frames[^1].Registers.StackPointer - registers.StackPointer;
        if (used < MaximumWindow)
        {
            var window = Math.Clamp((int)used + WindowSlack, FirstWindow, MaximumWindow);
            ref var known = ref System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(_windows, registers.ProgramCounter, out _);
            known = Math.Max(known, window);
        }
    }

    /// <summary>What a CPU's last hit read, and whether guessing that the next one reads the same has paid lately.</summary>
    private sealed class Expectation
    {
        private const int MaximumTrust = 4;

        // As many as one batch takes along with the registers and the clock.
        private const int MaximumRanges = 28;

        private int _trust = MaximumTrust;

        public List<(ulong Address, int Length)> Ranges { get; } = new(4);

        /// <summary>With no trust left the guess is made now and then all the same, to see whether it would pay again.</summary>
        public bool IsWorthwhile => _trust > 0;

        public void WasRight(bool right) => _trust = right ? MaximumTrust : _trust > -MaximumTrust ? _trust - 1 : 1;

        public void Add(IEnumerable<(ulong Address, int Length)> ranges)
        {
            foreach (var range in ranges)
            {
                if (Ranges.Count == MaximumRanges)
                {
                    return;
                }

                Ranges.Add(range);
            }
        }

        public void Set(ulong stack, int window, ulong pc, int code, IEnumerable<(ulong Address, int Length)> task)
        {
            Ranges.Clear();
            Ranges.Add((stack, window));
            Ranges.Add((pc, code));
            Ranges.AddRange(task);
        }
    }
}
