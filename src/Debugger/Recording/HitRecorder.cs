using System.Collections.Immutable;
using System.Diagnostics;
using KTrace.Debugger.Interrupts;
using KTrace.Debugger.NonStop;
using KTrace.Debugger.Stepping;
using KTrace.Debugger.Tracepoints;
using KTrace.Debugger.Values;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tracing;

namespace KTrace.Debugger.Recording;

/// <summary>
/// One stop after another: ask the conditions, take what needs the guest to stand still, let it go, then name and write while it runs.
/// </summary>
internal sealed class HitRecorder : IDisposable
{
    private readonly KernelTarget _target;
    private readonly ArmedTracepoints _breakpoints;
    private readonly TraceWriter _writer;
    private readonly IRecordingProgress? _progress;
    private readonly RecorderLimits _limits;
    private readonly HitNumbers _numbers;
    private readonly HitCapture _capture;
    private readonly HitRecords _records;
    private readonly RememberedTypes _types;
    private readonly FrameRecovery _recovery;
    private readonly StopScope _scope;
    private readonly HitValues _values;
    private readonly InterruptRecords _interrupts;
    private readonly ReturnWatch _returns = new();
    private readonly PutOffInstructions _putOff;
    private readonly HashSet<(int Tracepoint, string Failure)> _failures = [];
    private readonly RegisterDescription _pc;
    private readonly RspCommand[] _skip = new RspCommand[2];
    private readonly RspOutcome[] _skipOutcomes = new RspOutcome[2];
    private double _firstHit;
    private double _lastHit;

    /// <param name="numbers">Shared with whatever else writes hits into the same trace.</param>
    public HitRecorder(
        KernelTarget target, ArmedTracepoints breakpoints, TraceWriter writer, RecorderLimits limits, HitNumbers numbers, IRecordingProgress? progress)
    {
        _numbers = numbers;
        _target = target;
        _breakpoints = breakpoints;
        _writer = writer;
        _limits = limits;
        _progress = progress;
        _capture = new HitCapture(target.Client, target.Map, target.Memory.Ram);
        _records = new HitRecords(target.Map);
        _types = new RememberedTypes(new KernelTypes(target.Map));
        _recovery = new FrameRecovery(target.Map);
        var variables = new FrameVariables(target.Map) { Recovery = _recovery };
        _scope = new StopScope(target.Map, _types, _capture.Memory, variables, _capture.Tasks);
        _values = new HitValues(_capture.Memory, _scope, variables);
        _interrupts = new InterruptRecords(target.Machine, target.Map);
        _putOff = new PutOffInstructions(target.Machine);
        _pc = RegisterBridge.ProgramCounterIn(target.Client.Layout, target.Map.Image.Architecture);
    }

    /// <summary>Walks stacks, where the guest's code is not the kernel's alone.</summary>
    public Func<RegisterSet, IMemoryReader, UnwindResult>? Unwinder
    {
        get => _capture.Unwinder;
        set => _capture.Unwinder = value;
    }

    /// <summary>What was counted for <c>sample</c> and <c>first</c>.</summary>
    public RequestCounts Counts { get; } = new();

    /// <summary>Hits that were written here; a trace may have others.</summary>
    public long Hits { get; private set; }

    /// <summary>The guest's time at the last stop.</summary>
    public TraceClock? Clock { get; private set; }

    /// <summary>Wall-clock seconds from the first hit to the last; null with fewer than two.</summary>
    public double? ActiveSeconds => Hits > 1 ? _lastHit - _firstHit : null;

    /// <summary>Code was loaded or freed: addresses may mean something else now. What is kept by code for values sees to that itself.</summary>
    public void ForgetNames()
    {
        _records.ForgetNames();
        _types.Forget();
    }

    public void Dispose() => _recovery.Dispose();

