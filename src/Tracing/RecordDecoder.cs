// Lines to records: the counterpart of RecordWriter, and the place where ids become frames and paths again. See docs/trace-format.md.
// Fields and record types that are not known here are ignored, so that newer files open as long as their format number is the same.
using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;
using KTrace.Symbols;
using KTrace.Tracing.Interrupts;

namespace KTrace.Tracing;

/// <summary>What one line turned out to be.</summary>
/// <param name="Record">The record, or null for frame, path and unknown lines.</param>
/// <param name="FrameId">The id that a frame line gives.</param>
/// <param name="PathId">The id that a path line gives, or that a hit refers to.</param>
/// <param name="PathFrames">The frame ids of a path line.</param>
/// <param name="ValuesId">The id that a line of arguments gives.</param>
/// <param name="Values">The ids of arguments that a hit refers to.</param>
/// <param name="IsCompact">A hit or return whose line refers to lines that a selection of hits does not keep: it is written anew there.</param>
/// <param name="IsDefinition">A line that compact lines refer to.</param>
internal readonly record struct DecodedLine(
    TraceRecord? Record, int? FrameId = null, int? PathId = null, ImmutableArray<int> PathFrames = default, int? ValuesId = null,
    ImmutableArray<int> Values = default, bool IsCompact = false, bool IsDefinition = false);

/// <summary>Decodes the lines of one file in order.</summary>
internal sealed class RecordDecoder
{
    private readonly string _file;
    private readonly bool _keepRegisters;
    private readonly Dictionary<int, TraceFrame> _frames;
    private readonly Dictionary<int, CallPath> _paths;
    private readonly Dictionary<int, ArgumentList> _values;
    private readonly HashSet<int> _tracepoints;
    private readonly CompactDecoder _compact;
    private TraceRecord.Header? _header;
    private TraceRecord.ClockRate? _lastRate;
    private int? _lastTask;
    private TraceRecord.Hit? _lastHit;
    private bool _ended;

    public RecordDecoder(string file, bool keepRegisters)
    {
        (_file, _keepRegisters, _frames, _paths, _tracepoints) = (file, keepRegisters, [], [], []);
        _values = new() { [0] = ArgumentList.Empty };
        _compact = new CompactDecoder(keepRegisters);
    }

    /// <summary>One that goes on where another is; nothing that either reads from then on is seen by the other.</summary>
    public RecordDecoder(RecordDecoder other)
    {
        (_file, _keepRegisters, _header, _lastRate, _lastTask, _lastHit, _ended) =
            (other._file, other._keepRegisters, other._header, other._lastRate, other._lastTask, other._lastHit, other._ended);
        (_frames, _paths, _values, _tracepoints) = (new(other._frames), new(other._paths), new(other._values), [.. other._tracepoints]);
        _compact = new CompactDecoder(other._compact);
    }

    /// <summary>What it has learnt, for who has to bound that.</summary>
    public int Count => _frames.Count + _paths.Count + _values.Count + _tracepoints.Count + _compact.Count;

    /// <exception cref="MalformedFileException">The line says something that cannot be true.</exception>
    /// <exception cref="JsonException">The line is no JSON.</exception>
    /// <exception cref="InvalidOperationException">A string of the line is no text (half a surrogate pair).</exception>
    public DecodedLine Decode(ReadOnlyMemory<byte> line, long number)
    {
        var json = new RecordJson(line, _file, number);
        RecordJson type = json.FindType(out bool found);
        if (!found)
        {
            throw json.Fail(_header is null ? "no ktrace trace: its first line is no header" : "a record without a type");
        }

        if (_header is null != type.Is("header"u8))
        {
            throw json.Fail(_header is null ? "no ktrace trace: its first record is no header" : "a second header");
        }

        DecodedLine result = type.Is("hit"u8) ? Hit(ref json)
            : type.Is("frame"u8) ? Frame(ref json)
            : type.Is("path"u8) ? Path(ref json)
            : type.Is("values"u8) ? Values(ref json)
            : type.Is("stack"u8) ? _compact.Stack(ref json, _frames, _tracepoints, _header!.HasContexts)
            : type.Is("task"u8) ? _compact.Task(ref json)
            : type.Is("return"u8) ? Return(ref json)
            : type.Is("parameters"u8) ? _compact.Parameters(ref json, _frames)
            : type.Is("meaning"u8) ? _compact.Meaning(ref json)
            : type.Is("result"u8) ? _compact.Result(ref json)
            : type.Is("clock_rate"u8) ? new(SetRate(NonStopParts.ClockRate(ref json)))
            : type.Is("nonstop"u8) ? new(NonStopParts.NonStop(ref json))
            : type.Is("interrupts"u8) ? new(Interrupts(ref json))
            : type.Is("console"u8) ? new(Console(ref json))
            : type.Is("header"u8) ? new(_header = HeaderParts.Header(ref json, _tracepoints))
            : type.Is("module"u8) ? new(ModuleParts.Module(ref json))
            : type.Is("tracepoint"u8) ? new(Resolved(ref json))
            : type.Is("note"u8) ? new(new TraceRecord.Note(Text(ref json, "note")))
            : type.Is("warning"u8) ? new(new TraceRecord.Warning(Text(ref json, "warning")))
            : type.Is("end"u8) ? new(End(ref json))
            : Unknown(ref json);
        if (_ended && result != default)
        {
            throw json.Fail("a record after the end record");
        }

        json.EndLine();
        _ended |= result.Record is TraceRecord.End;
        return result;
    }

