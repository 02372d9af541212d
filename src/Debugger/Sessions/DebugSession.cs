using System.Collections.Immutable;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Cpus;
using KTrace.Debugger.Interrupts;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Phases;
using KTrace.Debugger.Stepping;
using KTrace.Debugger.Tracepoints;
using KTrace.Debugger.Values;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tracing;

namespace KTrace.Debugger.Sessions;

/// <summary>
/// A live machine in a person's hands: breakpoints, steps, call paths, values. One caller at a time; <see cref="InterruptAsync"/> alone may come while another call waits.
/// After a lost connection every call throws the reason.
/// </summary>
public sealed class DebugSession : IAsyncDisposable
{
    private readonly RunLoop _loop;
    private readonly SessionKernel _kernel;
    private readonly Stepper _stepper;
    private StepPosition? _position;
    private PhaseLocation? _phase;

    private DebugSession(Machine machine, KernelImage image, ModuleFiles modules, SessionOptions options)
    {
        (Machine, Image) = (machine, image);
        Breakpoints = new BreakpointList(machine);
        _kernel = new SessionKernel(machine, image, modules, Breakpoints, options.BootCode, options.Progress);
        _loop = new RunLoop(machine, new StopJudge(Breakpoints, _kernel, options.Progress, options.EndReason));
        _stepper = new Stepper(_loop, (_, registers) => PlaceOf(registers));
    }

    public Machine Machine { get; }

    /// <summary>The vmlinux that runs or will run in it.</summary>
    public KernelImage Image { get; }

    /// <summary>What is loaded where; null until the kernel was found.</summary>
    public KernelMap? Map => _kernel.Map;

    public BreakpointList Breakpoints { get; }

    /// <summary>Why the machine stands still, or that it is gone.</summary>
    public SessionStop LastStop { get; private set; } = new SessionStop.Stopped(new StopCause.Connected(), 0, 0);

    /// <summary>The CPU that commands mean: the one that stopped, or the one that was chosen since.</summary>
    public int Cpu { get; private set; }

    /// <summary>Begins a session with a machine whose kernel is known.</summary>
    public static async ValueTask<DebugSession> StartAsync(
        KernelTarget target, ModuleFiles modules, SessionOptions? options = null, CancellationToken cancellationToken = default)
    {
        var session = new DebugSession(target.Machine, target.Map.Image, modules, options ?? new SessionOptions());
        await session._kernel.TakeAsync(target.Map, cancellationToken);
        return await session.BeginAsync(cancellationToken);
    }

    /// <summary>Begins a session with a machine whose kernel is not up yet: at its first instruction, say. The kernel's names hold as soon as it has come.</summary>
    public static ValueTask<DebugSession> StartAsync(
        Machine machine, KernelImage image, ModuleFiles modules, SessionOptions? options = null, CancellationToken cancellationToken = default) =>
        new DebugSession(machine, image, modules, options ?? new SessionOptions()).BeginAsync(cancellationToken);

    /// <summary>Lets all CPUs run until there is something to see.</summary>
    /// <exception cref="RspException">The connection broke.</exception>
    public ValueTask<SessionStop> ContinueAsync(CancellationToken cancellationToken = default) =>
        RunAsync(async () =>
        {
            await _kernel.WatchAsync(default);
            return (await _loop.ContinueAsync(default), null);
        }, cancellationToken);

    /// <summary>Steps the chosen CPU as <paramref name="kind"/> says, so many times; the other CPUs stand, except while a call is run through.</summary>
    public ValueTask<SessionStop> StepAsync(StepKind kind, int count = 1, CancellationToken cancellationToken = default) =>
        WalkAsync((stepper, from) => stepper.StepAsync(kind, from, count), cancellationToken);