    /// <param name="onStop">Called first, with the registers: a module may have come, or a moment of the boot.</param>
    public async ValueTask OnStopAsync(
        StopReply.Stopped stop, Stopwatch elapsed, Func<RegisterSet, CancellationToken, ValueTask> onStop, CancellationToken cancellationToken)
    {
        var (registers, cpu) = await _capture.BeginAsync(stop, cancellationToken);
        var pc = registers.ProgramCounter;
        Clock = _capture.ReadJiffies() is { } jiffies ? new TraceClock(jiffies) : null;
        if (await _putOff.IsReturnAsync(cpu, registers, cancellationToken))
        {
            await LeaveAsync(stop, cpu, registers, await _capture.CodeAsync(cancellationToken), cancellationToken);
            return;
        }

        await onStop(registers, cancellationToken);
        await WriteReturnsAsync(registers, cpu, cancellationToken);
        var here = await WithConditionsAsync(_breakpoints.At(pc), registers, cpu, cancellationToken);
        if (here.Count == 0)
        {
            await LeaveAsync(stop, cpu, registers, await _capture.CodeAsync(cancellationToken), cancellationToken);
            return;
        }

        var capture = await _capture.CompleteAsync(cancellationToken);
        var counted = here.Take((int)Math.Min(here.Count, _numbers.Remaining)).ToList();
        var isLast = counted.Count == _numbers.Remaining;
        var needsGuest = counted.Exists(NeedsGuest);
        if (!needsGuest && !isLast)
        {
            await LeaveAsync(stop, cpu, registers, capture.Code, cancellationToken);
        }

        var hits = new List<TraceRecord.Hit>(counted.Count);
        foreach (var tracepoint in counted)
        {
            hits.Add(await TakeAsync(tracepoint, capture, _numbers.Taken + hits.Count + 1, cancellationToken));
        }

        var interrupts = counted.Exists(WantsInterrupts) ? await _interrupts.ReadAsync(null, Clock, cancellationToken) : null;
        if (needsGuest && !isLast)
        {
            await LeaveAsync(stop, cpu, registers, capture.Code, cancellationToken);
        }

        foreach (var hit in hits)
        {
            _lastHit = elapsed.Elapsed.TotalSeconds;
            _firstHit = Hits == 0 ? _lastHit : _firstHit;
            Hits++;
            _numbers.Take();
            _writer.Write(hit);
            _progress?.Hit(hit);
        }

        for (var i = 0; interrupts is not null && i < hits.Count; i++)
        {
            if (WantsInterrupts(counted[i]))
            {
                _writer.Write(interrupts with { HitSequence = hits[i].Sequence });
            }
        }
    }

    /// <summary>Writes the interrupts of a guest that stands, outside of any hit.</summary>
    public async ValueTask WriteInterruptsAsync(CancellationToken cancellationToken) => _writer.Write(await _interrupts.ReadAsync(null, Clock, cancellationToken));

    private async ValueTask<IReadOnlyList<Tracepoint>> WithConditionsAsync(
        IReadOnlyList<Tracepoint> here, RegisterSet registers, int cpu, CancellationToken cancellationToken)
    {
        if (here.All(t => t.Request.Actions is { Condition: null, Sample: 1, First: null }))
        {
            return here;
        }

        var holding = new List<Tracepoint>(here.Count);
        foreach (var tracepoint in here)
        {
            if (tracepoint.Request.Actions.Condition is { } condition)
            {
                _scope.Enter(Innermost(registers), registers, cpu, _records.SkippedInlines(registers.ProgramCounter, tracepoint));
                if (!await HoldsAsync(tracepoint, condition, cancellationToken))
                {
                    continue;
                }
            }

            if (Counts.Takes(tracepoint.Request))
            {
                holding.Add(tracepoint);
            }
        }

        return holding;
    }

    private async ValueTask<bool> HoldsAsync(Tracepoint tracepoint, Expression condition, CancellationToken cancellationToken)
    {
        var (holds, failure) = await _values.HoldsAsync(condition, cancellationToken);
        WarnOnce(tracepoint, failure);
        return holds;
    }

    /// <summary>Whether a hit takes more than what was captured, so that the guest has to wait for it.</summary>
    private bool NeedsGuest(Tracepoint tracepoint) => _limits.Arguments || WantsInterrupts(tracepoint) || tracepoint.Request.Actions is not { Prints.IsEmpty: true, Return: null };

    private bool WantsInterrupts(Tracepoint tracepoint) => _limits.Interrupts || tracepoint.Request.Actions.Interrupts;

    private async ValueTask<TraceRecord.Hit> TakeAsync(Tracepoint tracepoint, StopCapture capture, long sequence, CancellationToken cancellationToken)
    {
        var hit = _records.Create(sequence, tracepoint, capture, Clock);
        var actions = tracepoint.Request.Actions;
        if (!NeedsGuest(tracepoint))
        {
            return hit;
        }

        _scope.Enter(capture.Stack, capture.Registers, capture.Cpu, _records.SkippedInlines(capture.Registers.ProgramCounter, tracepoint));
        var arguments = await _values.ArgumentsAsync(capture.Stack, cancellationToken);
        if (_limits.Arguments && arguments.Length == hit.Path.Frames.Length)
        {
            _capture.Memory.BeginNoting();
            hit = hit with { Arguments = await _values.DescribeAsync(arguments, hit.Path, cancellationToken) };
            _capture.Expect(_capture.Memory.EndNoting());
        }

        if (!actions.Prints.IsEmpty)
        {
            hit = hit with { Prints = await _values.PrintAsync(actions.Prints, cancellationToken) };
        }

        if (actions.Return is not null)
        {
            await AwaitReturnAsync(tracepoint, capture, sequence, arguments.IsEmpty ? [] : arguments[0], cancellationToken);
        }

        return hit;
    }

