// What compact hits refer to: docs/trace-format.md, "Compact hits". Ids come again; what was read before keeps its meaning, as nodes refer to nodes and not to ids.
using System.Collections.Immutable;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace KTrace.Tracing;

/// <summary>Decodes the lines behind compact hits and keeps them.</summary>
internal sealed class CompactDecoder
{
    private const int MaximumPaths = 1 << 17;

    private readonly Dictionary<int, StackNode> _stacks;
    private readonly Dictionary<int, TaskNode> _tasks;
    private readonly Dictionary<int, (string? Type, string Form)> _results;
    private readonly Dictionary<int, KnownParameters> _parameters;
    private readonly HashSet<CallPath> _paths = [];
    private readonly bool _keepRegisters;

    public CompactDecoder(bool keepRegisters) => (_keepRegisters, _stacks, _tasks, _results, _parameters) = (keepRegisters, [], [], [], []);

    /// <summary>One that goes on where another is; nothing that either reads from then on is seen by the other.</summary>
    public CompactDecoder(CompactDecoder other)
    {
        (_keepRegisters, Rate) = (other._keepRegisters, other.Rate);
        (_stacks, _tasks, _results) = (new(other._stacks), new(other._tasks), new(other._results));

        // Meanings are added to.
        _parameters = other._parameters.ToDictionary(known => known.Key, known => known.Value.Copy());
    }

    /// <summary>What it has learnt, for who has to bound that.</summary>
    public int Count => _stacks.Count + _tasks.Count + _results.Count + _parameters.Values.Sum(known => 1 + known.Meanings.Count);

    /// <summary>How fast ticks count, as far as was read or is known from the file's end.</summary>
    public TraceRecord.ClockRate? Rate { get; set; }

    /// <summary>A function's parameters, and the values of them whose texts were written.</summary>
    private sealed record KnownParameters(ImmutableArray<TraceParameter> All)
    {
        public Dictionary<(int Parameter, ulong Value), string> Meanings { get; private init; } = [];

        public KnownParameters Copy() => new(All) { Meanings = new(Meanings) };
    }

    /// <summary>Who ran, and where its paths end.</summary>
    public sealed record TaskNode(TraceTask? Task, TraceEnd End);

    public StackNode FindStack(ref RecordJson json, int id) =>
        _stacks.GetValueOrDefault(id) is { Tracepoint: not null } stack ? stack : throw json.Fail($"stack {id} is not there, or is no hit's");

    public TaskNode FindTask(ref RecordJson json, int id) => _tasks.GetValueOrDefault(id) ?? throw json.Fail($"task {id} is not there");

    /// <summary>The call path of a stack; equal ones are one.</summary>
    public CallPath PathOf(StackNode stack)
    {
        if (stack.Path is not null)
        {
            return stack.Path;
        }

        var frames = ImmutableArray.CreateBuilder<TraceFrame>(stack.FrameCount);
        for (StackNode? node = stack; node is not null; node = node.Caller)
        {
            frames.AddRange(node.Frames);
        }

        var path = new CallPath(frames.MoveToImmutable());
        if (!_paths.TryGetValue(path, out CallPath? known))
        {
            if (_paths.Count >= MaximumPaths)
            {
                _paths.Clear();
            }

            _paths.Add(known = path);
        }

        return stack.Path = known;
    }

    /// <summary>The arguments of all frames: those of the function itself are known.</summary>
    public ImmutableArray<ArgumentList> Arguments(ref RecordJson json, StackNode stack, ImmutableArray<TraceArgument> values)
    {
        if (_parameters.GetValueOrDefault(stack.FunctionFrame) is not { } known || known.All.Length != values.Length)
        {
            throw json.Fail("args of a function whose parameters are not there, or are others");
        }

        var named = new TraceArgument[values.Length];
        for (int i = 0; i < named.Length; i++)
        {
            (TraceParameter parameter, TraceArgument value) = (known.All[i], values[i]);
            named[i] = !value.IsKnown
                ? new TraceArgument(parameter.Name, parameter.Type, null, null, ArgumentProvenance.OptimizedOut)
                : new TraceArgument(parameter.Name, parameter.Type, value.Value, value.Text ?? known.Meanings.GetValueOrDefault((i, value.Value!.Value)) ?? ValueForm.TextOf(parameter.Form, value.Value.Value), parameter.Provenance);
        }

        var lists = new ArgumentList[stack.FrameCount];
        Array.Fill(lists, ArgumentList.Empty);
        int function = 0;
        while (stack.Frames[function].IsInline)
        {
            function++;
        }

        lists[function] = new ArgumentList(ImmutableCollectionsMarshal.AsImmutableArray(named));
        return ImmutableCollectionsMarshal.AsImmutableArray(lists);
    }