    /// <summary>Runs until the function of a frame of the call path has returned; of an inlined one, until its code is left.</summary>
    /// <exception cref="TargetException">There is nothing that it returns to.</exception>
    public ValueTask<SessionStop> FinishAsync(int frame = 0, CancellationToken cancellationToken = default) =>
        WalkAsync((stepper, from) => stepper.FinishAsync(from, frame, _kernel.Inspector?.Types), cancellationToken);

    /// <summary>To a line behind this one, or to a place within this frame; at the latest to where the function returns.</summary>
    public ValueTask<SessionStop> UntilAsync(string? place = null, CancellationToken cancellationToken = default) => WalkAsync(
        (stepper, from) => place is null ? stepper.UntilAsync(from) : UntilAsync(stepper, from, place, inFrame: true), cancellationToken);

    /// <summary>To a place; at the latest to where the present function returns.</summary>
    public ValueTask<SessionStop> AdvanceAsync(string place, CancellationToken cancellationToken = default) => WalkAsync(
        (stepper, from) => UntilAsync(stepper, from, place, inFrame: false), cancellationToken);

    /// <summary>Backwards, to the last stop or by an instruction: in a replay whose stub offers it.</summary>
    /// <exception cref="RspException">Unsupported: this stub cannot.</exception>
    public ValueTask<SessionStop> ReverseAsync(bool isStep, CancellationToken cancellationToken = default) =>
        RunAsync(async () => (await _loop.ReverseAsync(isStep, default), null), cancellationToken);

    /// <summary>The phase of boot and the place, also of a machine whose kernel is not up.</summary>
    public ValueTask<PhaseLocation> LocateAsync(CancellationToken cancellationToken = default) => _kernel.Phases.LocateAsync(Machine, Cpu, cancellationToken);

    /// <summary>Who runs on every CPU, and where.</summary>
    public ValueTask<IReadOnlyList<CpuState>> CpusAsync(CancellationToken cancellationToken = default) => CpuStates.ReadAsync(Machine, Map, cancellationToken);

    /// <summary>The kernel's interrupts and the machine's interrupt controllers.</summary>
    /// <exception cref="TargetException">The kernel is not up yet.</exception>
    public ValueTask<TraceRecord.Interrupts> InterruptsAsync(CancellationToken cancellationToken = default) =>
        new InterruptRecords(Machine, Inspector.Map).ReadAsync(null, null, cancellationToken);

    /// <summary>The kernel's types and variables.</summary>
    public ITypeSource Types => Inspector.Types;

    /// <summary>A value as text, in the frame that was asked for last.</summary>
    public ValueTask<string> TextAsync(TypedValue value, CancellationToken cancellationToken = default) =>
        Inspector.TextAsync(new NamedValue("", value), PrintOptions.Default, cancellationToken);

    /// <summary>Memory or registers were changed from outside: what was read at this stop says nothing any more.</summary>
    public void Forget() => _kernel.Inspector?.Forget();

    /// <summary>Stops the guest, or ends the step that is under way; the call that waits reports it. May be called from another task.</summary>
    /// <returns>False when nothing is under way.</returns>
    public ValueTask<bool> InterruptAsync(CancellationToken cancellationToken = default) => _loop.InterruptAsync(cancellationToken);

    /// <summary>Makes commands mean another CPU.</summary>
    /// <exception cref="TargetException">There is no such CPU.</exception>
    public async ValueTask SelectCpuAsync(int cpu, CancellationToken cancellationToken = default)
    {
        await Machine.ThreadAsync(cpu, cancellationToken);
        Cpu = cpu;
    }

    /// <summary>Where the chosen CPU is and how it came there, with the arguments of every frame, in the shape of a trace's hit.</summary>
    public ValueTask<TraceRecord.Hit> CallPathAsync(CancellationToken cancellationToken = default) =>
        Inspector.CallPathAsync(Cpu, null, 0, cancellationToken);

    /// <summary>Evaluates a C expression in a frame of the call path (0 is the innermost).</summary>
    /// <exception cref="ExpressionSyntaxException">The text is no expression.</exception>
    public ValueTask<TracePrint> PrintAsync(string expression, int frame = 0, CancellationToken cancellationToken = default) =>
        Inspector.PrintAsync(Cpu, frame, Expression.Parse(expression), cancellationToken);

