using System.Collections.Immutable;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Memory;
using KTrace.Debugger.Recording;
using KTrace.Debugger.Stepping;
using KTrace.Debugger.Tracepoints;
using KTrace.Debugger.Values;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tracing;

namespace KTrace.Debugger.Sessions;

/// <summary>
/// What a stopped machine can be asked: the call path of any CPU, the variables of any of its frames, expressions. What was read is kept until the machine runs again.
/// </summary>
internal sealed class StopInspector : IDisposable
{
    private readonly Machine _machine;
    private readonly HitCapture _capture;
    private readonly HitRecords _records;
    private readonly RememberedTypes _types;
    private readonly FrameRecovery _recovery;
    private readonly FrameVariables _variables;
    private readonly StopScope _scope;
    private readonly HitValues _values;
    private ImmutableArray<KernelModule> _modulesSeen;
    private (int Cpu, long Resumes, string? Entered, StopCapture Capture, TraceRecord.Hit Hit)? _taken;

    public StopInspector(Machine machine, KernelMap map)
    {
        _machine = machine;
        Map = map;
        _capture = new HitCapture(machine.Client, map, machine.Memory.Ram);
        _records = new HitRecords(map);
        _types = new RememberedTypes(new KernelTypes(map));
        _recovery = new FrameRecovery(map);
        _variables = new FrameVariables(map) { Recovery = _recovery };
        _scope = new StopScope(map, _types, _capture.Memory, _variables, _capture.Tasks);
        _values = new HitValues(_capture.Memory, _scope, _variables);
        _modulesSeen = map.Modules;
    }

    public KernelMap Map { get; }

    /// <summary>The inlined function that a person has entered where a CPU stands at its first instruction: by stepping into it, which executes nothing, or by a breakpoint there. Null: none.</summary>
    public (int Cpu, string Function)? Entered { get; set; }

    /// <summary>Names and types at this stop, for printing values of the chosen frame.</summary>
    public IExpressionScope Scope => _scope;

    public ITypeSource Types => _types;

    public void Dispose() => _recovery.Dispose();

    /// <summary>Whether a breakpoint's condition holds where a CPU stands.</summary>
    /// <returns>False with a failure when it cannot be told.</returns>
    public async ValueTask<(bool Holds, string? Failure)> HoldsAsync(int cpu, Expression condition, Tracepoint? at, CancellationToken cancellationToken)
    {
        ForgetWhatModulesChanged();
        await _machine.SelectAsync(cpu, cancellationToken);
        var (registers, _) = await _capture.BeginAsync(await StoppedAsync(cpu, cancellationToken), cancellationToken);
        _taken = null;
        var innermost = new UnwindResult([new UnwoundFrame(registers, UnwindRule.Registers, false)], new UnwindStop.EndOfStack());
        _scope.Enter(innermost, registers, cpu, at is null ? 0 : _records.SkippedInlines(registers.ProgramCounter, at));
        return await _values.HoldsAsync(condition, cancellationToken);
    }

    /// <summary>Where a CPU is and how it came there, with the arguments of every frame, in the shape of a trace's hit.</summary>
    public async ValueTask<TraceRecord.Hit> CallPathAsync(int cpu, Tracepoint? at, long sequence, CancellationToken cancellationToken)
    {
        var (capture, hit) = await TakeAsync(cpu, at, cancellationToken);
        Enter(capture, hit, 0, cpu, at);
        var arguments = await _values.ArgumentsAsync(capture.Stack, cancellationToken);
        if (hit.Arguments.IsEmpty && arguments.Length == hit.Path.Frames.Length)
        {
            hit = hit with { Arguments = await _values.DescribeAsync(arguments, hit.Path, cancellationToken) };
            _taken = _taken!.Value with { Hit = hit };
        }

        return hit with { Sequence = sequence, Tracepoint = at?.Id ?? 0 };
    }

    /// <summary>The stack of a CPU before anything is named.</summary>
    public async ValueTask<UnwindResult> StackAsync(int cpu, CancellationToken cancellationToken) =>
        (await TakeAsync(cpu, null, cancellationToken)).Capture.Stack;

    /// <summary>Evaluates in a frame of a CPU's call path.</summary>
    public async ValueTask<ExpressionOutcome> EvaluateAsync(int cpu, int frame, Expression expression, CancellationToken cancellationToken)
    {
        await EnterAsync(cpu, frame, cancellationToken);
        return await _values.EvaluateAsync(expression, isCondition: false, cancellationToken);
    }

    /// <summary>Where what the expression that was evaluated last named ceases to be: with the return of its frame's function. Null where it named nothing of the kind, or that cannot be told.</summary>
    /// <param name="address">Of what is watched, which a pointer may have led to.</param>
    public async ValueTask<WatchScope?> ScopeAsync(int cpu, int frame, ulong address, CancellationToken cancellationToken)
    {
        if (!_scope.HasNamedLocal)
        {
            return null;
        }

        var (capture, hit) = await TakeAsync(cpu, null, cancellationToken);
        var physical = FrameAt(hit.Path, frame).Physical;
        if (FinishStep.CallerOf(capture.Stack, physical) is not { Mark.IsUser: false } caller)
        {
            return null;
        }

        var own = capture.Stack.Frames[physical];
        var edges = await FrameEdge.FindAsync(_machine, Map, own.LookupAddress, caller.Mark.StackPointer, address, cancellationToken);
        return new WatchScope(caller.Pc, caller.Mark, edges, !edges.Any(e => e.IsBegin) || address >= own.Registers.StackPointer);
    }

