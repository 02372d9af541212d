using System.Collections.Immutable;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Stepping;
using KTrace.Debugger.Tracepoints;
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
public sealed class DebugSession : IStopJudge, IAsyncDisposable
{
    private readonly ModuleFiles _modules;
    private readonly ISessionProgress? _progress;
    private readonly RunLoop _loop;
    private ModuleFollower? _follower;
    private StopInspector? _inspector;
    private long _hits;

    private DebugSession(Machine machine, KernelImage image, ModuleFiles modules, ISessionProgress? progress)
    {
        (Machine, Image, _modules, _progress) = (machine, image, modules, progress);
        _loop = new RunLoop(machine, this);
        Breakpoints = new BreakpointList(machine);
    }

    public Machine Machine { get; }

    /// <summary>The vmlinux that runs or will run in it.</summary>
    public KernelImage Image { get; }

    /// <summary>What is loaded where; null until the kernel was found.</summary>
    public KernelMap? Map => _inspector?.Map;

    public BreakpointList Breakpoints { get; }

    /// <summary>Why the machine stands still, or that it is gone.</summary>
    public SessionStop LastStop { get; private set; } = new SessionStop.Stopped(new StopCause.Connected(), 0, 0);

    /// <summary>The CPU that commands mean: the one that stopped, or the one that was chosen since.</summary>
    public int Cpu { get; private set; }

    /// <summary>Says why the machine ended (QMP knows), for whoever started it; null: powered off.</summary>
    public Func<Task<string?>>? EndReason { get; init; }

    /// <summary>Begins a session with a machine whose kernel is known.</summary>
    public static async ValueTask<DebugSession> StartAsync(
        KernelTarget target, ModuleFiles modules, ISessionProgress? progress, CancellationToken cancellationToken, Func<Task<string?>>? endReason = null)
    {
        var session = new DebugSession(target.Machine, target.Map.Image, modules, progress) { EndReason = endReason };
        await session.TakeKernelAsync(target.Map, cancellationToken);
        session.Cpu = target.Machine.StoppedCpu;
        var registers = await target.Machine.RegistersAsync(null, cancellationToken);
        session.LastStop = new SessionStop.Stopped(new StopCause.Connected(), session.Cpu, registers.ProgramCounter);
        return session;
    }

    /// <summary>Begins a session with a machine whose kernel is not up yet: at its first instruction, say.</summary>
    public static async ValueTask<DebugSession> StartAsync(
        Machine machine, KernelImage image, ModuleFiles modules, ISessionProgress? progress, CancellationToken cancellationToken, Func<Task<string?>>? endReason = null)
    {
        var session = new DebugSession(machine, image, modules, progress) { EndReason = endReason };
        session.Cpu = machine.StoppedCpu;
        var registers = await machine.RegistersAsync(null, cancellationToken);
        session.LastStop = new SessionStop.Stopped(new StopCause.Connected(), session.Cpu, registers.ProgramCounter);
        return session;
    }

    /// <summary>Lets all CPUs run until there is something to see.</summary>
    /// <exception cref="RspException">The connection broke.</exception>
    public ValueTask<SessionStop> ContinueAsync(CancellationToken cancellationToken = default) =>
        RunAsync(() => _loop.ContinueAsync(cancellationToken));

    /// <summary>Executes instructions of the chosen CPU, one by one; the other CPUs stand.</summary>
    public ValueTask<SessionStop> StepInstructionAsync(int count = 1, CancellationToken cancellationToken = default) => RunAsync(async () =>
    {
        var registers = await Machine.RegistersAsync(Cpu, cancellationToken);
        for (var i = 0; i < count; i++)
        {
            switch (await _loop.StepInstructionAsync(Cpu, cancellationToken))
            {
                case StepStop.Interrupted interrupted:
                    return interrupted.Stop;
                case StepStop.Stepped stepped:
                    registers = stepped.Registers;
                    break;
            }
        }

        return new SessionStop.Stopped(new StopCause.StepDone(), Cpu, registers.ProgramCounter);
    });

    /// <summary>Steps the chosen CPU as <paramref name="kind"/> says, so many times.</summary>
    public ValueTask<SessionStop> StepAsync(StepKind kind, int count = 1, CancellationToken cancellationToken = default) =>
        kind == StepKind.Instruction ? StepInstructionAsync(count, cancellationToken) : throw new NotImplementedException();