    private async ValueTask AwaitReturnAsync(
        Tracepoint tracepoint, StopCapture capture, long sequence, ImmutableArray<FrameVariable> arguments, CancellationToken cancellationToken)
    {
        if (!tracepoint.IsEntryAt(capture.Registers.ProgramCounter) || capture.Stack.Frames is not [_, { IsCall: true } caller, ..])
        {
            WarnOnce(tracepoint, "its return cannot be waited for: the hit is not at the entry of a function that was called");
            return;
        }

        var returned = new AwaitedReturn(
            tracepoint, sequence, caller.ProgramCounter, caller.Registers.StackPointer, arguments, ReturnTypeOf(tracepoint));
        if (_returns.TryAdd(returned))
        {
            await _breakpoints.ArmReturnAsync(returned.Address, cancellationToken);
        }
        else
        {
            WarnOnce(tracepoint, "too many calls of it have not returned yet: the return of some is not recorded");
        }
    }

    private CType? ReturnTypeOf(Tracepoint tracepoint) =>
        _types.FindFunction(tracepoint.Symbol) is { Type: FunctionType { Returns: var type } } && type.Resolved is not VoidType ? type : null;

    private async ValueTask WriteReturnsAsync(RegisterSet registers, int cpu, CancellationToken cancellationToken)
    {
        var returned = _returns.Take(registers.ProgramCounter, registers.StackPointer, out var isEmpty);
        foreach (var one in returned)
        {
            var actions = one.Tracepoint.Request.Actions.Return!;
            _scope.EnterReturn(registers, cpu, one.Arguments, ReturnValue.Of(one.ReturnType, registers));
            if (actions.Condition is { } condition && !await HoldsAsync(one.Tracepoint, condition, cancellationToken))
            {
                continue;
            }

            _writer.Write(new TraceRecord.Return
            {
                HitSequence = one.Hit, Cpu = cpu, Clock = Clock, Prints = await _values.PrintAsync(actions.Prints, cancellationToken),
            });
            if (actions.Interrupts)
            {
                _writer.Write(await _interrupts.ReadAsync(one.Hit, Clock, cancellationToken) with { AtReturn = true });
            }
        }

        if (isEmpty)
        {
            await _breakpoints.DisarmReturnAsync(registers.ProgramCounter, cancellationToken);
        }
    }

    /// <summary>Past the breakpoint and on: without a stop where its instruction does nothing, with one step of this CPU otherwise.</summary>
    private async ValueTask LeaveAsync(StopReply.Stopped stop, int cpu, RegisterSet registers, ReadOnlyMemory<byte> code, CancellationToken cancellationToken)
    {
        var client = _target.Client;
        var skipped = NopSkip.LengthAt(code.Span, registers);
        if (skipped > 0)
        {
            var next = registers.ProgramCounter + (ulong)skipped;
            if (client.Profile.ContinuesFromAddress)
            {
                await client.SendAsync(new ContinueFrom(next), cancellationToken);
                return;
            }

            _capture.Block.SetValue(_pc, next);
            _skip[0] = new WriteRegister(_pc, _capture.Block);
            _skip[1] = client.ContinueCommand;
            await client.SendAndRunAsync(_skip, _skipOutcomes, cancellationToken);
            return;
        }

        // Another CPU that came upon a breakpoint while the machine was being stopped leaves QEMU with a second stop to make: it makes it before this one's first instruction, and the breakpoint would be hit again.
        for (var tries = 0; tries < PutOffInstructions.MaximumSteps; tries++)
        {
            await client.StepAsync(stop.Thread, cancellationToken: cancellationToken);
            if (await client.WaitForStopAsync(cancellationToken) is not StopReply.Stopped)
            {
                return;
            }

            if (await _putOff.AfterStepAsync(cpu, registers, cancellationToken) != StepEnd.Nothing)
            {
                break;
            }
        }

        await client.ContinueAsync(cancellationToken);
    }

    private static UnwindResult Innermost(RegisterSet registers) =>
        new([new UnwoundFrame(registers, UnwindRule.Registers, false)], new UnwindStop.EndOfStack());

    private void WarnOnce(Tracepoint tracepoint, string? failure)
    {
        if (failure is not null && _failures.Add((tracepoint.Id, failure)))
        {
            var text = $"{tracepoint.Request.Text}: {failure}";
            _writer.Write(new TraceRecord.Warning(text));
            _progress?.Note(text, true);
        }
    }
}