    /// <summary>The same, as text for a person.</summary>
    public async ValueTask<TracePrint> PrintAsync(int cpu, int frame, Expression expression, CancellationToken cancellationToken)
    {
        await EnterAsync(cpu, frame, cancellationToken);
        return (await _values.PrintAsync([expression], cancellationToken))[0];
    }

    /// <summary>What is below a value in a tree.</summary>
    public async ValueTask<OpenedValue> OpenAsync(int cpu, int frame, Expression expression, int limit, CancellationToken cancellationToken)
    {
        switch (await EvaluateAsync(cpu, frame, expression, cancellationToken))
        {
            case ExpressionOutcome.Value { Result: var value }:
                var members = await _values.MembersAsync(value, limit, cancellationToken);
                return new OpenedValue(value.Type.Resolved is Symbols.Types.PointerType, members, null);
            case ExpressionOutcome.Failed failed:
                return new OpenedValue(false, [], failed.Message);
            default:
                return new OpenedValue(false, [], "it needs more memory than an expression may read");
        }
    }

    /// <summary>A value as text, in the frame that was chosen last.</summary>
    public ValueTask<string> TextAsync(NamedValue value, PrintOptions options, CancellationToken cancellationToken) =>
        _values.TextAsync(value, options, cancellationToken);

    /// <summary>The locals of a frame, each as text; what is known of them and what is not.</summary>
    public async ValueTask<ImmutableArray<TraceArgument>> LocalsAsync(int cpu, int frame, CancellationToken cancellationToken)
    {
        var (capture, hit) = await EnterAsync(cpu, frame, cancellationToken);
        if (hit.Path.Frames.IsEmpty)
        {
            return [];
        }

        return await _values.LocalsAsync(capture.Stack, FrameAt(hit.Path, frame), hit.Path.Frames[frame].Function, cancellationToken);
    }

    private async ValueTask<(StopCapture Capture, TraceRecord.Hit Hit)> EnterAsync(int cpu, int frame, CancellationToken cancellationToken)
    {
        var (capture, hit) = await TakeAsync(cpu, null, cancellationToken);
        if ((uint)frame >= (uint)hit.Path.Frames.Length && (frame, hit.Path.Frames.Length) != (0, 0))
        {
            throw new TargetException($"there is no frame {frame}: the call path has {hit.Path.Frames.Length}", null);
        }

        Enter(capture, hit, frame, cpu);
        return (capture, hit);
    }

    /// <summary>A CPU that stands in a program has no frame of the kernel: there are its registers, and the kernel's variables.</summary>
    private void Enter(StopCapture capture, TraceRecord.Hit hit, int frame, int cpu, Tracepoint? at = null)
    {
        if (hit.Path.Frames.IsEmpty)
        {
            _scope.Enter(capture.Stack, capture.Registers, cpu);
            return;
        }

        _scope.Enter(capture.Stack, FrameAt(hit.Path, frame), cpu, _records.SkippedInlines(capture.Registers.ProgramCounter, EnteredAt(cpu, capture.Registers.ProgramCounter, at)));
    }

    private async ValueTask<(StopCapture Capture, TraceRecord.Hit Hit)> TakeAsync(int cpu, Tracepoint? at, CancellationToken cancellationToken)
    {
        ForgetWhatModulesChanged();
        var entered = EnteredOn(cpu);
        if (_taken is { } taken && taken.Cpu == cpu && taken.Resumes == _machine.Client.Resumes && taken.Entered == entered && at is null)
        {
            return (taken.Capture, taken.Hit);
        }

        await _machine.SelectAsync(cpu, cancellationToken);
        var capture = await _capture.TakeAsync(await StoppedAsync(cpu, cancellationToken), cancellationToken);
        var clock = _capture.ReadJiffies() is { } jiffies ? new TraceClock(jiffies) : null;
        var hit = _records.Create(0, at, EnteredAt(cpu, capture.Registers.ProgramCounter, at), capture, clock);
        _taken = (cpu, _machine.Client.Resumes, entered, capture, hit);
        return (capture, hit);
    }

    private string? EnteredAt(int cpu, ulong pc, Tracepoint? at) =>
        at is null ? EnteredOn(cpu) : HitRecords.EnteredAt(pc, at);

    private string? EnteredOn(int cpu) => Entered is { } here && here.Cpu == cpu ? here.Function : null;

    private async ValueTask<StopReply.Stopped> StoppedAsync(int cpu, CancellationToken cancellationToken) =>
        new(5, await _machine.ThreadAsync(cpu, cancellationToken), StopReason.Signal.Only);

    /// <summary>Memory was written, or a register: nothing that was read holds.</summary>
    public void Forget() => _taken = null;

    private void ForgetWhatModulesChanged()
    {
        if (_modulesSeen != Map.Modules)
        {
            _modulesSeen = Map.Modules;
            _records.ForgetNames();
            _types.Forget();
            _taken = null;
        }
    }

    /// <summary>A frame of a call path as the unwinder counts: every function that has a stack frame of its own ends one.</summary>
    internal static SelectedFrame FrameAt(CallPath path, int index)
    {
        var (physical, depth) = (0, 0);
        for (var i = 0; i < index; i++)
        {
            var frame = path.Frames[i];
            (physical, depth) = frame.IsInline ? (physical, depth + 1) : (frame.IsTailCall ? physical : physical + 1, 0);
        }

        return new SelectedFrame(index, physical, depth);
    }
}
