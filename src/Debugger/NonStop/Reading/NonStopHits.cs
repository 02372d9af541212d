// From a record to a line of the trace. What repeats is known by then: rows by address (StackWalk), names and ids by the return addresses of the whole stack (KnownStacks), who ran and where the path ends
// (KnownTasks), where the function's parameters are (OwnArguments). A record that is like others takes a walk, four look-ups and the digits of its line; one that is not goes the way that stops go.
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Architecture = KTrace.Symbols.Arch.Architecture;
using KTrace.Debugger.Memory;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Recording;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Tracing;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>
/// Makes hits of the ring's records and writes them. For one thread at a time, in the order of the ring; it uses the map, so nothing else may meanwhile.
/// </summary>
internal sealed class NonStopHits : IDisposable
{
    private const uint InterruptFlag = 1 << 9;
    private const int MaximumCpus = 8192;
    private const int MaximumContexts = 4096;
    private const long ProgressEvery = 256;

    private readonly KernelMap _map;
    private readonly Architecture _architecture;
    private readonly INonStopSites _sites;
    private readonly TraceWriter _writer;
    private readonly HitNumbers _numbers;
    private readonly NonStopReadingOptions _options;
    private readonly IRecordingProgress? _progress;
    private readonly HitRecords _names;
    private readonly OpenReturns _returns;
    private readonly RecordMemory _memory;
    private readonly RememberedTypes _types;
    private readonly FrameRecovery _recovery;
    private readonly KnownStacks _stacks;
    private readonly KnownTasks _tasks;
    private readonly OwnArguments _own;
    private readonly RecordValues _described;
    private readonly ReturnValues _returnValues;
    private readonly Func<ulong, ulong> _original;
    private readonly Dictionary<ulong, TraceContext> _contexts = [];
    private TracerText _table;
    private StackWalk _walk;
    private long _hits;
    private long _returned;
    private long _broken;
    private long _cut;
    private long _slow;

    /// <param name="reclaimer">Told which calls never return.</param>
    public NonStopHits(
        KernelMap map, INonStopSites sites, TraceWriter writer, HitNumbers numbers, NonStopReadingOptions options, IRecordingProgress? progress, IReturnReclaimer? reclaimer = null)
    {
        _map = map;
        _architecture = map.Image.Architecture;
        _sites = sites;
        _writer = writer;
        _numbers = numbers;
        _options = options;
        _progress = progress;
        _names = new HitRecords(map);
        _returns = new OpenReturns(options.Stubs, _architecture.WordSize, reclaimer);
        _original = _returns.Original;
        _memory = new RecordMemory(_returns, _architecture.WordSize);
        _types = new RememberedTypes(new KernelTypes(map));
        _recovery = new FrameRecovery(map);
        _stacks = new KnownStacks(_names, writer.Compact);
        _tasks = new KnownTasks(writer.Compact);
        var scope = new RecordScope(map, _types, _memory);
        _own = new OwnArguments(map, _names, new FrameVariables(map), scope, writer.Compact);
        _described = new RecordValues(map, new FrameVariables(map) { Recovery = _recovery }, scope);
        _returnValues = new ReturnValues(scope, writer.Compact);
        _table = new TracerText(map.Unwind, options, _original, _architecture);
        _walk = new StackWalk(_architecture, _table);
    }

    public NonStopCounts Counts => new(_hits, _returned, _broken, _returns.Reclaimed, _cut, _slow);

    /// <summary>From now on hits whose every frame has arguments tell what those lead to, too.</summary>
    public void LookBehind(MappedRam ram, PagingMode kernel) => _described.LookBehind(new LateMemory(_memory, ram, kernel));

    /// <summary>Code was loaded or freed: addresses outside of the kernel itself may mean something else now.</summary>
    public void ForgetNames()
    {
        _names.ForgetNames();
        _types.Forget();
        _returnValues.Forget();
        _own.Forget();
        _stacks.Forget(IsKernel);
        _table = new TracerText(_map.Unwind, _options, _original, _architecture);
        _walk = _walk.With(_table, IsKernel);
    }

    public void Dispose() => _recovery.Dispose();

    /// <summary>Writes the hits (one for each tracepoint of the site) or the return that a record means. They are in the file after <see cref="CompactWriter.Flush"/>, or soon.</summary>
    /// <returns>False when it cannot be true, and was left out; it is counted.</returns>
    /// <exception cref="TraceWriteException">The trace cannot be written.</exception>
    public bool Take(RingRecord record)
    {
        var taken = record.Kind == RingRecordKind.Return ? TakeReturn(record) : TakeCall(record);
        _broken += taken ? 0 : 1;
        return taken;
    }