    /// <summary>The same, as a value to look into.</summary>
    public ValueTask<ExpressionOutcome> EvaluateAsync(string expression, int frame = 0, CancellationToken cancellationToken = default) =>
        Inspector.EvaluateAsync(Cpu, frame, Expression.Parse(expression), cancellationToken);

    /// <summary>The members of a structure, elements of an array or what a pointer points to, each with its text.</summary>
    /// <param name="limit">So many at most.</param>
    /// <exception cref="ExpressionSyntaxException">The text is no expression.</exception>
    public ValueTask<OpenedValue> OpenAsync(string expression, int frame = 0, int limit = 256, CancellationToken cancellationToken = default) =>
        Inspector.OpenAsync(Cpu, frame, Expression.Parse(expression), limit, cancellationToken);

    /// <summary>The local variables of a frame.</summary>
    public ValueTask<ImmutableArray<TraceArgument>> LocalsAsync(int frame = 0, CancellationToken cancellationToken = default) =>
        Inspector.LocalsAsync(Cpu, frame, cancellationToken);

    /// <summary>Watches what an expression names in memory, and stops where its condition (behind <c>if</c>) holds.</summary>
    /// <param name="text">An expression, perhaps with <c>if CONDITION</c> behind it.</param>
    /// <param name="kind">A write watchpoint stops only when the value has changed, as gdb's do.</param>
    /// <param name="frame">Of the call path. What names its variables is deleted when its function returns (<see cref="StopCause.VariableGone"/>).</param>
    /// <exception cref="TargetException">The expression has no value here, or lies in no memory.</exception>
    public async ValueTask<Breakpoint> WatchAsync(
        string text, BreakpointKind kind, int frame = 0, BreakpointOptions? options = null, CancellationToken cancellationToken = default)
    {
        var end = 0;
        var expression = Expression.ParsePrefix(text, ref end);
        var actions = end < text.Length ? TracepointActions.Parse(text, end) : TracepointActions.None;
        var value = await Inspector.EvaluateAsync(Cpu, frame, expression, cancellationToken) switch
        {
            ExpressionOutcome.Value found => found.Result,
            ExpressionOutcome.Failed failed => throw new TargetException(failed.Message, null),
            _ => throw new TargetException($"{expression.Text} needs more memory than an expression may read", null),
        };
        var address = value.Address ?? throw new TargetException($"{expression.Text} is not in memory", "watch memory by its address: watch *(long *)0x…");
        var scope = await Inspector.ScopeAsync(Cpu, frame, address, cancellationToken);
        return await Breakpoints.WatchAsync(text, kind, address, (int)Math.Min(value.Type.Size, int.MaxValue), actions, options ?? new BreakpointOptions(kind), scope, cancellationToken);
    }