    private static DecodedLine Unknown(ref RecordJson json)
    {
        while (json.NextProperty())
        {
            json.Skip();
        }

        return default;
    }

    private static string Text(ref RecordJson json, string what)
    {
        string? text = null;
        while (json.NextProperty())
        {
            if (json.Is("text"u8))
            {
                text = json.String("text");
            }
            else
            {
                json.Skip();
            }
        }

        return text ?? throw json.Fail($"a {what} without text");
    }

    private TraceRecord.TracepointResolved Resolved(ref RecordJson json)
    {
        TraceTracepoint tracepoint = HeaderParts.Tracepoint(ref json);
        _tracepoints.Add(tracepoint.Id);
        return new TraceRecord.TracepointResolved(tracepoint);
    }

    private DecodedLine Frame(ref RecordJson json)
    {
        (int id, TraceFrame frame) = FrameParts.Frame(ref json);
        return _frames.TryAdd(id, frame)
            ? new DecodedLine(null, FrameId: id)
            : throw json.Fail($"frame {id} is there twice");
    }

    private DecodedLine Path(ref RecordJson json)
    {
        int? id = null;
        ImmutableArray<int> ids = default;
        while (json.NextProperty())
        {
            if (json.Is("id"u8))
            {
                id = json.Int32("id");
            }
            else if (json.Is("frames"u8))
            {
                ids = FrameIds(ref json);
            }
            else
            {
                json.Skip();
            }
        }

        int pathId = id ?? throw json.Fail("a path without id");
        if (ids.IsDefault)
        {
            throw json.Fail("a path without frames");
        }

        var path = new CallPath([.. ids.Select(frame => _frames[frame])]);
        return _paths.TryAdd(pathId, path)
            ? new DecodedLine(null, PathId: pathId, PathFrames: ids)
            : throw json.Fail($"path {pathId} is there twice");
    }

    private ImmutableArray<int> FrameIds(ref RecordJson json)
    {
        ImmutableArray<int>.Builder ids = ImmutableArray.CreateBuilder<int>();
        json.StartArray("frames");
        while (json.NextElement())
        {
            int id = json.ElementInt32("a frame id");
            if (!_frames.ContainsKey(id))
            {
                throw json.Fail($"frame {id} is not there");
            }

            if (ids.Count == TraceFormat.MaxPathFrames)
            {
                throw json.Fail($"a path of more than {TraceFormat.MaxPathFrames} frames");
            }

            ids.Add(id);
        }

        return ids.DrainToImmutable();
    }

    /// <summary>The file's last word about its clock, known before the file was read so far.</summary>
    public void KnowRate(TraceRecord.ClockRate last) => (_compact.Rate, _lastRate) = (last, last);

    private TraceRecord.ClockRate SetRate(TraceRecord.ClockRate rate)
    {
        _compact.Rate = _lastRate ?? rate;
        return rate;
    }

