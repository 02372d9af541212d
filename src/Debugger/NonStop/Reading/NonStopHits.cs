using System.Buffers.Binary;
using KTrace.Debugger.Cpus;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Recording;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Types;
using KTrace.Symbols.Values;
using KTrace.Tracing;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>
/// Makes hits of the ring's records and writes them. For one thread at a time, in the order of the ring; it uses the map, so nothing else may meanwhile.
/// </summary>
internal sealed class NonStopHits
{
    private const uint KernelThread = 0x0020_0000;
    private const uint InterruptFlag = 1 << 9;
    private const int MaximumCpus = 8192;

    private readonly KernelMap _map;
    private readonly INonStopSites _sites;
    private readonly TraceWriter _writer;
    private readonly HitNumbers _numbers;
    private readonly NonStopReadingOptions _options;
    private readonly IRecordingProgress? _progress;
    private readonly HitRecords _records;
    private readonly OpenReturns _returns;
    private readonly RecordMemory _memory;
    private readonly RememberedTypes _types;
    private readonly ReturnValues _returnValues;
    private readonly int _wordSize;
    private long _hits;
    private long _returned;
    private long _broken;
    private long _cut;

    /// <param name="reclaimer">Told which calls never return.</param>
    public NonStopHits(
        KernelMap map, INonStopSites sites, TraceWriter writer, HitNumbers numbers, NonStopReadingOptions options, IRecordingProgress? progress, IReturnReclaimer? reclaimer = null)
    {
        _map = map;
        _sites = sites;
        _writer = writer;
        _numbers = numbers;
        _options = options;
        _progress = progress;
        _records = new HitRecords(map);
        _wordSize = map.Image.Architecture.WordSize;
        _returns = new OpenReturns(options.Stubs, _wordSize, reclaimer);
        _memory = new RecordMemory(_returns, _wordSize);
        _types = new RememberedTypes(new KernelTypes(map));
        _returnValues = new ReturnValues(new RecordScope(map, _types, _memory));
    }

    public NonStopCounts Counts => new(_hits, _returned, _broken, _returns.Reclaimed, _cut, 0);

    /// <summary>Code was loaded or freed: addresses may mean something else now.</summary>
    public void ForgetNames()
    {
        _records.ForgetNames();
        _types.Forget();
        _returnValues.Forget();
    }

    /// <summary>Writes the hits (one for each tracepoint of the site) or the return that a record means.</summary>
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
        if (_sites.Find(record.Site) is not { } site || !IsPossible(record))
        {
            return false;
        }

        var stack = Unwind(record, site);
        var level = Math.Max(0, record.WindowCount - 1);
        var returnAddress = ReturnAddress(record);
        _returns.Enter(record.StackPointer, level, returnAddress);
        if (record.ReturnIndex is { } index)
        {
            _returns.Open(index, level, new OpenReturn(site, returnAddress, record.StackPointer, _numbers.Taken + 1, _numbers.Taken + Math.Min(site.Tracepoints.Length, _numbers.Remaining), record.Clock, record.Task, 0));
        }

        var end = EndOf(stack, record);
        _cut += end.Reason == TraceEndReason.Cut ? 1 : 0;
        var capture = new StopCapture(stack.Frames[0].Registers, stack, (int)record.Cpu, null, TaskOf(record), default)
        {
            Context = new TraceContext(new PreemptCount(record.PreemptCount), (record.Flags & InterruptFlag) == 0),
        };
        foreach (var tracepoint in site.Tracepoints)
        {
            if (_numbers.IsFull)
            {
                break;
            }

            var hit = _records.Create(_numbers.Take(), tracepoint, capture, new TraceClock(Ticks: record.Clock)) with { Registers = [], PathEnd = end };
            _writer.Write(hit);
            _progress?.Hit(hit);
            _hits++;
        }

        return true;
    }

    private UnwindResult Unwind(RingRecord record, NonStopSite site)
    {
        _memory.Enter(record);
        return StackUnwinder.Unwind(RecordRegisters.Of(record, site.Entry, _map.Image.Architecture), _memory, _map.Unwind);
    }

    private TraceEnd EndOf(UnwindResult stack, RingRecord record) =>
        stack.Stop is UnwindStop.MemoryMissing missing && _memory.IsCutAt(missing.Address, missing.Length)
            ? new TraceEnd(TraceEndReason.Cut)
            : TraceEnd.From(stack.Stop, (int)record.Cpu, HitRecords.SyscallOf(stack.Stop));

    /// <summary>The word at the stack pointer; 0 when the record has no stack.</summary>
    private ulong ReturnAddress(RingRecord record)
    {
        if (record.WindowCount == 0 || record.Window(0, out _, out _) is not { Length: >= 8 } window)
        {
            return 0;
        }

        return _wordSize == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(window) : BinaryPrimitives.ReadUInt32LittleEndian(window);
    }

    private bool TakeReturn(RingRecord record)
    {
        if (record.Cpu >= MaximumCpus || _returns.Return(record.ReturnIndex!.Value) is not { } call)
        {
            return false;
        }

        var first = call.Hit;
        foreach (var tracepoint in call.Site.Tracepoints)
        {
            // The call was the last that the limit allowed, or came after it.
            if (first > call.LastHit)
            {
                break;
            }

            _writer.Write(new TraceRecord.Return
            {
                HitSequence = first++,
                Cpu = (int)record.Cpu,
                Clock = new TraceClock(Ticks: record.Clock),
                Duration = record.Clock >= call.Clock ? record.Clock - call.Clock : null,
                Depth = call.Depth,
                Prints = _returnValues.Of(tracepoint.Symbol, record.Register(0), record.Register(2)) is { } value ? [value] : [],
            });
            _returned++;
        }

        return true;
    }

    private static CpuTask? TaskOf(RingRecord record) => record.Task == 0 ? null : new CpuTask(record.Task, (int)record.Pid, System.Text.Encoding.UTF8.GetString(Text(record.Comm)))
    {
        ThreadGroup = (int)record.ThreadGroup,
        IsKernelThread = record.Pid == 0 || (record.TaskFlags & KernelThread) != 0,
    };

    private static ReadOnlySpan<byte> Text(ReadOnlySpan<byte> comm) => comm.IndexOf((byte)0) is >= 0 and var end ? comm[..end] : comm;

    private bool IsPossible(RingRecord record)
    {
        if (record.Cpu >= MaximumCpus || record.Pid > int.MaxValue || record.ThreadGroup > int.MaxValue || record.StackPointer % (ulong)_wordSize != 0)
        {
            return false;
        }

        for (var i = 0; i < record.WindowCount; i++)
        {
            var window = record.Window(i, out var address, out _);
            if (address % (ulong)_wordSize != 0 || address + (ulong)window.Length < address || (i == 0 && address != RecordRegisters.Word(record.StackPointer, _map.Image.Architecture)))
            {
                return false;
            }
        }

        return true;
    }
}