    /// <summary>Runs until the function of a frame has returned.</summary>
    public ValueTask<SessionStop> FinishAsync(int frame = 0, CancellationToken cancellationToken = default) => throw new NotImplementedException();

    public ValueTask<SessionStop> UntilAsync(string? place, CancellationToken cancellationToken = default) => throw new NotImplementedException();

    public ValueTask<SessionStop> AdvanceAsync(string place, CancellationToken cancellationToken = default) => throw new NotImplementedException();

    public ValueTask<SessionStop> ReverseAsync(bool isStep, CancellationToken cancellationToken = default) => throw new NotImplementedException();

    /// <summary>The phase of boot and the place, in words; for a machine whose kernel is not up as well.</summary>
    public async ValueTask<string> LocationAsync(CancellationToken cancellationToken = default)
    {
        var pc = (await Machine.RegistersAsync(Cpu, cancellationToken)).ProgramCounter;
        return Map?.NameOf(pc) ?? $"0x{pc:x}";
    }

    /// <summary>The kernel's types and variables.</summary>
    public ITypeSource Types => Inspector.Types;

    /// <summary>A value as text, in the frame that was asked for last.</summary>
    public ValueTask<string> TextAsync(TypedValue value, CancellationToken cancellationToken = default) =>
        Inspector.TextAsync(new NamedValue("", value), PrintOptions.Default, cancellationToken);

    /// <summary>Memory or registers were changed from outside: what was read at this stop says nothing any more.</summary>
    public void Forget() => _inspector?.Forget();

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

    /// <summary>The local variables of a frame.</summary>
    public ValueTask<ImmutableArray<TraceArgument>> LocalsAsync(int frame = 0, CancellationToken cancellationToken = default) =>
        Inspector.LocalsAsync(Cpu, frame, cancellationToken);

