using System.Collections.Immutable;
using KTrace.Debugger.Breakpoints;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Sessions;

/// <summary>Tells which stops are a person's: conditions, counts, CPUs; keeps the hits of tracepoints.</summary>
internal sealed class StopJudge(BreakpointList breakpoints, SessionKernel kernel, ISessionProgress? progress, Func<Task<string?>>? endReason) : IStopJudge
{
    private long _hits;

    public TimeSpan? LookInterval => kernel.LookInterval;

    public ValueTask LookAsync(CancellationToken cancellationToken) => kernel.LookAsync(look: true, cancellationToken);

    public async ValueTask<StopCause?> OnArrivalAsync(StopReply.Stopped reply, int cpu, ulong pc, RegisterSet registers, CancellationToken cancellationToken)
    {
        await kernel.OnStopAsync(cpu, pc, registers, cancellationToken);
        if (reply.Reason is StopReason.Watchpoint touched && breakpoints.Watching(touched.Address) is { } watched
            && await OnTouchedAsync(watched, touched, cpu, cancellationToken) is { } seen)
        {
            return seen;
        }

        await breakpoints.OnFrameEdgeAsync(pc, registers, cancellationToken);
        var gone = breakpoints.EndingAt(pc, registers);
        foreach (var watchpoint in gone)
        {
            await breakpoints.DeleteAsync(watchpoint, cancellationToken);
        }

        var stopping = ImmutableArray.CreateBuilder<Breakpoint>();
        foreach (var breakpoint in breakpoints.At(pc))
        {
            if (await CountsAsync(breakpoint, cpu, cancellationToken) && !await KeepAsync(breakpoint, cpu, cancellationToken))
            {
                stopping.Add(breakpoint);
            }
        }

        // One is why the guest stands; of the others a person is told all the same.
        StopCause? cause = stopping.Count > 0 ? new StopCause.AtBreakpoint(stopping.ToImmutable()) : gone.Count > 0 ? new StopCause.VariableGone(gone[0]) : null;
        foreach (var watchpoint in gone.Skip(cause is StopCause.VariableGone ? 1 : 0))
        {
            progress?.Note($"watchpoint {watchpoint.Number} ({watchpoint.Text}) is deleted: {StopCause.VariableGone.Reason}", false);
        }

        return cause;
    }

    public async ValueTask<string> EndAsync(StopReply reply) =>
        endReason is not null && await endReason() is { } words ? words
        : reply is StopReply.Terminated { Signal: var signal } ? $"ended by signal {signal}"
        : "the guest powered off";

    private async ValueTask<StopCause?> OnTouchedAsync(Breakpoint watchpoint, StopReason.Watchpoint touched, int cpu, CancellationToken cancellationToken)
    {
        var watched = watchpoint.Watched!.Value;
        var before = watchpoint.Value;
        var now = await breakpoints.ReadAsync(watched.Address, watched.Length, cancellationToken);
        watchpoint.Value = now;

        // What is longer than a number is not compared: any write of it counts.
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
            var (holds, failure) = kernel.Inspector is { } inspector
                ? await inspector.HoldsAsync(cpu, condition, breakpoint.Place, cancellationToken)
                : (false, "the kernel is not up yet");
            if (failure is not null)
            {
                // Whoever waits for this stop is told, as gdb does, instead of waiting for ever.
                progress?.Note($"breakpoint {breakpoint.Number}: its condition cannot be told: {failure}", true);
            }
            else if (!holds)
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

    /// <summary>A tracepoint's hit is kept and the guest goes on.</summary>
    private async ValueTask<bool> KeepAsync(Breakpoint breakpoint, int cpu, CancellationToken cancellationToken)
    {
        if (!breakpoint.IsTracepoint || kernel.Inspector is not { } inspector)
        {
            return false;
        }

        progress?.Hit(breakpoint, await inspector.CallPathAsync(cpu, breakpoint.Place, ++_hits, cancellationToken));
        return true;
    }
}
