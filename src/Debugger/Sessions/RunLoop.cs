// From one resume to the stop that a person is to see. Whatever comes up on the way (modules, breakpoints whose condition is false, tracepoints, another
// task at a step's temporary breakpoint) is handled here, once, when a CPU arrives at an address; leaving the address again is no second arrival.
//
// Facts about stubs that this rests on (docs/rsp.md): `c` from an address with a breakpoint stops there at once, a step goes past it; a step moves one CPU
// and leaves the others; an interrupt's stop may lie on a breakpoint that was not hit yet.
using System.Collections.Immutable;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Stepping;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Sessions;

/// <summary>What the loop asks at stops; the session knows modules, conditions and the kernel.</summary>
internal interface IStopJudge
{
    /// <summary>A CPU has arrived at an address, or touched watched memory. What is not for a person is handled, and null is returned: the guest goes on.</summary>
    /// <param name="pc">Linear.</param>
    ValueTask<StopCause?> OnArrivalAsync(StopReply.Stopped reply, int cpu, ulong pc, RegisterSet registers, CancellationToken cancellationToken);

    /// <summary>How long the guest may run before it is stopped for a look that no person asked for; null: as long as it likes.</summary>
    TimeSpan? LookInterval { get; }

    ValueTask LookAsync(CancellationToken cancellationToken);

    /// <summary>Why there is no machine any more, in words.</summary>
    ValueTask<string> EndAsync(StopReply reply);
}

/// <summary>Resumes the machine until something is to be seen. One caller at a time; only <see cref="InterruptAsync"/> may come meanwhile.</summary>
internal sealed class RunLoop(Machine machine, IStopJudge judge) : IRunControl
{
    // An address where nothing is set, and nobody asked to stop: a breakpoint that was just removed, or a trap of the guest's own.
    private const int MaximumStrays = 16;

    private readonly Dictionary<int, ulong> _arrived = [];
    private readonly PutOffInstructions _putOff = new(machine);
    private volatile bool _isInterrupted;
    private volatile bool _isUnderWay;
    private bool _isLook;

    public Machine Machine => machine;

    /// <summary>
    /// Asks what is under way to end: the machine to stop if it runs, and a step of many pieces to begin no further one. May be called while another task waits for it.
    /// </summary>
    /// <returns>False when nothing is under way.</returns>
    public async ValueTask<bool> InterruptAsync(CancellationToken cancellationToken)
    {
        if (!_isUnderWay)
        {
            return false;
        }

        _isInterrupted = true;
        await machine.Client.InterruptAsync(cancellationToken);
        return true;
    }

    /// <summary>
    /// All of one command of a person; an interrupt ends it as a whole. Cancelling is an interrupt: the command ends with a stop like any other, and the session is usable.
    /// </summary>
    public async ValueTask<SessionStop> DoAsync(Func<ValueTask<SessionStop>> command, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        _isInterrupted = false;
        _isUnderWay = true;
        try
        {
            await using var cancelling = cancellationToken.Register(() => _ = TryInterruptAsync());
            return await command();
        }
        catch (RspException) when (machine.Client.State == RspState.Exited)
        {
            // The machine ended while something was asked of it: no broken peer, but the end.
            return new SessionStop.Ended(await judge.EndAsync(machine.Client.LastStop));
        }
        finally
        {
            _isUnderWay = false;
        }
    }

    /// <summary>Runs until there is something to see.</summary>
    public async ValueTask<SessionStop> ContinueAsync(CancellationToken cancellationToken) =>
        ((StepStop.Interrupted)await RunToAsync([], static (_, _) => false, cancellationToken)).Stop;

    /// <summary>Backwards to the last breakpoint, or by an instruction; or to where the recording begins.</summary>
    public async ValueTask<SessionStop> ReverseAsync(bool isStep, CancellationToken cancellationToken)
    {
        await machine.Client.SendAsync(isStep ? new ReverseStep() : new ReverseContinue(), cancellationToken);
        var reply = await WaitAsync(cancellationToken);
        return await SeeAsync(reply, cancellationToken)
            ?? new SessionStop.Stopped(new StopCause.StepDone(), machine.StoppedCpu, await machine.LinearPcAsync(machine.StoppedCpu, cancellationToken));
    }