    private bool TakeCall(RingRecord record)
    {
        if (_sites.Find(record.Site, record.Program) is not { } site || site.Tracepoints.IsEmpty || !IsPossible(record))
        {
            return false;
        }

        var level = Math.Max(0, record.WindowCount - 1);
        var returnAddress = ReturnAddress(record);
        _returns.Enter(record.StackPointer, level, returnAddress);
        if (record.ReturnIndex is { } index)
        {
            var last = _numbers.Taken + Math.Min(site.Tracepoints.Length, _numbers.Remaining);
            _returns.Open(index, level, new OpenReturn(site, returnAddress, record.StackPointer, _numbers.Taken + 1, last, record.Clock, record.Task, 0));
        }

        if (_numbers.IsFull)
        {
            return true;
        }

        _tasks.MakeRoom();
        var context = ContextOf(record);
        if (_options.Arguments == ArgumentScope.All || (_options.Arguments == ArgumentScope.Auto && _hits < _options.DescribedHits))
        {
            WriteDescribed(record, site, context);
            return true;
        }

        var (stack, end) = Known(record, site, context);
        var task = _tasks.TaskOf(record, end);
        var arguments = _options.Arguments == ArgumentScope.None ? default : _own.Of(record, site);
        foreach (var id in stack.Ids)
        {
            Write(record, id, task, arguments, default);
        }

        return true;
    }

    private void Write(
        RingRecord record, int stack, int task, ReadOnlySpan<byte> arguments, ImmutableArray<ArgumentList> described, ImmutableArray<TraceRegister> registers = default)
    {
        if (_numbers.IsFull)
        {
            return;
        }

        var number = _numbers.Take();
        _writer.Compact.Hit(new CompactHit
        {
            Sequence = number, Cpu = (int)record.Cpu, Task = task, Stack = stack, Ticks = record.Clock, Arguments = arguments, Described = described, Registers = registers,
        });
        _hits++;
        if (number % ProgressEvery == 0)
        {
            _progress?.Reached(number);
        }
    }

    /// <summary>By what was seen before, where it is like that.</summary>
    private (KnownStack Stack, int End) Known(RingRecord record, NonStopSite site, TraceContext context)
    {
        var numbers = RecordRegisters.Numbers(_architecture);
        var start = _walk.Start;
        for (var i = 0; i < numbers.Length; i++)
        {
            start[numbers[i]] = RecordRegisters.Word(record.Register(i), _architecture);
        }

        start[_architecture.StackPointer] = RecordRegisters.Word(record.StackPointer, _architecture);
        start[_architecture.ProgramCounter] = site.Entry;
        var memory = new WalkMemory
        {
            Replaced = _options.Stubs?.Address ?? 0, ReplacedLength = _options.Stubs?.Length ?? 0, Original = _original,
        };
        for (var i = 0; i < record.WindowCount; i++)
        {
            var bytes = record.Window(i, out var address, out _);
            memory.Add(address, bytes);
        }

        if (_walk.Walk(in memory) is not (not WalkEnd.Unknown and var ended) || EndOf(record, ended, in memory) is not { } end)
        {
            return Unwound(record, site, context, out _);
        }

        var hash = Mix.Of(_walk.Counters, Mix.In(Mix.In(site.Return, (ulong)site.Program), (ulong)RuntimeHelpersHash(context)));
        return (_stacks.Find(hash, site, context, _walk.Counters) ?? _stacks.Add(hash, site, context, _walk.Counters, _walk.Lookups, _walk.Rules), end);
    }

    private static int RuntimeHelpersHash(TraceContext context) => System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(context);

    private int? EndOf(RingRecord record, WalkEnd ended, scoped ref readonly WalkMemory memory)
    {
        switch (ended)
        {
            case WalkEnd.Bottom:
                var (lookup, isBootCpu) = (_walk.Lookups[^1], record.Cpu == 0);
                return _tasks.FindBottom(lookup, isBootCpu) ?? _tasks.AddBottom(lookup, isBootCpu, TraceEnd.From(_walk.Bottom(), (int)record.Cpu));
            case WalkEnd.User:
                return UserEnd(record, in memory);
            default:
                return EndOf(MissingEnd(record, _walk.Missing, _architecture.WordSize));
        }
    }

    private int? UserEnd(RingRecord record, scoped ref readonly WalkMemory memory)
    {
        // The saved registers but for ax, which holds the result later, and the last frames, which tell how it came in.
        const int length = 168 + (3 * 8);
        var size = _architecture.PtRegs.Size - (_walk.IsInterruptFrame ? _architecture.PtRegs.InterruptFrame : 0);
        if (_architecture is not X86_64 || !memory.TryRead(_walk.UserRegisters, size, out var saved))
        {
            return null;
        }

        const int resultAt = 80;
        Span<byte> key = stackalloc byte[length];
        key.Clear();
        saved.CopyTo(key);
        if (!_walk.IsInterruptFrame)
        {
            key.Slice(resultAt, 8).Clear();
        }

        var lookups = _walk.Lookups;
        for (var i = 1; i <= Math.Min(3, lookups.Length); i++)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(key[^(8 * i)..], lookups[^i]);
        }

        if (_tasks.FindUser(key, out var hash) is { } known)
        {
            return known;
        }

