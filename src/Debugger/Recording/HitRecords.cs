using System.Collections.Immutable;
using KTrace.Debugger.Tracepoints;
using KTrace.Symbols;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;

namespace KTrace.Debugger.Recording;

/// <summary>Names what was captured. Call paths repeat, so frames are kept by address and whole paths by their addresses.</summary>
internal sealed class HitRecords(KernelMap map)
{
    private const int MaximumKept = 1 << 16;

    private readonly Dictionary<(ulong Address, UnwindRule Rule, string? Entered), ImmutableArray<TraceFrame>> _frames = [];
    private readonly Dictionary<PathKey, (CallPath Path, ImmutableArray<ulong> TailPcs)> _paths = [];

    /// <summary>Code was loaded or freed: addresses may mean something else now.</summary>
    public void ForgetNames()
    {
        _frames.Clear();
        _paths.Clear();
    }

    /// <summary>How many inlined functions begin right at the pc of a hit and count as not entered yet.</summary>
    public int SkippedInlines(ulong pc, Tracepoint? tracepoint) => SkippedInlines(pc, EnteredAt(pc, tracepoint));

    /// <param name="entered">The one of them that counts as entered, and with it what encloses it; null: none does.</param>
    public int SkippedInlines(ulong pc, string? entered) => map.Symbolize(pc).TakeWhile(f => IsNotEntered(f, entered)).Count();

    public TraceRecord.Hit Create(long sequence, Tracepoint? tracepoint, StopCapture capture, TraceClock? clock) =>
        Create(sequence, tracepoint, EnteredAt(capture.Registers.ProgramCounter, tracepoint), capture, clock);

    /// <param name="entered">See <see cref="SkippedInlines(ulong, string?)"/>.</param>
    public TraceRecord.Hit Create(long sequence, Tracepoint? tracepoint, string? entered, StopCapture capture, TraceClock? clock)
    {
        var pcs = ImmutableArray.CreateBuilder<ulong>(capture.Stack.Frames.Length);
        foreach (var frame in capture.Stack.Frames)
        {
            pcs.Add(frame.ProgramCounter);
        }

        var addresses = pcs.MoveToImmutable();
        var (path, tailPcs) = PathOf(addresses, capture.Stack, entered);
        return new TraceRecord.Hit
        {
            Sequence = sequence,
            Tracepoint = tracepoint?.Id ?? 0,
            Cpu = capture.Cpu,
            Task = capture.Task is { } task ? new TraceTask(task.Pid, task.Comm) { ThreadGroup = task.ThreadGroup ?? task.Pid, IsKernelThread = task.IsKernelThread == true } : null,
            Context = capture.Context,
            Clock = clock,
            Path = path,
            Pcs = addresses,
            TailPcs = tailPcs,
            Registers = RegistersOf(capture.Registers),
            PathEnd = TraceEnd.From(capture.Stack.Stop, capture.Cpu, SyscallOf(capture.Stack.Stop)),
        };
    }

    /// <summary>The names of a stack at whose innermost frame a tracepoint was hit.</summary>
    public CallPath PathOf(UnwindResult stack, Tracepoint tracepoint) =>
        PathOf([.. stack.Frames.Select(f => f.ProgramCounter)], stack, EnteredAt(stack.Frames[0].ProgramCounter, tracepoint)).Path;

    private (CallPath Path, ImmutableArray<ulong> TailPcs) PathOf(ImmutableArray<ulong> addresses, UnwindResult stack, string? entered)
    {
        var key = new PathKey(addresses, entered);
        if (_paths.TryGetValue(key, out var path))
        {
            return path;
        }

        var frames = ImmutableArray.CreateBuilder<TraceFrame>();
        var tailPcs = ImmutableArray.CreateBuilder<ulong>();
        UnwoundFrame? callee = null;
        foreach (var frame in stack.Frames)
        {
            if (callee is not null && frame.IsCall)
            {
                AddTailCalls(callee.LookupAddress, frame.ProgramCounter, frames, tailPcs);
            }

            frames.AddRange(FramesOf(frame.LookupAddress, frame.Rule, entered));
            callee = frame;
        }

        path = (new CallPath(frames.ToImmutable()), tailPcs.ToImmutable());
        if (_paths.Count >= MaximumKept)
        {
            _paths.Clear();
        }

        _paths[key] = path;
        return path;
    }

