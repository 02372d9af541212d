using KTrace.Debugger;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Sessions;
using KTrace.Debugger.Stepping;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Debugger.Stepping;

/// <summary>The least that a stepper needs of a session: a machine, and breakpoints of a person at which steps end.</summary>
internal sealed class MachineRun(Machine machine) : IRunControl
{
    private readonly object _owner = new();

    public Machine Machine => machine;

    /// <summary>A person's breakpoints.</summary>
    public HashSet<ulong> Breakpoints { get; } = [];

    public long Steps { get; private set; }

    public long Runs { get; private set; }

    public async ValueTask<StepStop> StepInstructionAsync(int cpu, CancellationToken cancellationToken)
    {
        Steps++;
        if (await StepOffAsync(cpu, cancellationToken) is not StopReply.Stopped)
        {
            return new StepStop.Interrupted(new SessionStop.Ended("the machine ended"));
        }

        var registers = await machine.RegistersAsync(cpu, cancellationToken);
        return Breakpoints.Contains(registers.ProgramCounter) ? Interrupted(cpu, registers) : new StepStop.Stepped(cpu, registers);
    }

    public async ValueTask<StepStop> RunToAsync(IReadOnlyList<ulong> addresses, Func<int, RegisterSet, bool> isReached, CancellationToken cancellationToken)
    {
        Runs++;
        foreach (var address in addresses)
        {
            await machine.Sites.AddAsync(BreakpointSite.Code(address), _owner, cancellationToken);
        }

        try
        {
            while (true)
            {
                var here = await machine.RegistersAsync(null, cancellationToken);
                if (machine.Sites.IsCodeSet(here.ProgramCounter))
                {
                    if (await StepOffAsync(machine.StoppedCpu, cancellationToken) is not StopReply.Stopped)
                    {
                        return new StepStop.Interrupted(new SessionStop.Ended("the machine ended"));
                    }
                }

                await machine.Client.ContinueAsync(cancellationToken);
                if (await machine.Client.WaitForStopAsync(cancellationToken) is not StopReply.Stopped stop)
                {
                    return new StepStop.Interrupted(new SessionStop.Ended("the machine ended"));
                }

                var (cpu, registers) = (machine.StoppedCpu, await machine.RegistersAsync(null, cancellationToken));
                if (addresses.Contains(registers.ProgramCounter) && isReached(cpu, registers))
                {
                    return new StepStop.Reached(registers.ProgramCounter, cpu, registers);
                }

                if (Breakpoints.Contains(registers.ProgramCounter) || stop.Signal != 5)
                {
                    return Interrupted(cpu, registers);
                }
            }
        }
        finally
        {
            if (machine.Client.State == RspState.Stopped)
            {
                foreach (var address in addresses)
                {
                    await machine.Sites.RemoveAsync(BreakpointSite.Code(address), _owner, CancellationToken.None);
                }
            }
        }
    }

    public async Task BreakAtAsync(ulong address)
    {
        Breakpoints.Add(address);
        await machine.Sites.AddAsync(BreakpointSite.Code(address), this, CancellationToken.None);
    }

    public async Task UnbreakAsync(ulong address)
    {
        Breakpoints.Remove(address);
        await machine.Sites.RemoveAsync(BreakpointSite.Code(address), this, CancellationToken.None);
    }

    /// <summary>QEMU steps past a breakpoint that is set; gdbserver reports it again, and the pc stays.</summary>
    private async ValueTask<StopReply> StepOffAsync(int cpu, CancellationToken cancellationToken)
    {
        var pc = (await machine.RegistersAsync(cpu, cancellationToken)).ProgramCounter;
        var isInTheWay = machine.Sites.IsCodeSet(pc) && !machine.Client.Profile.StepsPastBreakpoints;
        if (isInTheWay)
        {
            await machine.Client.SendAsync(new RemoveBreakpoint(BreakpointKind.Software, pc), cancellationToken);
        }

        await machine.Client.StepAsync(await machine.ThreadAsync(cpu, cancellationToken), cancellationToken: cancellationToken);
        var stop = await machine.Client.WaitForStopAsync(cancellationToken);
        if (isInTheWay && stop is StopReply.Stopped)
        {
            await machine.Client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, pc), cancellationToken);
        }

        return stop;
    }

    private static StepStop.Interrupted Interrupted(int cpu, RegisterSet registers) =>
        new(new SessionStop.Stopped(new StopCause.Interrupted(), cpu, registers.ProgramCounter));
}
