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
/// Takes registers, stack, clock and current task of the CPU that stopped, in as few round trips as may be: one for the registers and the clock, one
/// for all that depends on them, and a further one only when the CPU has changed its task or the stack is deeper than last time.
/// </summary>
internal sealed class HitCapture
{
    private const int FirstWindow = 1024;
    private const int WindowSlack = 256;
    private const int MaximumWindow = 16 << 10;
    private const int PageSize = 4096;
    private const int CodeBytes = 16;

    // A stack has 16 KiB on x86-64; interrupt, softirq and exception stacks come on top. Each fetch brings up to 2 KiB.
    private const int MaximumFetches = 64;

    private readonly RspClient _client;
    private readonly KernelMap _map;
    private readonly RegisterBridge _bridge;
    private readonly TaskLocator? _tasks;
    private readonly ulong? _jiffiesAddress;
    private readonly FetchedMemory _memory = new();
    private readonly byte[] _jiffies = new byte[8];
    private readonly RspOutcome[] _outcomes = new RspOutcome[32];
    private readonly Dictionary<int, ulong> _lastTask = [];
    private readonly Dictionary<ulong, int> _windows = [];
    private readonly RspCommand[] _first;

    public HitCapture(RspClient client, KernelMap map)
    {
        _client = client;
        _map = map;
        _bridge = new RegisterBridge(client.Layout, map.Image.Architecture);
        Block = new RegisterBlock(client.Layout);
        _tasks = TaskLocator.Find(map);
        _jiffiesAddress = map.Image.TryFindSymbol("jiffies_64", out var jiffies) ? map.ToRunTime(jiffies.Value) : null;
        _first = _jiffiesAddress is { } address
            ? [new ReadRegisters(Block), new ReadMemory(address, _jiffies)]
            : [new ReadRegisters(Block)];
    }

    /// <summary>The registers as the stub sent them at the last capture.</summary>
    public RegisterBlock Block { get; }

    public async ValueTask<StopCapture> TakeAsync(StopReply.Stopped stop, CancellationToken cancellationToken)
    {
        _memory.Clear();
        await _client.SendBatchAsync(_first, _outcomes, cancellationToken);
        if (!_outcomes[0].IsOk)
        {
            throw new TargetException("the stub refused to send registers", null);
        }

        ulong? jiffies = _jiffiesAddress is not null && _outcomes[1].IsOk ? BinaryPrimitives.ReadUInt64LittleEndian(_jiffies) : null;
        var registers = _bridge.ToRegisterSet(Block);
        var cpu = CpuOf(stop);
        var code = new byte[CodeBytes];
        var task = await FetchAsync(registers, cpu, code, cancellationToken);
        var stack = await UnwindAsync(registers, cancellationToken);
        return new StopCapture(registers, stack, cpu, jiffies, task, code);
    }

    /// <summary>QEMU numbers CPUs from 1 as threads of process 1; stop replies of one CPU may name none.</summary>
    private static int CpuOf(StopReply.Stopped stop) => stop.Thread is { Thread: > 0 and < int.MaxValue } thread ? (int)thread.Thread - 1 : 0;

    /// <summary>Everything that depends on the registers, in one batch. The task is guessed to be the CPU's last one and read along.</summary>
    private async ValueTask<(int Pid, string Comm)?> FetchAsync(RegisterSet registers, int cpu, byte[] code, CancellationToken cancellationToken)
    {
        var commands = new List<RspCommand>(12);
        var pieces = AddStackWindow(commands, registers.StackPointer, _windows.GetValueOrDefault(registers.ProgramCounter, FirstWindow));
        var codeAt = registers.ProgramCounter;
        var codeLength = (int)Math.Min((ulong)code.Length, PageSize - (codeAt % PageSize));
        var codeIndex = commands.Count;
        commands.Add(new ReadMemory(codeAt, code.AsMemory(0, codeLength)));

        var word = _map.Image.Architecture.WordSize;
        var pointer = new byte[8];
        var members = new byte[_tasks?.MembersLength ?? 0];
        var pointerAddress = _tasks?.PointerAddress(registers);
        var taskIndex = commands.Count;
        var guess = _lastTask.GetValueOrDefault(cpu);
        if (pointerAddress is { } at)
        {
            commands.Add(new ReadMemory(at, pointer.AsMemory(0, word)));
            if (guess != 0)
            {
                commands.Add(new ReadMemory(guess + (ulong)_tasks!.MembersStart, members));
            }
        }

        await _client.SendBatchAsync(commands.ToArray(), _outcomes, cancellationToken);
        for (var i = 0; i < pieces; i++)
        {
            Keep((ReadMemory)commands[i], _outcomes[i]);
        }

        if (!_outcomes[codeIndex].IsOk)
        {
            Array.Clear(code);
        }

        if (pointerAddress is null || !_outcomes[taskIndex].IsOk)
        {
            return null;
        }

        var task = BinaryPrimitives.ReadUInt64LittleEndian(pointer);
        if (task == 0)
        {
            return null;
        }

        if (task == guess)
        {
            return _outcomes[taskIndex + 1].IsOk ? Describe(members) : null;
        }

        var read = await _client.ReadMemoryAsync(task + (ulong)_tasks!.MembersStart, members, cancellationToken);
        if (!read.IsComplete)
        {
            return null;
        }

        _lastTask[cpu] = task;
        return Describe(members);
    }

    private (int Pid, string Comm) Describe(byte[] members)
    {
        var pid = BinaryPrimitives.ReadInt32LittleEndian(members.AsSpan(_tasks!.Pid - _tasks.MembersStart));
        var comm = members.AsSpan(_tasks.Comm - _tasks.MembersStart, _tasks.CommLength);
        var end = comm.IndexOf((byte)0);
        return (pid, Encoding.UTF8.GetString(end < 0 ? comm : comm[..end]));
    }

    private async ValueTask<UnwindResult> UnwindAsync(RegisterSet registers, CancellationToken cancellationToken)
    {
        var commands = new List<RspCommand>();
        for (var fetch = 0; ; fetch++)
        {
            var result = StackUnwinder.Unwind(registers, _memory, _map.Unwind);
            if (result.Stop is not UnwindStop.MemoryMissing missing || fetch == MaximumFetches)
            {
                Remember(registers, result);
                return result;
            }

            // Fetch on from the miss, a window at a time; what lies just below is often wanted next.
            commands.Clear();
            AddStackWindow(commands, missing.Address, Math.Max(missing.Length, FirstWindow));
            await _client.SendBatchAsync(commands.ToArray(), _outcomes, cancellationToken);
            for (var i = 0; i < commands.Count; i++)
            {
                Keep((ReadMemory)commands[i], _outcomes[i]);
            }
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

    /// <summary>Reads that together cover the window; none crosses a page, so that one missing page refuses only itself.</summary>
    private int AddStackWindow(List<RspCommand> commands, ulong start, int length)
    {
        var count = 0;
        while (length > 0 && commands.Count < _outcomes.Length - 8)
        {
            var piece = Math.Min(length, _client.Features.MaxMemoryRead);
            piece = (int)Math.Min((ulong)piece, PageSize - (start % PageSize));
            commands.Add(new ReadMemory(start, new byte[piece]));
            start += (ulong)piece;
            length -= piece;
            count++;
        }

        return count;
    }

    private void Keep(ReadMemory read, RspOutcome outcome)
    {
        if (outcome.IsOk && outcome.Length > 0)
        {
            _memory.Add(read.Address, read.Destination[..outcome.Length]);
        }
        else
        {
            _memory.AddUnreadable(read.Address, (ulong)read.Destination.Length);
        }
    }
}