    /// <summary>The functions that left by tail calls between two neighbours on a stack.</summary>
    /// <param name="callee">The inner one's <see cref="UnwoundFrame.LookupAddress"/>.</param>
    /// <param name="returnAddress">Into the outer one.</param>
    public void AddTailCalls(ulong callee, ulong returnAddress, ImmutableArray<TraceFrame>.Builder frames, ImmutableArray<ulong>.Builder tailPcs)
    {
        foreach (var tailCall in map.TailCallsBetween(callee, returnAddress))
        {
            frames.AddRange(tailCall.Frames.Select(f => TraceFrame.From(f, null)));
            tailPcs.Add(tailCall.ProgramCounter);
        }
    }

    /// <param name="address">See <see cref="UnwoundFrame.LookupAddress"/>.</param>
    /// <param name="rule">What found the frame.</param>
    /// <param name="entered">The inlined function whose first instruction is the hit, or null.</param>
    public ImmutableArray<TraceFrame> FramesOf(ulong address, UnwindRule rule, string? entered)
    {
        entered = rule == UnwindRule.Registers ? entered : null;
        var key = (address, rule, entered);
        if (_frames.TryGetValue(key, out var frames))
        {
            return frames;
        }

        IEnumerable<Frame> named = map.Symbolize(address);
        if (rule == UnwindRule.Registers)
        {
            // At the very first instruction of an inlined block its function is about to be entered, and has not been: gdb does not show it either.
            // The one that is traced is shown, as its entry is what was hit.
            named = named.SkipWhile(f => IsNotEntered(f, entered));
        }

        frames = [.. named.Select(f => TraceFrame.From(f, f.IsInline ? null : rule))];
        if (_frames.Count >= MaximumKept)
        {
            _frames.Clear();
        }

        _frames[key] = frames;
        return frames;
    }

    /// <summary>The inlined function that a hit of a tracepoint enters; null: it enters none.</summary>
    public static string? EnteredAt(ulong pc, Tracepoint? tracepoint) => tracepoint?.IsInlineAt(pc) == true ? tracepoint.Symbol : null;

    private static bool IsNotEntered(Frame frame, string? entered) => frame.IsInline && frame.Offset == 0 && frame.Function != entered;

    internal static ImmutableArray<TraceRegister> RegistersOf(RegisterSet registers)
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

    /// <summary>The system call by which a stack came in; null for everything else.</summary>
    internal static TraceSyscall? SyscallOf(UnwindStop stop)
    {
        if (stop is not UnwindStop.UserSpace { SystemCallNumber: { } number } user)
        {
            return null;
        }

        var (values, texts) = SystemCalls.Arguments(user.Registers, number, user.IsCompat);
        return new TraceSyscall(SystemCalls.NameOf(number, user.IsCompat || user.Registers.Architecture.WordSize == 4), number, values, texts);
    }

    /// <summary>A stack by its addresses. One address may be the entry of several inlined functions, each traced for itself.</summary>
    private readonly record struct PathKey(ImmutableArray<ulong> Addresses, string? Entered)
    {
        public bool Equals(PathKey other) => Entered == other.Entered && Addresses.AsSpan().SequenceEqual(other.Addresses.AsSpan());

        public override int GetHashCode()
        {
            var hash = new HashCode();
            foreach (var address in Addresses)
            {
                hash.Add(address);
            }

            return hash.ToHashCode();
        }
    }
}