    private DecodedLine Hit(ref RecordJson json)
    {
        long? sequence = null;
        int? tracepoint = null, pathId = null;
        int cpu = 0;
        TraceTask? task = null;
        TraceContext? context = _header!.HasContexts ? TraceContext.Plain : null;
        TraceClock? clock = null;
        TraceEnd? end = null;
        ImmutableArray<ulong> pcs = [], tailPcs = [];
        ImmutableArray<int> values = [];
        ImmutableArray<TracePrint> prints = [];
        ImmutableArray<TraceRegister> registers = [];
        int? stackId = null, taskId = null;
        ImmutableArray<TraceArgument> arguments = default;
        while (json.NextProperty())
        {
            if (json.Is("seq"u8))
            {
                sequence = json.Int64("seq");
            }
            else if (json.Is("tracepoint"u8))
            {
                tracepoint = json.Int32("tracepoint");
            }
            else if (json.Is("cpu"u8))
            {
                cpu = json.Int32("cpu");
            }
            else if (json.Is("task"u8))
            {
                taskId = json.TryInt32("task");
                task = taskId is null ? HitParts.Task(ref json, _lastHit?.Task) : null;
            }
            else if (json.Is("at"u8))
            {
                stackId = json.Int32("at");
            }
            else if (json.Is("t"u8))
            {
                clock = new TraceClock(Ticks: json.UInt64("t")) { Rate = _compact.Rate };
            }
            else if (json.Is("args"u8) && _keepRegisters)
            {
                arguments = CompactDecoder.Values(ref json);
            }
            else if (json.Is("context"u8))
            {
                context = HitParts.Context(ref json);
            }
            else if (json.Is("clock"u8))
            {
                clock = HitParts.Clock(ref json);
            }
            else if (json.Is("path"u8))
            {
                pathId = json.Int32("path");
            }
            else if (json.Is("pcs"u8) && _keepRegisters)
            {
                json.StartArray("pcs");
                pcs = HitParts.HexValues(ref json, "a pc", TraceFormat.MaxPathFrames);
            }
            else if (json.Is("tail_pcs"u8) && _keepRegisters)
            {
                json.StartArray("tail_pcs");
                tailPcs = HitParts.HexValues(ref json, "a pc", TraceFormat.MaxPathFrames);
            }
            else if (json.Is("registers"u8) && _keepRegisters)
            {
                registers = HitParts.Registers(ref json, _lastHit?.Registers ?? []);
            }
            else if (json.Is("values"u8) && _keepRegisters)
            {
                values = ValueIds(ref json);
            }
            else if (json.Is("prints"u8))
            {
                prints = ValueParts.Prints(ref json);
            }
            else if (json.Is("end"u8))
            {
                end = HitParts.End(ref json);
            }
            else
            {
                json.Skip();
            }
        }

        if (stackId is { } at)
        {
            StackNode stack = _compact.FindStack(ref json, at);
            CompactDecoder.TaskNode runs = _compact.FindTask(ref json, taskId ?? _lastTask ?? throw json.Fail("a compact hit without task"));
            _lastTask = taskId ?? _lastTask;
            var compact = new TraceRecord.Hit
            {
                Sequence = sequence ?? throw json.Fail("a hit without seq"),
                Tracepoint = stack.Tracepoint!.Value,
                Cpu = cpu,
                Task = runs.Task,
                Context = stack.Context,
                Clock = clock,
                Path = _compact.PathOf(stack),
                Pcs = _keepRegisters ? stack.Pcs : [],
                TailPcs = _keepRegisters ? stack.TailPcs : [],
                Registers = registers,
                Arguments = arguments.IsDefault ? [.. values.Select(id => _values[id])] : _compact.Arguments(ref json, stack, arguments),
                Prints = prints,
                PathEnd = runs.End,
            };
            Check(compact, ref json);
            _lastHit = compact;
            return new DecodedLine(compact, Values: values, IsCompact: true);
        }

        var hit = new TraceRecord.Hit
        {
            Sequence = sequence ?? throw json.Fail("a hit without seq"),
            Tracepoint = tracepoint ?? throw json.Fail("a hit without tracepoint"),
            Cpu = cpu,
            Task = taskId is null ? task : throw json.Fail("a task's id in a hit without stack"),
            Context = context,
            Clock = clock,
            Path = _paths.GetValueOrDefault(pathId ?? throw json.Fail("a hit without path"))
                ?? throw json.Fail($"path {pathId} is not there"),
            Pcs = pcs,
            TailPcs = tailPcs,
            Registers = registers,
            Arguments = [.. values.Select(id => _values[id])],
            Prints = prints,
            PathEnd = end ?? throw json.Fail("a hit without end"),
        };
        Check(hit, ref json);
        _lastHit = hit;
        return new DecodedLine(hit, PathId: pathId, Values: values);
    }

