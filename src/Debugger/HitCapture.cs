using System.Buffers.Binary;
using System.Text;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger;

/// <summary>What was taken at one stop, before any naming. Everything that needs the guest to stand still is done.</summary>
/// <param name="Code">The bytes at the pc as they are in memory now; empty when they could not be read.</param>
public sealed record StopCapture(
    RegisterSet Registers, UnwindResult Stack, int Cpu, ulong? Jiffies, (int Pid, string Comm)? Task, ReadOnlyMemory<byte> Code);

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
    private const int MaximumBatch = 32;

    private readonly RspClient _client;
    private readonly KernelMap _map;
    private readonly RegisterBridge _bridge;
    private readonly TaskLocator? _tasks;
    private readonly ulong? _jiffiesAddress;
    private readonly FetchedMemory _memory = new();
    private readonly RspOutcome[] _outcomes = new RspOutcome[MaximumBatch];
    private readonly List<RspCommand> _batch = new(MaximumBatch);
    private readonly Dictionary<int, Expectation> _expected = [];
    private readonly Dictionary<ulong, int> _windows = [];
    private readonly ReadRegisters _readRegisters;

    public HitCapture(RspClient client, KernelMap map)
    {
        _client = client;
        _map = map;
        _bridge = new RegisterBridge(client.Layout, map.Image.Architecture);
        Block = new RegisterBlock(client.Layout);
        _readRegisters = new ReadRegisters(Block);
        _tasks = TaskLocator.Find(map);
        _jiffiesAddress = map.Image.TryFindSymbol("jiffies_64", out var jiffies) ? map.ToRunTime(jiffies.Value) : null;
    }

    /// <summary>The registers as the stub sent them at the last capture.</summary>
    public RegisterBlock Block { get; }

    public async ValueTask<StopCapture> TakeAsync(StopReply.Stopped stop, CancellationToken cancellationToken)
    {
        var cpu = CpuOf(stop);
        var expected = System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(_expected, cpu, out _) ??= new Expectation();
        await ReadRegistersAsync(expected, cancellationToken);
        var registers = _bridge.ToRegisterSet(Block);
        var pc = registers.ProgramCounter;
        var window = _windows.GetValueOrDefault(pc, FirstWindow);
        var pointer = _tasks?.PointerAddress(registers);

        var missing = Want(registers.StackPointer, window);
        missing |= Want(pc, CodeLengthAt(pc));
        missing |= pointer is { } at && Want(at, _map.Image.Architecture.WordSize);
        expected.WasRight(!missing);
        await FetchAsync(cancellationToken);
        var task = await ReadTaskAsync(pointer, cancellationToken);
        var stack = await UnwindAsync(registers, cancellationToken);
        expected.Set(registers.StackPointer, window, pc, CodeLengthAt(pc), pointer, task?.Members);
        return new StopCapture(registers, stack, cpu, ReadJiffies(), task is { } known ? (known.Pid, known.Comm) : null, ReadCode(pc));
    }

    /// <summary>QEMU numbers CPUs from 1 as threads of process 1; stop replies of one CPU may name none.</summary>
    private static int CpuOf(StopReply.Stopped stop) => stop.Thread is { Thread: > 0 and < int.MaxValue } thread ? (int)thread.Thread - 1 : 0;

    private static int CodeLengthAt(ulong pc) => (int)Math.Min((ulong)CodeBytes, PageSize - (pc % PageSize));

    private async ValueTask ReadRegistersAsync(Expectation expected, CancellationToken cancellationToken)
    {
        _memory.Clear();
        _batch.Clear();
        _batch.Add(_readRegisters);
        if (_jiffiesAddress is { } jiffies)
        {
            Want(jiffies, JiffiesBytes);
        }

        if (expected.IsWorthwhile)
        {
            foreach (var (address, length) in expected.Ranges)
            {
                Want(address, length);
            }
        }

        await FetchAsync(cancellationToken);
        if (!_outcomes[0].IsOk)
        {
            throw new TargetException("the stub refused to send registers", null);
        }
    }

    private ulong? ReadJiffies()
    {
        Span<byte> bytes = stackalloc byte[JiffiesBytes];
        return _jiffiesAddress is { } address && _memory.Read(address, bytes) == MemoryReadResult.Ok ? BinaryPrimitives.ReadUInt64LittleEndian(bytes) : null;
    }

    private ReadOnlyMemory<byte> ReadCode(ulong pc)
    {
        var code = new byte[CodeLengthAt(pc)];
        return _memory.Read(pc, code) == MemoryReadResult.Ok ? code : default(ReadOnlyMemory<byte>);
    }

    private async ValueTask<(int Pid, string Comm, (ulong Address, int Length) Members)?> ReadTaskAsync(ulong? pointerAddress, CancellationToken cancellationToken)
    {
        var pointer = new byte[8];
        if (pointerAddress is not { } at || _memory.Read(at, pointer.AsSpan(0, _map.Image.Architecture.WordSize)) != MemoryReadResult.Ok
            || BinaryPrimitives.ReadUInt64LittleEndian(pointer) is not (not 0 and var task))
        {
            return null;
        }

        var start = task + (ulong)_tasks!.MembersStart;
        if (Want(start, _tasks.MembersLength))
        {
            await FetchAsync(cancellationToken);
        }

        var members = new byte[_tasks.MembersLength];
        if (_memory.Read(start, members) != MemoryReadResult.Ok)
        {
            return null;
        }

        var comm = members.AsSpan(_tasks.Comm - _tasks.MembersStart, _tasks.CommLength);
        var end = comm.IndexOf((byte)0);
        return (
            BinaryPrimitives.ReadInt32LittleEndian(members.AsSpan(_tasks.Pid - _tasks.MembersStart)),
            Encoding.UTF8.GetString(end < 0 ? comm : comm[..end]),
            (start, members.Length));
    }

    /// <summary>
    /// Another stack of the guest as it stands at the last stop: that of a task that waits for a processor (<see cref="SleepingTask"/>).
    /// </summary>
    /// <param name="stackPointer">task_struct.thread.sp.</param>
    /// <returns>Null when its saved registers cannot be read.</returns>
    internal async ValueTask<UnwindResult?> UnwindSleepingAsync(ulong stackPointer, CancellationToken cancellationToken)
    {
        Want(stackPointer, FirstWindow);
        await FetchAsync(cancellationToken);
        return SleepingTask.Registers(_map.Image.Architecture, stackPointer, _memory, out _) is { } registers
            ? await UnwindAsync(registers, cancellationToken)
            : null;
    }

    private async ValueTask<UnwindResult> UnwindAsync(RegisterSet registers, CancellationToken cancellationToken)
    {
        for (var fetch = 0; ; fetch++)
        {
            var result = StackUnwinder.Unwind(registers, _memory, _map.Unwind);
            if (result.Stop is not UnwindStop.MemoryMissing missing || fetch == MaximumFetches)
            {
                Remember(registers, result);
                return result;
            }

            // Fetch on from the miss, a window at a time; what lies just behind is often wanted next.
            Want(missing.Address, Math.Max(missing.Length, FirstWindow));
            await FetchAsync(cancellationToken);
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

    /// <summary>
    /// Puts reads of what is not known yet into the batch; true when there are any. None crosses a page, so that a missing page refuses only itself. What
    /// does not fit into the batch is left out: the unwinder asks for it again.
    /// </summary>
    private bool Want(ulong start, int length)
    {
        var wanted = false;
        while (length > 0 && _batch.Count < MaximumBatch)
        {
            var piece = (int)Math.Min((ulong)Math.Min(length, _client.Features.MaxMemoryRead), PageSize - (start % PageSize));
            if (!_memory.Knows(start, piece))
            {
                _batch.Add(new ReadMemory(start, new byte[piece]));
                wanted = true;
            }

            start += (ulong)piece;
            length -= piece;
        }

        return wanted;
    }

    private async ValueTask FetchAsync(CancellationToken cancellationToken)
    {
        if (_batch.Count == 0)
        {
            return;
        }

        await _client.SendBatchAsync(_batch.ToArray(), _outcomes, cancellationToken);
        for (var i = 0; i < _batch.Count; i++)
        {
            if (_batch[i] is not ReadMemory read)
            {
                continue;
            }

            if (_outcomes[i].IsOk && _outcomes[i].Length > 0)
            {
                _memory.Add(read.Address, read.Destination[.._outcomes[i].Length]);
            }
            else
            {
                _memory.AddUnreadable(read.Address, (ulong)read.Destination.Length);
            }
        }

        _batch.Clear();
    }

    /// <summary>What a CPU's last hit read, and whether guessing that the next one reads the same has paid lately.</summary>
    private sealed class Expectation
    {
        private const int MaximumTrust = 4;

        private int _trust = MaximumTrust;

        public List<(ulong Address, int Length)> Ranges { get; } = new(4);

        /// <summary>With no trust left the guess is made now and then all the same, to see whether it would pay again.</summary>
        public bool IsWorthwhile => _trust > 0;

        public void WasRight(bool right) => _trust = right ? MaximumTrust : _trust > -MaximumTrust ? _trust - 1 : 1;

        public void Set(ulong stack, int window, ulong pc, int code, ulong? pointer, (ulong Address, int Length)? task)
        {
            Ranges.Clear();
            Ranges.Add((stack, window));
            Ranges.Add((pc, code));
            if (pointer is { } at)
            {
                Ranges.Add((at, sizeof(ulong)));
            }

            if (task is { } members)
            {
                Ranges.Add(members);
            }
        }
    }
}