        _memory.Enter(record);
        var stop = _walk.User(_memory);
        return stop is UnwindStop.UserSpace ? _tasks.AddUser(key, hash, TraceEnd.From(stop, (int)record.Cpu, HitRecords.SyscallOf(stop))) : null;
    }

    private int EndOf(TraceEnd end)
    {
        _cut += end.Reason == TraceEndReason.Cut ? 1 : 0;
        return _tasks.Of(end);
    }

    private static TraceEnd MissingEnd(RingRecord record, ulong address, int length) =>
        RecordMemory.IsCutAt(record, address, length) ? new TraceEnd(TraceEndReason.Cut) : TraceEnd.From(new UnwindStop.MemoryMissing(address, length));

    /// <summary>By the unwinder, frame by frame.</summary>
    private (KnownStack Stack, int End) Unwound(RingRecord record, NonStopSite site, TraceContext context, out UnwindResult result)
    {
        _slow++;
        _memory.Enter(record);
        result = _table.Unwind(RecordRegisters.Of(record, site.Entry, _architecture), _memory);
        var counters = new ulong[result.Frames.Length];
        var lookups = new ulong[counters.Length];
        var rules = new UnwindRule[counters.Length];
        for (var i = 0; i < counters.Length; i++)
        {
            var frame = result.Frames[i];
            (counters[i], lookups[i], rules[i]) = (frame.ProgramCounter, frame.LookupAddress, frame.Rule);
        }

        var end = result.Stop is UnwindStop.MemoryMissing missing
            ? MissingEnd(record, missing.Address, missing.Length)
            : TraceEnd.From(result.Stop, (int)record.Cpu, HitRecords.SyscallOf(result.Stop));
        return (_stacks.Add(null, site, context, counters, lookups, rules), EndOf(end));
    }

    private void WriteDescribed(RingRecord record, NonStopSite site, TraceContext context)
    {
        var (stack, end) = Unwound(record, site, context, out var result);
        _slow--;
        var task = _tasks.TaskOf(record, end);
        var registers = HitRecords.RegistersOf(result.Frames[0].Registers);
        for (var i = 0; i < stack.Ids.Length; i++)
        {
            var tracepoint = site.Tracepoints[i];
            var path = _names.PathOf(result, tracepoint);
            Write(record, stack.Ids[i], task, default, _described.Of(result, _names.SkippedInlines(site.Entry, tracepoint), path), registers);
        }
    }

    private bool TakeReturn(RingRecord record)
    {
        if (record.Cpu >= MaximumCpus || _returns.Return(record.ReturnIndex!.Value) is not { } call)
        {
            return false;
        }

        // The last hits may have been too many already.
        var hit = call.Hit;
        foreach (var tracepoint in call.Site.Tracepoints)
        {
            if (hit > call.LastHit)
            {
                break;
            }

            var result = _returnValues.Of(tracepoint.Symbol, record.Register(0), record.Register(2), out var value);
            _writer.Compact.Return(new CompactReturn
            {
                Hit = hit++, Cpu = (int)record.Cpu, Ticks = record.Clock, Duration = record.Clock >= call.Clock ? record.Clock - call.Clock : null, Depth = call.Depth, Result = result, Value = value,
            });
            _returned++;
        }

        return true;
    }

    private TraceContext ContextOf(RingRecord record)
    {
        var isOff = (record.Flags & InterruptFlag) == 0;
        if (_contexts.Count >= MaximumContexts)
        {
            _contexts.Clear();
        }

        ref var context = ref CollectionsMarshal.GetValueRefOrAddDefault(_contexts, ((ulong)record.PreemptCount << 1) | (isOff ? 1ul : 0), out _);
        return context ??= new TraceContext(new PreemptCount(record.PreemptCount), isOff);
    }

    /// <summary>In the kernel's own text, which is what it is as long as the guest runs.</summary>
    private bool IsKernel(ulong address)
    {
        foreach (var range in _map.Unwind.Objects[0].Text)
        {
            if (range.Contains(address))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>The word at the stack pointer; 0 when the record has no stack.</summary>
    private ulong ReturnAddress(RingRecord record)
    {
        if (record.WindowCount == 0 || record.Window(0, out _, out _) is not { Length: >= 8 } window)
        {
            return 0;
        }

        return _architecture.WordSize == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(window) : BinaryPrimitives.ReadUInt32LittleEndian(window);
    }

    private bool IsPossible(RingRecord record)
    {
        var word = (ulong)_architecture.WordSize;
        if (record.Cpu >= MaximumCpus || record.Pid > int.MaxValue || record.ThreadGroup > int.MaxValue || record.StackPointer % word != 0)
        {
            return false;
        }

        for (var i = 0; i < record.WindowCount; i++)
        {
            var window = record.Window(i, out var address, out _);
            if (address % word != 0 || address + (ulong)window.Length < address || (i == 0 && address != RecordRegisters.Word(record.StackPointer, _architecture)))
            {
                return false;
            }
        }

        return true;
    }
}