    /// <summary>Leaves the machine running and without breakpoints.</summary>
    public async ValueTask DetachAsync(CancellationToken cancellationToken = default)
    {
        await Machine.Sites.RemoveAllAsync(cancellationToken);
        await Machine.Client.DetachAsync(cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        _stepper.Dispose();
        _kernel.Dispose();
        await Machine.DisposeAsync();
    }

    private StopInspector Inspector
    {
        get
        {
            var inspector = _kernel.Inspector ?? throw new TargetException("the kernel is not up yet: it has no call paths and no values", "continue until it is, or step by instructions");
            inspector.Entered = EnteredFunction() is { } entered ? (Cpu, entered) : null;
            return inspector;
        }
    }

    private async ValueTask<DebugSession> BeginAsync(CancellationToken cancellationToken)
    {
        Cpu = Machine.StoppedCpu;
        LastStop = new SessionStop.Stopped(new StopCause.Connected(), Cpu, await Machine.LinearPcAsync(Cpu, cancellationToken));
        return this;
    }

    private ValueTask<SessionStop> WalkAsync(
        Func<Stepper, StepPosition, ValueTask<StepResult>> walk, CancellationToken cancellationToken) => RunAsync(async () =>
    {
        await _kernel.WatchAsync(default);
        _phase = await LocateAsync(default);
        var from = _position is { } known && known.Cpu == Cpu ? known : await _stepper.PositionAsync(Cpu, EnteredFunction(), default);
        var result = await walk(_stepper, from);
        if (result.Stop is not SessionStop.Stopped stopped)
        {
            return (result.Stop, null);
        }

        // A step may have led into another phase, or loaded CS with another base.
        var pc = await Machine.LinearPcAsync(stopped.Cpu, default);
        return (stopped with { ProgramCounter = pc }, stopped.Cause is StopCause.AtBreakpoint ? null : result.Position! with { ProgramCounter = pc });
    }, cancellationToken);

    /// <summary>Names are the kernel's as soon as it is there; before, those of the phase in which the step began.</summary>
    private StepPlace PlaceOf(RegisterSet registers)
    {
        var (pc, phase) = (registers.ProgramCounter, _phase!);
        return FrameMark.IsInUserMode(registers) ? new StepPlace(pc, null)
            : Map is { } map && map.Unwind.IsText(pc) ? new StepPlace(pc, map)
            : phase.Phase is BootPhase.Kernel or BootPhase.User ? new StepPlace(pc, null)
            : new StepPlace(phase.CodeBits == 64 ? pc : (phase.CodeBase + pc) & uint.MaxValue, phase.Map);
    }

    private ValueTask<StepResult> UntilAsync(Stepper stepper, StepPosition from, string place, bool inFrame)
    {
        var (addresses, function) = Breakpoints.Resolve(place);
        return stepper.UntilAsync(from, addresses, function, inFrame);
    }

    /// <summary>The inlined function at whose begin the chosen CPU stands, and which counts as entered: a step led into it, or a breakpoint has stopped there.</summary>
    private string? EnteredFunction() =>
        _position is { } position ? position.Cpu == Cpu && Map?.Symbolize(position.ProgramCounter) is { } levels && levels.Skip(position.SkippedInlines).FirstOrDefault() is { IsInline: true } level ? level.Function : null
        : LastStop is SessionStop.Stopped stopped && stopped.Cpu != Cpu ? null
        : LastStop is SessionStop.Stopped { Cause: StopCause.AtBreakpoint { Breakpoints: var reached }, ProgramCounter: var pc }
        ? reached.FirstOrDefault(b => b.Place?.IsInlineAt(pc) == true)?.Place!.Symbol
        : null;

    /// <param name="command">Takes no token: cancelling interrupts it, and it ends with a stop.</param>
    private async ValueTask<SessionStop> RunAsync(Func<ValueTask<(SessionStop Stop, StepPosition? Position)>> command, CancellationToken cancellationToken)
    {
        if (LastStop is SessionStop.Ended ended)
        {
            throw new TargetException($"there is no machine any more: {ended.Reason}", "start it again");
        }

        if (_kernel.Inspector is { } inspector)
        {
            inspector.Entered = null;
        }

        StepPosition? position = null;
        LastStop = await _loop.DoAsync(async () =>
        {
            (var stop, position) = await command();
            return stop;
        }, cancellationToken);
        _position = position;
        if (LastStop is SessionStop.Stopped stopped)
        {
            Cpu = stopped.Cpu;
            if (stopped.Cause is StopCause.AtBreakpoint { Breakpoints: var reached })
            {
                await DropTemporaryAsync(reached);
            }
        }

        return LastStop;
    }

    private async ValueTask DropTemporaryAsync(ImmutableArray<Breakpoint> reached)
    {
        foreach (var temporary in reached.Where(b => b.IsTemporary))
        {
            await Breakpoints.DeleteAsync(temporary, CancellationToken.None);
        }
    }
}