    private DecodedLine Values(ref RecordJson json)
    {
        (int id, ArgumentList arguments) = ValueParts.Values(ref json);
        _values[id] = arguments;
        return new DecodedLine(null, ValuesId: id);
    }

    private ImmutableArray<int> ValueIds(ref RecordJson json)
    {
        ImmutableArray<int>.Builder ids = ImmutableArray.CreateBuilder<int>();
        json.StartArray("values");
        while (json.NextElement())
        {
            int id = json.ElementInt32("an id of values");
            if (!_values.ContainsKey(id))
            {
                throw json.Fail($"values {id} are not there");
            }

            if (ids.Count == TraceFormat.MaxPathFrames)
            {
                throw json.Fail($"values for more than {TraceFormat.MaxPathFrames} frames");
            }

            ids.Add(id);
        }

        return ids.DrainToImmutable();
    }

    private DecodedLine Return(ref RecordJson json)
    {
        TraceRecord.Return returned = ValueParts.Return(ref json, _compact, out bool isCompact);
        return returned.HitSequence >= 1 && returned.HitSequence <= (_lastHit?.Sequence ?? 0)
            ? new DecodedLine(returned, IsCompact: isCompact)
            : throw json.Fail($"a return of hit {returned.HitSequence}, which is not there");
    }

    private TraceRecord.Interrupts Interrupts(ref RecordJson json)
    {
        TraceRecord.Interrupts interrupts = InterruptsParts.Interrupts(ref json);
        return interrupts.HitSequence is not { } hit || (hit >= 1 && hit <= (_lastHit?.Sequence ?? 0))
            ? interrupts
            : throw json.Fail($"interrupts of hit {hit}, which is not there");
    }

    private void Check(TraceRecord.Hit hit, ref RecordJson json)
    {
        if (hit.Sequence <= (_lastHit?.Sequence ?? 0))
        {
            throw json.Fail($"hit {hit.Sequence} after hit {_lastHit?.Sequence ?? 0}: sequence numbers grow, from 1");
        }

        if (!_tracepoints.Contains(hit.Tracepoint))
        {
            throw json.Fail($"tracepoint {hit.Tracepoint} is not there");
        }

        if (hit.Pcs.Length > 0 && hit.Pcs.Length != hit.Path.PhysicalCount)
        {
            throw json.Fail($"{hit.Pcs.Length} pcs for {hit.Path.PhysicalCount} frames that are neither inline nor tail calls");
        }

        if (hit.Arguments.Length > 0 && hit.Arguments.Length != hit.Path.Frames.Length)
        {
            throw json.Fail($"values for {hit.Arguments.Length} frames of {hit.Path.Frames.Length}");
        }

        if (hit.TailPcs.Length > 0 && hit.TailPcs.Length != hit.Path.TailCallCount)
        {
            throw json.Fail($"{hit.TailPcs.Length} tail_pcs for {hit.Path.TailCallCount} tail calls");
        }
    }

    private static TraceRecord.Console Console(ref RecordJson json)
    {
        TraceClock? clock = null;
        string? text = null;
        while (json.NextProperty())
        {
            if (json.Is("clock"u8))
            {
                clock = HitParts.Clock(ref json);
            }
            else if (json.Is("text"u8))
            {
                text = json.String("text");
            }
            else
            {
                json.Skip();
            }
        }

        return new TraceRecord.Console(clock, text ?? throw json.Fail("a console record without text"));
    }

    private static TraceRecord.End End(ref RecordJson json)
    {
        long? hits = null;
        string? reason = null;
        double seconds = 0;
        double? active = null;
        while (json.NextProperty())
        {
            if (json.Is("hits"u8))
            {
                hits = json.Int64("hits");
            }
            else if (json.Is("reason"u8))
            {
                reason = json.String("reason");
            }
            else if (json.Is("seconds"u8))
            {
                seconds = json.Seconds("seconds");
            }
            else if (json.Is("active_seconds"u8))
            {
                active = json.Seconds("active_seconds");
            }
            else
            {
                json.Skip();
            }
        }

        return new TraceRecord.End(
            hits is >= 0 ? hits.Value : throw json.Fail("an end without hits"), reason ?? throw json.Fail("an end without reason"), seconds)
        {
            ActiveSeconds = active,
        };
    }
}
