using System.Text.RegularExpressions;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Sessions;
using KTrace.Debugger.Stepping;
using KTrace.Rsp;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Debugger.Stepping;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.Sessions;

/// <summary>The run loop over a stub that meets a breakpoint again when it steps off it: the real gdbserver.</summary>
public sealed class RunLoopTests
{
    [SkippableFact]
    public async Task A_breakpoint_is_taken_out_for_the_step_off_it_and_met_again_at_the_next_call()
    {
        using var program = new StepProgram();
        var leaf = program.AddressOf("leaf");
        await using var running = await program.StartAsync("main");
        Assert.False(running.Machine.Client.Profile.StepsPastBreakpoints);
        var judge = new Judge();
        var loop = new RunLoop(running.Machine, judge);
        await running.Machine.Sites.AddAsync(BreakpointSite.Code(leaf), this, default);

        var stops = 0;
        SessionStop stop;
        while ((stop = await loop.DoAsync(() => loop.ContinueAsync(default), default)) is SessionStop.Stopped { ProgramCounter: var pc })
        {
            Assert.Equal(leaf, pc);
            if (++stops == 2)
            {
                // A single step leaves the breakpoint in its place, too.
                var stepped = Assert.IsType<StepStop.Stepped>(await loop.StepInstructionAsync(0, default));
                Assert.InRange(stepped.Registers.ProgramCounter, leaf + 1, leaf + 15);
            }
        }

        Assert.IsType<SessionStop.Ended>(stop);
        Assert.Equal(HitsByGdb(program.Path), stops);
        Assert.Equal(stops, judge.Arrivals);
    }

    /// <summary>How often gdb stops there.</summary>
    private static int HitsByGdb(string program)
    {
        Skip.IfNot(PeerProgram.IsInstalled("gdb"), "gdb is not installed (./test installs it)");
        var output = PeerProgram.Run(
            "gdb", ["-q", "-nx", "-batch", "-ex", "set debuginfod enabled off", "-ex", "break *leaf", "-ex", "ignore 1 1000", "-ex", "run", "-ex", "info breakpoints", program]);
        return int.Parse(Regex.Match(output, "already hit ([0-9]+) times").Groups[1].ValueSpan, System.Globalization.CultureInfo.InvariantCulture);
    }

    private sealed class Judge : IStopJudge
    {
        public int Arrivals { get; private set; }

        public TimeSpan? LookInterval => null;

        public ValueTask<StopCause?> OnArrivalAsync(StopReply.Stopped reply, int cpu, ulong pc, RegisterSet registers, CancellationToken cancellationToken)
        {
            Arrivals++;
            return ValueTask.FromResult<StopCause?>(new StopCause.PlaceReached());
        }

        public ValueTask LookAsync(CancellationToken cancellationToken) => ValueTask.CompletedTask;

        public ValueTask<string> EndAsync(StopReply reply) => ValueTask.FromResult("over");
    }
}
