// The lines of docs/trace-format.md, one method per record. System.Text.Json's writer over one buffer that is used again and again:
// a hit whose path is known costs no allocation.
using System.Buffers;
using System.Collections.Immutable;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using KTrace.Symbols.Unwind;
using KTrace.Tracing.Interrupts;

namespace KTrace.Tracing;

/// <summary>Turns records into lines in memory.</summary>
internal sealed class RecordWriter : IDisposable
{
    // The relaxed encoder escapes quotes, backslashes and controls, and leaves < > & + as they are: a trace is read by people and never put into HTML.
    private static readonly JsonWriterOptions Options = new()
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        SkipValidation = true,
    };

    private readonly ArrayBufferWriter<byte> _buffer = new(4096);
    private readonly Utf8JsonWriter _json;
    private int _lineStart;
    private bool _hasContexts;

    public RecordWriter() => _json = new Utf8JsonWriter(_buffer, Options);

    /// <summary>The lines since <see cref="Clear"/>.</summary>
    public ReadOnlySpan<byte> Written => _buffer.WrittenSpan;

    public void Clear()
    {
        _buffer.ResetWrittenCount();
        _json.Reset();
        _lineStart = 0;
    }

    public void Dispose() => _json.Dispose();

    public void Write(TraceRecord.Header header)
    {
        Begin("header"u8);
        _json.WriteNumber("format"u8, header.Format);
        _json.WriteString("tool"u8, header.Tool);
        _json.WriteString("arch"u8, header.Arch);
        _json.WriteStartObject("kernel"u8);
        _json.Optional("release"u8, header.Kernel.Release);
        _json.Optional("build_id"u8, header.Kernel.BuildId);
        _json.Optional("banner"u8, header.Kernel.Banner);
        _json.WriteEndObject();
        _json.Hex("slide"u8, header.Slide);
        _json.WritePropertyName("boot"u8);
        header.Boot.Value.WriteTo(_json);
        _json.WriteStartArray("tracepoints"u8);
        foreach (TraceTracepoint tracepoint in header.Tracepoints)
        {
            _json.WriteStartObject();
            _json.Fields(tracepoint);
            _json.WriteEndObject();
        }

        _json.WriteEndArray();
        _json.WriteString("clock"u8, header.Clock);
        if (header.JiffiesPerSecond is { } hz)
        {
            _json.WriteNumber("hz"u8, hz);
        }

        _hasContexts = header.HasContexts;
        if (_hasContexts)
        {
            _json.WriteBoolean("contexts"u8, true);
        }

        EndLine();
    }

    public void Write(TraceRecord.Module module)
    {
        Begin("module"u8);
        _json.WriteString("name"u8, module.Name);
        _json.Hex("base"u8, module.Base);
        _json.Optional("build_id"u8, module.BuildId);
        _json.Optional("file"u8, module.File);
        EndLine();
    }

    public void Write(TraceRecord.TracepointResolved resolved)
    {
        Begin("tracepoint"u8);
        _json.Fields(resolved.Tracepoint);
        EndLine();
    }

    public void Write(TraceFrame frame, int id)
    {
        if (Math.Max(Math.Max(frame.Function.Length, frame.Symbol?.Length ?? 0), Math.Max(frame.Module?.Length ?? 0, frame.File?.Length ?? 0)) > TraceFormat.MaxNameLength)
        {
            throw new ArgumentException($"a name of more than {TraceFormat.MaxNameLength} characters in a frame", nameof(frame));
        }

        Begin("frame"u8);
        _json.WriteNumber("id"u8, id);
        _json.WriteString("function"u8, frame.Function);
        _json.Optional("symbol"u8, frame.Symbol);
        _json.Optional("module"u8, frame.Module);
        _json.WriteNumber("offset"u8, frame.Offset);
        _json.Optional("file"u8, frame.File);
        if (frame.Line is { } line)
        {
            _json.WriteNumber("line"u8, line);
        }

        if (frame.IsInline)
        {
            _json.WriteBoolean("inline"u8, true);
        }

        if (frame.IsTailCall)
        {
            _json.WriteBoolean("tail_call"u8, true);
        }

        if (frame.Rule is { } rule)
        {
            _json.WriteString("rule"u8, Word(rule));
        }

        EndLine();
    }

    public void Write(int pathId, ReadOnlySpan<int> frames)
    {
        Begin("path"u8);
        _json.WriteNumber("id"u8, pathId);
        _json.WriteStartArray("frames"u8);
        foreach (int frame in frames)
        {
            _json.WriteNumberValue(frame);
        }

        _json.WriteEndArray();
        EndLine();
    }

    /// <summary>The arguments of a frame; an id that was there before has these from now on.</summary>
    public void Write(ArgumentList arguments, int id)
    {
        Begin("values"u8);
        _json.WriteNumber("id"u8, id);
        _json.WriteStartArray("args"u8);
        foreach (TraceArgument argument in arguments)
        {
            _json.WriteStartObject();
            _json.WriteString("name"u8, argument.Name);
            _json.Optional("type"u8, argument.Type);
            _json.Hex("value"u8, argument.Value);
            _json.Optional("text"u8, argument.Text);
            _json.WriteString("from"u8, argument.Provenance);
            if (argument.IsAtEntry)
            {
                _json.WriteBoolean("at_entry"u8, true);
            }

            _json.WriteEndObject();
        }

        _json.WriteEndArray();
        EndLine();
    }

    /// <param name="values">Ids of the frames' arguments; empty when none were recorded.</param>
    public void Write(TraceRecord.Hit hit, int pathId, ReadOnlySpan<int> values)
    {
        Begin("hit"u8);
        _json.WriteNumber("seq"u8, hit.Sequence);
        _json.WriteNumber("tracepoint"u8, hit.Tracepoint);
        _json.WriteNumber("cpu"u8, hit.Cpu);
        if (hit.Task is { } task)
        {
            _json.WriteStartObject("task"u8);
            _json.Fields(task);
            _json.WriteEndObject();
        }

        _json.Fields(hit.Context, _hasContexts);
        _json.Fields(hit.Clock);
        _json.WriteNumber("path"u8, pathId);
        if (!hit.Pcs.IsDefaultOrEmpty)
        {
            _json.WriteStartArray("pcs"u8);
            _json.HexValues(hit.Pcs);
            _json.WriteEndArray();
        }

        if (!hit.TailPcs.IsDefaultOrEmpty)
        {
            _json.WriteStartArray("tail_pcs"u8);
            _json.HexValues(hit.TailPcs);
            _json.WriteEndArray();
        }

        if (!hit.Registers.IsDefaultOrEmpty)
        {
            _json.WriteStartObject("registers"u8);
            foreach (TraceRegister register in hit.Registers)
            {
                _json.WritePropertyName(register.Name);
                _json.HexValue(register.Value);
            }

            _json.WriteEndObject();
        }

        if (values.Length > 0)
        {
            _json.WriteStartArray("values"u8);
            foreach (int id in values)
            {
                _json.WriteNumberValue(id);
            }

            _json.WriteEndArray();
        }

        _json.Prints(hit.Prints);
        _json.Fields(hit.PathEnd);
        EndLine();
    }

    public void Write(TraceRecord.Return returned)
    {
        Begin("return"u8);
        _json.WriteNumber("hit"u8, returned.HitSequence);
        _json.WriteNumber("cpu"u8, returned.Cpu);
        _json.Fields(returned.Clock);
        _json.Optional("duration"u8, returned.Duration);
        _json.Optional("depth"u8, (ulong?)returned.Depth);
        _json.Prints(returned.Prints);
        EndLine();
    }

    public void Write(TraceRecord.Interrupts interrupts)
    {
        Begin("interrupts"u8);
        if (interrupts.HitSequence is { } hit)
        {
            _json.WriteNumber("hit"u8, hit);
        }

        if (interrupts.AtReturn)
        {
            _json.WriteBoolean("at_return"u8, true);
        }

        _json.Fields(interrupts.Clock);
        InterruptsWriter.Write(_json, interrupts);
        EndLine();
    }

    public void Write(TraceRecord.Console console)
    {
        Begin("console"u8);
        _json.Fields(console.Clock);
        _json.WriteString("text"u8, console.Text);
        EndLine();
    }

    public void Write(ReadOnlySpan<byte> type, string text)
    {
        Begin(type);
        _json.WriteString("text"u8, text);
        EndLine();
    }

    /// <param name="frames">Ids of the stack's frames.</param>
    public void Write(in TraceStack stack, ReadOnlySpan<int> frames)
    {
        Begin("stack"u8);
        _json.WriteNumber("id"u8, stack.Id);
        if (stack.Caller != 0)
        {
            _json.WriteNumber("caller"u8, stack.Caller);
        }

        _json.Hex("pc"u8, stack.Pc);
        _json.WriteStartArray("frames"u8);
        foreach (int frame in frames)
        {
            _json.WriteNumberValue(frame);
        }

        _json.WriteEndArray();
        if (!stack.TailPcs.IsDefaultOrEmpty)
        {
            _json.WriteStartArray("tail_pcs"u8);
            _json.HexValues(stack.TailPcs);
            _json.WriteEndArray();
        }

        if (stack.Tracepoint is { } tracepoint)
        {
            _json.WriteNumber("tracepoint"u8, tracepoint);
            _json.Fields(stack.Context, _hasContexts);
        }

        EndLine();
    }

    /// <summary>Who ran, and where its path ends.</summary>
    public void Write(int taskId, TraceTask? task, TraceEnd end)
    {
        Begin("task"u8);
        _json.WriteNumber("id"u8, taskId);
        if (task is not null)
        {
            _json.Fields(task);
        }

        _json.Fields(end);
        EndLine();
    }

    /// <param name="frameId">Of the function whose parameters they are.</param>
    public void Write(int frameId, ImmutableArray<TraceParameter> parameters)
    {
        Begin("parameters"u8);
        _json.WriteNumber("frame"u8, frameId);
        _json.WriteStartArray("params"u8);
        foreach (TraceParameter parameter in parameters)
        {
            _json.WriteStartObject();
            _json.WriteString("name"u8, parameter.Name);
            _json.Optional("type"u8, parameter.Type);
            _json.WriteString("form"u8, parameter.Form);
            if (parameter.Provenance != ArgumentProvenance.Register)
            {
                _json.WriteString("from"u8, parameter.Provenance);
            }

            _json.WriteEndObject();
        }

        _json.WriteEndArray();
        EndLine();
    }

    public void WriteMeaning(int frameId, int parameter, ulong value, string text)
    {
        Begin("meaning"u8);
        _json.WriteNumber("frame"u8, frameId);
        _json.WriteNumber("param"u8, parameter);
        _json.Hex("value"u8, value);
        _json.WriteString("text"u8, text);
        EndLine();
    }

    /// <summary>What returns refer to: the type of what a function returns.</summary>
    public void WriteResult(int id, string? type, string form)
    {
        Begin("result"u8);
        _json.WriteNumber("id"u8, id);
        _json.Optional("ctype"u8, type);
        _json.WriteString("form"u8, form);
        EndLine();
    }

    public void Write(TraceRecord.ClockRate rate)
    {
        Begin("clock_rate"u8);
        _json.WriteNumber("ticks_per_second"u8, rate.TicksPerSecond);
        _json.WriteNumber("uptime"u8, rate.Uptime);
        EndLine();
    }

    public void Write(TraceRecord.NonStop nonStop)
    {
        Begin("nonstop"u8);
        _json.WriteNumber("hits"u8, nonStop.Hits);
        _json.WriteNumber("dropped"u8, nonStop.Dropped);
        _json.WriteNumber("waits"u8, nonStop.Waits);
        _json.WriteNumber("returns_missed"u8, nonStop.ReturnsMissed);
        _json.WriteNumber("broken"u8, nonStop.Broken);
        _json.WriteNumber("cut"u8, nonStop.Cut);
        _json.WriteNumber("pauses"u8, nonStop.Pauses);
        _json.WriteNumber("paused_seconds"u8, Math.Round(nonStop.PausedSeconds, 6));
        _json.WriteNumber("ring_size"u8, nonStop.RingSize);
        _json.Seconds("guest_seconds"u8, nonStop.GuestSeconds);
        _json.Seconds("baseline_guest_seconds"u8, nonStop.BaselineGuestSeconds);
        EndLine();
    }

    public void Write(TraceRecord.End end)
    {
        Begin("end"u8);
        _json.WriteNumber("hits"u8, end.Hits);
        _json.WriteString("reason"u8, end.Reason);
        _json.WriteNumber("seconds"u8, Math.Round(end.Seconds, 6));
        if (end.ActiveSeconds is { } active)
        {
            _json.WriteNumber("active_seconds"u8, Math.Round(active, 6));
        }

        EndLine();
    }

    /// <summary>The word for an unwinding rule.</summary>
    internal static string Word(UnwindRule rule) => rule switch
    {
        UnwindRule.Registers => "registers",
        UnwindRule.Cfi => "cfi",
        UnwindRule.Orc => "orc",
        UnwindRule.FramePointer => "frame-pointer",
        UnwindRule.SavedRegisters => "saved-registers",
        _ => throw new ArgumentOutOfRangeException(nameof(rule), rule, "a rule that the trace format has no word for"),
    };

    private void Begin(ReadOnlySpan<byte> type)
    {
        _lineStart = _buffer.WrittenCount;
        _json.Reset();
        _json.WriteStartObject();
        _json.WriteString("type"u8, type);
    }

    private void EndLine()
    {
        _json.WriteEndObject();
        _json.Flush();
        int length = _buffer.WrittenCount - _lineStart;
        if (length > TraceFormat.MaxLineBytes)
        {
            throw new ArgumentException($"a record of {length} bytes: a line of a trace has at most {TraceFormat.MaxLineBytes}");
        }

        _buffer.GetSpan(1)[0] = (byte)'\n';
        _buffer.Advance(1);
    }
}
