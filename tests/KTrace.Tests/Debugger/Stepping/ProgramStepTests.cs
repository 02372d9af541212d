using KTrace.Debugger.Sessions;
using KTrace.Debugger.Stepping;

namespace KTrace.Tests.Debugger.Stepping;

/// <summary>Steps through a program behind gdbserver, and gdb's through the same program.</summary>
public sealed class ProgramStepTests
{
    [SkippableTheory]
    [InlineData("-O2", "s80")]
    [InlineData("-O2", "n10")]
    [InlineData("-O2", "si60")]
    [InlineData("-O2", "ni30")]
    [InlineData("-O2", "until4 s15 until4")]
    [InlineData("-O1 -fcf-protection=none", "s60 n3")]
    [InlineData("-m32 -O2", "s80")]
    [InlineData("-m32 -O2", "n10")]
    [InlineData("-m32 -O2", "si60")]
    [InlineData("-m32 -O2", "ni30")]
    [InlineData("-m32 -O1 -fno-pic", "until4 s15 until4")]
    public async Task Steps_go_where_gdb_goes(string options, string steps)
    {
        using var program = new StepProgram(options);
        var expected = GdbSteps.Run(program.Path, "break *main;run;delete", steps);
        Assert.True(expected.Count > 10, string.Join('\n', expected));

        await using var running = await program.StartAsync("main");
        Assert.Equal(string.Join('\n', expected), string.Join('\n', await running.Steps.RunAsync(steps)));
    }

    [SkippableFact]
    public async Task Next_passes_a_tail_call_as_a_call_and_goes_on_where_it_returns()
    {
        using var program = new StepProgram();
        await using var running = await program.StartAsync("tail");
        var places = await running.Steps.RunAsync("n3");

        // gdb stops in leaf, which tail has jumped to.
        Assert.All(places, p => Assert.DoesNotContain("leaf", p, StringComparison.Ordinal));
        Assert.Contains("main:", places[^1], StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task Step_enters_a_tail_call_and_returns_to_the_caller()
    {
        using var program = new StepProgram();
        await using var running = await program.StartAsync("tail");
        Assert.Contains(await running.Steps.RunAsync("s3"), p => p.Contains("leaf:", StringComparison.Ordinal));
        Assert.Contains("main:", (await running.Steps.RunAsync("n4"))[^1], StringComparison.Ordinal);
    }

    [SkippableTheory]
    [InlineData("spin", "sink = 6", 2)]
    [InlineData("strings", "sink = 8", 4)]
    public async Task A_line_that_runs_long_is_left_in_a_few_steps(string function, string behind, int steps)
    {
        using var program = new StepProgram();
        await using var running = await program.StartAsync(function, isLong: true);
        var line = $":{StepProgram.LineOf(behind)}@";
        for (var i = 0; !running.Steps.Place.Contains(line, StringComparison.Ordinal); i++)
        {
            Assert.True(i < steps + 4, running.Steps.Place);
            await running.Steps.RunAsync("n");
        }

        // Three million rounds, or 90,000 repetitions.
        Assert.InRange(running.Run.Steps, 1, 1000);
        Assert.InRange(running.Run.Runs, 2, 10);
    }

    [SkippableFact]
    public async Task Next_over_a_recursion_comes_back_in_its_own_activation()
    {
        using var program = new StepProgram();
        await using var running = await program.StartAsync("recurse");
        var before = (await running.Machine.RegistersAsync()).StackPointer;
        var line = $"recurse:{StepProgram.LineOf("sink += r;")}@";
        for (var i = 0; i < 8 && !running.Steps.Place.Contains(line, StringComparison.Ordinal); i++)
        {
            await running.Steps.RunAsync("n");
        }

        Assert.Contains(line, running.Steps.Place, StringComparison.Ordinal);
        Assert.InRange((await running.Machine.RegistersAsync()).StackPointer, before - 64, before);
    }

    [SkippableFact]
    public async Task A_breakpoint_inside_a_call_ends_the_step()
    {
        using var program = new StepProgram();
        await using var running = await program.StartAsync("through");
        await running.Run.BreakAtAsync(program.AddressOf("leaf"));
        StepResult result;
        do
        {
            result = await running.Stepper.StepAsync(StepKind.LineOver, running.Steps.Position, 3);
        }
        while (result.Stop is SessionStop.Stopped { Cause: StopCause.StepDone });

        var stopped = Assert.IsType<SessionStop.Stopped>(result.Stop);
        Assert.IsType<StopCause.Interrupted>(stopped.Cause);
        Assert.Equal(program.AddressOf("leaf"), stopped.ProgramCounter);
        Assert.Equal(program.AddressOf("leaf"), result.Position!.ProgramCounter);
    }

    [SkippableFact]
    public async Task Steps_end_with_the_program()
    {
        using var program = new StepProgram();
        await using var running = await program.StartAsync("main");
        var result = await running.Stepper.StepAsync(StepKind.LineOver, running.Steps.Position, 1000);
        Assert.IsType<SessionStop.Ended>(result.Stop);
        Assert.Null(result.Position);
    }
}