    /// <summary><c>$ret</c>.</summary>
    public TracePrint Returned(ref RecordJson json, int id, TraceArgument value)
    {
        if (!_results.TryGetValue(id, out var result))
        {
            throw json.Fail($"result {id} is not there");
        }

        return new TracePrint("$ret", result.Type, value.Value, value.Text ?? (value.Value is { } number ? ValueForm.TextOf(result.Form, number) : null));
    }

    /// <summary>Values without names; what is not known is unknown.</summary>
    public static ImmutableArray<TraceArgument> Values(ref RecordJson json)
    {
        json.StartArray("args");
        var values = ImmutableArray.CreateBuilder<TraceArgument>();
        while (json.NextElement())
        {
            if (values.Count == TraceFormat.MaxArguments)
            {
                throw json.Fail($"more than {TraceFormat.MaxArguments} args");
            }

            values.Add(Value(ref json));
        }

        return values.DrainToImmutable();
    }

    /// <summary>The value under the cursor.</summary>
    public static TraceArgument Value(ref RecordJson json)
    {
        switch (json.Kind)
        {
            case JsonTokenType.Null:
                return new TraceArgument("", null, null, null);
            case JsonTokenType.Number:
                return new TraceArgument("", null, json.ElementBits("a value"), null);
            case JsonTokenType.String:
                return new TraceArgument("", null, json.ElementHex("a value"), null);
        }

        json.ElementObject("a value with a text");
        ulong? value = null;
        string? text = null;
        while (json.NextProperty())
        {
            if (json.Is("value"u8))
            {
                value = json.Hex("value");
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

        return new TraceArgument("", null, value, text ?? throw json.Fail("a value without text"));
    }

    public DecodedLine Stack(ref RecordJson json, Dictionary<int, TraceFrame> known, HashSet<int> tracepoints, bool hasContexts)
    {
        int? id = null, callerId = null, tracepoint = null;
        ulong? pc = null;
        ImmutableArray<ulong> tailPcs = [];
        ImmutableArray<int> frameIds = [];
        TraceContext? context = hasContexts ? TraceContext.Plain : null;
        while (json.NextProperty())
        {
            if (json.Is("id"u8))
            {
                id = json.Int32("id");
            }
            else if (json.Is("caller"u8))
            {
                callerId = json.Int32("caller");
            }
            else if (json.Is("tracepoint"u8))
            {
                tracepoint = json.Int32("tracepoint");
            }
            else if (json.Is("pc"u8))
            {
                pc = json.Hex("pc");
            }
            else if (json.Is("tail_pcs"u8))
            {
                json.StartArray("tail_pcs");
                tailPcs = HitParts.HexValues(ref json, "a pc", TraceFormat.MaxPathFrames);
            }
            else if (json.Is("frames"u8))
            {
                json.StartArray("frames");
                frameIds = FrameIds(ref json, known);
            }
            else if (json.Is("context"u8))
            {
                context = HitParts.Context(ref json);
            }
            else
            {
                json.Skip();
            }
        }

        StackNode? caller = callerId is not { } from ? null : _stacks.GetValueOrDefault(from) ?? throw json.Fail($"stack {from} is not there");
        ImmutableArray<TraceFrame> frames = [.. frameIds.Select(frame => known[frame])];
        int function = 0;
        while (function < frames.Length && frames[function].IsInline)
        {
            function++;
        }

        if (function == frames.Length || frames[function].IsTailCall || frames[^1].IsInline || frames[(function + 1)..].Count(f => !f.IsTailCall && !f.IsInline) > 0)
        {
            throw json.Fail("the frames of a stack are one function, what was inlined into it, and functions that left by tail calls");
        }

        if (tailPcs.Length != frames.Count(f => f.IsTailCall))
        {
            throw json.Fail($"{tailPcs.Length} tail_pcs for other tail calls");
        }

        if (tracepoint is { } hit && !tracepoints.Contains(hit))
        {
            throw json.Fail($"tracepoint {hit} is not there");
        }

        var node = new StackNode(caller, pc ?? throw json.Fail("a stack without pc"), frames, _keepRegisters ? tailPcs : [], frameIds[function]) { Tracepoint = tracepoint, Context = context };
        if (node.FrameCount > TraceFormat.MaxPathFrames)
        {
            throw json.Fail($"a path of more than {TraceFormat.MaxPathFrames} frames");
        }

        _stacks[Bounded(ref json, id, TraceFormat.MaxStacks, "stack")] = node;
        return new DecodedLine(null, IsDefinition: true);
    }

    public DecodedLine Task(ref RecordJson json)
    {
        int? id = null, pid = null, tgid = null;
        string? comm = null;
        bool kernel = false;
        TraceEnd? end = null;
        while (json.NextProperty())
        {
            if (json.Is("id"u8))
            {
                id = json.Int32("id");
            }
            else if (json.Is("pid"u8))
            {
                pid = json.Int32("pid");
            }
            else if (json.Is("comm"u8))
            {
                comm = json.String("comm");
            }
            else if (json.Is("tgid"u8))
            {
                tgid = json.Int32("tgid");
            }
            else if (json.Is("kernel"u8))
            {
                kernel = json.Boolean("kernel");
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

        TraceTask? task = pid is not { } number ? null
            : new TraceTask(number, comm ?? throw json.Fail("a task without comm")) { ThreadGroup = tgid ?? number, IsKernelThread = kernel };
        _tasks[Bounded(ref json, id, TraceFormat.MaxTasks, "task")] = new TaskNode(task, end ?? throw json.Fail("a task without end"));
        return new DecodedLine(null, IsDefinition: true);
    }

    public DecodedLine Parameters(ref RecordJson json, Dictionary<int, TraceFrame> known)
    {
        int? frame = null;
        var parameters = ImmutableArray.CreateBuilder<TraceParameter>();
        while (json.NextProperty())
        {
            if (json.Is("frame"u8))
            {
                frame = json.Int32("frame");
            }
            else if (json.Is("params"u8))
            {
                json.StartArray("params");
                while (json.NextElement())
                {
                    json.ElementObject("a parameter");
                    if (parameters.Count == TraceFormat.MaxArguments)
                    {
                        throw json.Fail($"more than {TraceFormat.MaxArguments} parameters");
                    }

                    parameters.Add(Parameter(ref json));
                }
            }
            else
            {
                json.Skip();
            }
        }

        if (frame is not { } id || !known.ContainsKey(id))
        {
            throw json.Fail("parameters of a frame that is not there");
        }

        _parameters[id] = new KnownParameters(parameters.DrainToImmutable());
        return new DecodedLine(null, IsDefinition: true);
    }

    public DecodedLine Meaning(ref RecordJson json)
    {
        int? frame = null, parameter = null;
        ulong? value = null;
        string? text = null;
        while (json.NextProperty())
        {
            if (json.Is("frame"u8))
            {
                frame = json.Int32("frame");
            }
            else if (json.Is("param"u8))
            {
                parameter = json.Int32("param");
            }
            else if (json.Is("value"u8))
            {
                value = json.Hex("value");
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

        if (frame is not { } id || parameter is not { } index || !_parameters.TryGetValue(id, out KnownParameters? known) || index >= known.All.Length)
        {
            throw json.Fail("the meaning of a parameter that is not there");
        }

        if (known.Meanings.Count >= TraceFormat.MaxMeanings)
        {
            throw json.Fail($"more than {TraceFormat.MaxMeanings} meanings for one function");
        }

        known.Meanings[(index, value ?? throw json.Fail("a meaning without value"))] = text ?? throw json.Fail("a meaning without text");
        return new DecodedLine(null, IsDefinition: true);
    }

    public DecodedLine Result(ref RecordJson json)
    {
        int? id = null;
        string? type = null, form = null;
        while (json.NextProperty())
        {
            if (json.Is("id"u8))
            {
                id = json.Int32("id");
            }
            else if (json.Is("ctype"u8))
            {
                type = json.OptionalString("ctype");
            }
            else if (json.Is("form"u8))
            {
                form = json.String("form", ValueForm.All);
            }
            else
            {
                json.Skip();
            }
        }

        _results[Bounded(ref json, id, TraceFormat.MaxTasks, "result")] = (type, form ?? ValueForm.Unsigned);
        return new DecodedLine(null, IsDefinition: true);
    }

    private static TraceParameter Parameter(ref RecordJson json)
    {
        string? name = null, type = null;
        string form = ValueForm.Unsigned, from = ArgumentProvenance.Register;
        while (json.NextProperty())
        {
            if (json.Is("name"u8))
            {
                name = json.String("name");
            }
            else if (json.Is("type"u8))
            {
                type = json.OptionalString("type");
            }
            else if (json.Is("form"u8))
            {
                form = json.String("form", ValueForm.All);
            }
            else if (json.Is("from"u8))
            {
                from = json.String("from");
            }
            else
            {
                json.Skip();
            }
        }

        return new TraceParameter(name ?? throw json.Fail("a parameter without name"), type, form, from);
    }

    private static ImmutableArray<int> FrameIds(ref RecordJson json, Dictionary<int, TraceFrame> known)
    {
        var ids = ImmutableArray.CreateBuilder<int>(4);
        while (json.NextElement())
        {
            int id = json.ElementInt32("a frame id");
            if (!known.ContainsKey(id))
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

    private static int Bounded(ref RecordJson json, int? id, int limit, string what) => id switch
    {
        null => throw json.Fail($"a {what} without id"),
        < 1 => throw json.Fail($"ids of {what}s go from 1 to {limit}"),
        { } known when known > limit => throw json.Fail($"ids of {what}s go from 1 to {limit}"),
        { } known => known,
    };
}