    public async ValueTask<StepStop> StepInstructionAsync(int cpu, CancellationToken cancellationToken)
    {
        if (_isInterrupted)
        {
            return await InterruptedAsync(cancellationToken);
        }

        var reply = await StepAsync(cpu, cancellationToken);
        if (await SeeAsync(reply, cancellationToken) is { } seen)
        {
            return new StepStop.Interrupted(seen);
        }

        return new StepStop.Stepped(machine.StoppedCpu, await machine.RegistersAsync(null, cancellationToken));
    }

    public async ValueTask<StepStop> RunToAsync(
        IReadOnlyList<ulong> addresses, Func<int, RegisterSet, bool> isReached, CancellationToken cancellationToken)
    {
        var owner = new object();
        try
        {
            foreach (var address in addresses)
            {
                await machine.Sites.AddAsync(BreakpointSite.Code(address), owner, cancellationToken);
            }

            for (var strays = 0; ;)
            {
                if (await ResumeAsync(cancellationToken) is not { } reply)
                {
                    return await InterruptedAsync(cancellationToken);
                }

                if (await SeeAsync(reply, cancellationToken) is { } seen)
                {
                    return new StepStop.Interrupted(seen);
                }

                var (cpu, registers) = (machine.StoppedCpu, await machine.RegistersAsync(null, cancellationToken));
                var pc = await machine.LinearPcAsync(cpu, cancellationToken);
                if (addresses.Contains(pc) && isReached(cpu, registers))
                {
                    return new StepStop.Reached(pc, cpu, registers);
                }

                var isStray = reply is StopReply.Stopped { Reason: not StopReason.Watchpoint } && !machine.Sites.IsCodeSet(pc);
                strays = isStray ? strays + 1 : 0;
                if (strays > MaximumStrays)
                {
                    return new StepStop.Interrupted(new SessionStop.Stopped(new StopCause.Signal(((StopReply.Stopped)reply).Signal), cpu, pc));
                }
            }
        }
        finally
        {
            if (machine.Client.State == RspState.Stopped)
            {
                foreach (var address in addresses)
                {
                    await machine.Sites.RemoveAsync(BreakpointSite.Code(address), owner, CancellationToken.None);
                }
            }
        }
    }

    /// <summary>
    /// Lets the machine run. CPUs that stand at a breakpoint they have already been seen at are stepped off it first, one by one; if that leads to the next
    /// stop, it is that step's.
    /// </summary>
    /// <returns>Null when an interrupt was asked for between two resumes, and nothing was let run.</returns>
    private async ValueTask<StopReply?> ResumeAsync(CancellationToken cancellationToken)
    {
        foreach (var (cpu, address) in _arrived.ToArray())
        {
            if (!machine.Sites.IsCodeSet(address) || await machine.LinearPcAsync(cpu, cancellationToken) != address)
            {
                _arrived.Remove(cpu);
                continue;
            }

            var reply = await StepAsync(cpu, cancellationToken);
            _arrived.Remove(cpu);
            if (reply is not StopReply.Stopped { Reason: StopReason.Signal, Signal: not 2 }
                || machine.Sites.IsCodeSet(await machine.LinearPcAsync(machine.StoppedCpu, cancellationToken)))
            {
                return reply;
            }
        }

        if (_isInterrupted)
        {
            return null;
        }

        await machine.Client.ContinueAsync(cancellationToken);
        return await WaitAsync(cancellationToken);
    }

    private async ValueTask<StepStop> InterruptedAsync(CancellationToken cancellationToken)
    {
        var cpu = machine.StoppedCpu;
        return new StepStop.Interrupted(new SessionStop.Stopped(new StopCause.Interrupted(), cpu, await machine.LinearPcAsync(cpu, cancellationToken)));
    }

