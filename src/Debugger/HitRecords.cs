using System.Collections.Immutable;
using KTrace.Symbols;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;

namespace KTrace.Debugger;

/// <summary>Names what was captured. Call paths repeat, so frames are kept by address and whole paths by their addresses.</summary>
internal sealed class HitRecords(KernelMap map)
{
    private const int MaximumKept = 1 << 16;

    private readonly Dictionary<(ulong Address, UnwindRule Rule), ImmutableArray<TraceFrame>> _frames = [];
    private readonly Dictionary<ImmutableArray<ulong>, (CallPath Path, ImmutableArray<ulong> TailPcs)> _paths = new(new AddressesComparer());

    /// <summary>Code was loaded or freed: addresses may mean something else now.</summary>
    public void ForgetNames()
    {
        _frames.Clear();
        _paths.Clear();
    }

    public TraceRecord.Hit Create(long sequence, Tracepoint tracepoint, StopCapture capture, TraceClock? clock)
    {
        var pcs = ImmutableArray.CreateBuilder<ulong>(capture.Stack.Frames.Length);
        foreach (var frame in capture.Stack.Frames)
        {
            pcs.Add(frame.ProgramCounter);
        }

        var addresses = pcs.MoveToImmutable();
        var (path, tailPcs) = PathOf(addresses, capture.Stack);
        return new TraceRecord.Hit
        {
            Sequence = sequence,
            Tracepoint = tracepoint.Id,
            Cpu = capture.Cpu,
            Task = capture.Task is { } task ? new TraceTask(task.Pid, task.Comm) : null,
            Clock = clock,
            Path = path,
            Pcs = addresses,
            TailPcs = tailPcs,
            Registers = RegistersOf(capture.Registers),
            PathEnd = TraceEnd.From(capture.Stack.Stop, capture.Cpu, SyscallOf(capture.Stack.Stop)),
        };
    }

    private (CallPath Path, ImmutableArray<ulong> TailPcs) PathOf(ImmutableArray<ulong> addresses, UnwindResult stack)
    {
        if (_paths.TryGetValue(addresses, out var path))
        {
            return path;
        }

        var frames = ImmutableArray.CreateBuilder<TraceFrame>();
        var tailPcs = ImmutableArray.CreateBuilder<ulong>();
        UnwoundFrame? callee = null;
        foreach (var frame in stack.Frames)
        {
            foreach (var tailCall in callee is null ? [] : map.TailCallsBetween(callee, frame))
            {
                frames.AddRange(tailCall.Frames.Select(f => TraceFrame.From(f, null)));
                tailPcs.Add(tailCall.ProgramCounter);
            }

            frames.AddRange(FramesOf(frame));
            callee = frame;
        }

        path = (new CallPath(frames.ToImmutable()), tailPcs.ToImmutable());
        if (_paths.Count >= MaximumKept)
        {
            _paths.Clear();
        }

        _paths[addresses] = path;
        return path;
    }

    private ImmutableArray<TraceFrame> FramesOf(UnwoundFrame frame)
    {
        var key = (frame.LookupAddress, frame.Rule);
        if (_frames.TryGetValue(key, out var frames))
        {
            return frames;
        }

        IEnumerable<Frame> named = map.Symbolize(frame.LookupAddress);
        if (frame.Rule == UnwindRule.Registers)
        {
            // At the very first instruction of an inlined block its function is about to be entered, and has not been: gdb does not show it either.
            named = named.SkipWhile(f => f.IsInline && f.Offset == 0);
        }

        frames = [.. named.Select(f => TraceFrame.From(f, f.IsInline ? null : frame.Rule))];
        if (_frames.Count >= MaximumKept)
        {
            _frames.Clear();
        }

        _frames[key] = frames;
        return frames;
    }

    private static ImmutableArray<TraceRegister> RegistersOf(RegisterSet registers)
    {
        var architecture = registers.Architecture;
        var known = ImmutableArray.CreateBuilder<TraceRegister>(architecture.GeneralRegisters.Length);
        foreach (var index in architecture.GeneralRegisters)
        {
            if (registers.IsKnown(index))
            {
                known.Add(new TraceRegister(architecture.RegisterNames[index], registers[index]));
            }
        }

        return known.ToImmutable();
    }

    private static TraceSyscall? SyscallOf(UnwindStop stop)
    {
        if (stop is not UnwindStop.UserSpace { SystemCallNumber: { } number } user)
        {
            return null;
        }

        var (values, texts) = SystemCalls.Arguments(user.Registers, number, user.IsCompat);
        return new TraceSyscall(SystemCalls.NameOf(number, user.IsCompat || user.Registers.Architecture.WordSize == 4), number, values, texts);
    }

    private sealed class AddressesComparer : IEqualityComparer<ImmutableArray<ulong>>
    {
        public bool Equals(ImmutableArray<ulong> x, ImmutableArray<ulong> y) => x.AsSpan().SequenceEqual(y.AsSpan());

        public int GetHashCode(ImmutableArray<ulong> addresses)
        {
            var hash = new HashCode();
            foreach (var address in addresses)
            {
                hash.Add(address);
            }

            return hash.ToHashCode();
        }
    }
}