    /// <summary>Watches what an expression names in memory, and stops where its condition (behind <c>if</c>) holds.</summary>
    /// <param name="text">An expression, perhaps with <c>if CONDITION</c> behind it.</param>
    /// <param name="kind">A write watchpoint stops only when the value has changed, as gdb's do.</param>
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
        return value.Address is { } address
            ? await Breakpoints.WatchAsync(text, kind, address, (int)Math.Min(value.Type.Size, int.MaxValue), actions, options ?? new BreakpointOptions(kind), cancellationToken)
            : throw new TargetException($"{expression.Text} is not in memory", "watch memory by its address: watch *(long *)0x…");
    }

    /// <summary>Leaves the machine running and without breakpoints.</summary>
    public async ValueTask DetachAsync(CancellationToken cancellationToken = default)
    {
        await Machine.Sites.RemoveAllAsync(cancellationToken);
        await Machine.Client.DetachAsync(cancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        _inspector?.Dispose();
        await Machine.DisposeAsync();
    }

    async ValueTask<StopCause?> IStopJudge.OnArrivalAsync(StopReply.Stopped reply, int cpu, RegisterSet registers, CancellationToken cancellationToken)
    {
        var pc = registers.ProgramCounter;
        if (_follower?.IsMine(pc) == true && await _follower.OnStopAsync(registers, cancellationToken) is { } happened)
        {
            await OnModuleAsync(happened, cancellationToken);
        }

        if (reply.Reason is StopReason.Watchpoint touched && Breakpoints.Watching(touched.Address) is { } watchpoint
            && await OnTouchedAsync(watchpoint, touched, cpu, cancellationToken) is { } seen)
        {
            return seen;
        }

        var stopping = ImmutableArray.CreateBuilder<Breakpoint>();
        foreach (var breakpoint in Breakpoints.At(pc))
        {
            if (await CountsAsync(breakpoint, cpu, cancellationToken))
            {
                await KeepAsync(breakpoint, cpu, stopping, cancellationToken);
            }
        }

        return stopping.Count == 0 ? null : new StopCause.AtBreakpoint(stopping.ToImmutable());
    }

    async ValueTask<string> IStopJudge.EndAsync(StopReply reply) =>
        EndReason is { } ask && await ask() is { } words ? words : reply is StopReply.Terminated { Signal: var signal } ? $"ended by signal {signal}" : "the guest powered off";

    private StopInspector Inspector => _inspector
        ?? throw new TargetException("the kernel is not up yet: it has no call paths and no values", "continue until it is, or step by instructions");

    private async ValueTask<SessionStop> RunAsync(Func<ValueTask<SessionStop>> command)
    {
        if (LastStop is SessionStop.Ended ended)
        {
            throw new TargetException($"there is no machine any more: {ended.Reason}", "start it again");
        }

        LastStop = await _loop.DoAsync(command);
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

    private async ValueTask TakeKernelAsync(KernelMap map, CancellationToken cancellationToken)
    {
        _inspector?.Dispose();
        _inspector = new StopInspector(Machine, map);
        _follower = new ModuleFollower(Machine, map, _modules);
        if (await _follower.ArmAsync(cancellationToken) is { } lack)
        {
            _progress?.Note(lack, true);
        }

        foreach (var failure in await Breakpoints.OnKernelAsync(map, _modules, cancellationToken))
        {
            _progress?.Note(failure, true);
        }
    }

    private async ValueTask OnModuleAsync(ModuleEvent happened, CancellationToken cancellationToken)
    {
        _progress?.Module(happened);
        switch (happened)
        {
            case ModuleEvent.Loading { Loaded: var loaded }:
                await Breakpoints.OnModuleAsync(loaded.Module, cancellationToken);
                foreach (var warning in loaded.Warnings)
                {
                    _progress?.Note(warning, true);
                }

                break;
            case ModuleEvent.Unloaded { Module: var gone }:
                await Breakpoints.OnModuleGoneAsync(gone, cancellationToken);
                break;
        }
    }

    private async ValueTask<StopCause?> OnTouchedAsync(Breakpoint watchpoint, StopReason.Watchpoint touched, int cpu, CancellationToken cancellationToken)
    {
        var watched = watchpoint.Watched!.Value;
        var before = watchpoint.Value;
        var now = await Breakpoints.ReadAsync(watched.Address, watched.Length, cancellationToken);
        watchpoint.Value = now;
        var isUnchanged = watchpoint.Kind == BreakpointKind.WriteWatchpoint && watched.Length <= 8 && before == now;
        return !isUnchanged && await CountsAsync(watchpoint, cpu, cancellationToken)
            ? new StopCause.AtWatchpoint(watchpoint, touched.Kind, touched.Address, before, now)
            : null;
    }

    /// <summary>Whether an arrival counts: of the right CPU, with a condition that holds, and after those that are to be ignored.</summary>
    private async ValueTask<bool> CountsAsync(Breakpoint breakpoint, int cpu, CancellationToken cancellationToken)
    {
        if (breakpoint.Cpu is { } only && only != cpu)
        {
            return false;
        }

        if (breakpoint.Actions.Condition is { } condition)
        {
            var (holds, failure) = _inspector is null
                ? (true, "the kernel is not up yet: its condition cannot be told")
                : await _inspector.HoldsAsync(cpu, condition, breakpoint.Place, cancellationToken);
            if (failure is not null)
            {
                // A person who waits for a stop is told, as gdb does, instead of waiting for ever.
                _progress?.Note($"breakpoint {breakpoint.Number}: {failure}", true);
                holds = true;
            }

            if (!holds)
            {
                return false;
            }
        }

        breakpoint.Hits++;
        if (breakpoint.IgnoreCount > 0)
        {
            breakpoint.IgnoreCount--;
            return false;
        }

        return true;
    }

    /// <summary>A tracepoint's hit is kept and the guest goes on; any other stops.</summary>
    private async ValueTask KeepAsync(Breakpoint breakpoint, int cpu, ImmutableArray<Breakpoint>.Builder stopping, CancellationToken cancellationToken)
    {
        if (!breakpoint.IsTracepoint || _inspector is null)
        {
            stopping.Add(breakpoint);
            return;
        }

        var hit = await _inspector.CallPathAsync(cpu, breakpoint.Place, ++_hits, cancellationToken);
        _progress?.Hit(breakpoint, hit);
    }

    private async ValueTask DropTemporaryAsync(ImmutableArray<Breakpoint> reached)
    {
        foreach (var temporary in reached.Where(b => b.IsTemporary))
        {
            await Breakpoints.DeleteAsync(temporary, CancellationToken.None);
        }
    }
}