    /// <summary>One instruction of one CPU, past a breakpoint on it.</summary>
    private async ValueTask<StopReply> StepAsync(int cpu, CancellationToken cancellationToken)
    {
        var address = await machine.LinearPcAsync(cpu, cancellationToken);
        if (!machine.Sites.IsCodeSet(address))
        {
            return await StepOnceAsync(cpu, cancellationToken);
        }

        var before = await machine.RegistersAsync(cpu, cancellationToken);
        for (var tries = 1; ; tries++)
        {
            var reply = await StepPastAsync(cpu, address, cancellationToken);
            if (reply is not StopReply.Stopped { Reason: StopReason.Signal, Inferred: false } || _isInterrupted
                || await _putOff.AfterStepAsync(cpu, before, cancellationToken) != StepEnd.Nothing || tries == PutOffInstructions.MaximumSteps)
            {
                return reply;
            }
        }
    }

    private async ValueTask<StopReply> StepPastAsync(int cpu, ulong address, CancellationToken cancellationToken)
    {
        if (machine.Client.Profile.StepsPastBreakpoints)
        {
            return await StepOnceAsync(cpu, cancellationToken);
        }

        await machine.Sites.SuspendAsync(address, true, cancellationToken);
        var reply = await StepOnceAsync(cpu, cancellationToken);
        if (reply is StopReply.Stopped)
        {
            await machine.Sites.SuspendAsync(address, false, cancellationToken);
        }

        return reply;
    }

    private async ValueTask<StopReply> StepOnceAsync(int cpu, CancellationToken cancellationToken)
    {
        await machine.Client.StepAsync(await machine.ThreadAsync(cpu, cancellationToken), cancellationToken: cancellationToken);
        return await WaitAsync(cancellationToken);
    }

    /// <summary>Waits for the stop, and looks at the machine now and then where nothing else tells that its kernel has come.</summary>
    private async ValueTask<StopReply> WaitAsync(CancellationToken cancellationToken)
    {
        using var look = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        if (judge.LookInterval is { } interval)
        {
            look.CancelAfter(interval);
        }

        try
        {
            return await machine.Client.WaitForStopAsync(look.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            _isLook = true;
            await machine.Client.InterruptAsync(cancellationToken);
            return await machine.Client.WaitForStopAsync(cancellationToken);
        }
    }

    private async Task TryInterruptAsync()
    {
        try
        {
            await InterruptAsync(CancellationToken.None);
        }
        catch (RspException)
        {
            // Whoever waits for the stop is told.
        }
    }

    /// <summary>What of this stop a person is to see; null: nothing.</summary>
    private async ValueTask<SessionStop?> SeeAsync(StopReply reply, CancellationToken cancellationToken)
    {
        if (reply is not StopReply.Stopped stopped)
        {
            return new SessionStop.Ended(await judge.EndAsync(reply));
        }

        var (cpu, registers) = (machine.StoppedCpu, await machine.RegistersAsync(null, cancellationToken));
        var pc = await machine.LinearPcAsync(cpu, cancellationToken);
        if (_isLook)
        {
            _isLook = false;
            await judge.LookAsync(cancellationToken);
        }

        StopCause? cause = stopped.Reason is StopReason.ReplayLog log ? new StopCause.ReplayEdge(log.Edge) : null;
        if (cause is null && (stopped.Reason is StopReason.Watchpoint || machine.Sites.IsCodeSet(pc)))
        {
            if (machine.Sites.IsCodeSet(pc))
            {
                _arrived[cpu] = pc;
            }

            cause = stopped.Reason is not StopReason.Watchpoint && await _putOff.IsReturnAsync(cpu, registers, cancellationToken) ? null : await judge.OnArrivalAsync(stopped, cpu, pc, registers, cancellationToken);
        }

        if (cause is null && (_isInterrupted || stopped.Inferred))
        {
            cause = new StopCause.Interrupted();
        }

        if (cause is null && stopped.Signal is not (0 or 2 or 5))
        {
            cause = new StopCause.Signal(stopped.Signal);
        }

        return cause is null ? null : new SessionStop.Stopped(cause, cpu, pc);
    }
}
