namespace KTrace.Tests.Debugger.Stepping;

/// <summary>Steps through a program behind gdbserver, and gdb's through the same program.</summary>
public sealed class ProgramStepTests
{
    [SkippableTheory]
    [InlineData("-O2", "s120")]
    [InlineData("-O2", "n13")]
    [InlineData("-O2", "si150")]
    [InlineData("-O2", "ni60")]
    [InlineData("-O2", "until8 s30 until4")]
    [InlineData("-O1 -fcf-protection=none", "s120")]
    [InlineData("-O2 -fno-omit-frame-pointer", "n14")]
    public async Task Steps_go_where_gdb_goes(string options, string steps)
    {
        using var program = new StepProgram(options);
        var expected = GdbSteps.Run(program.Path, "break *main;run;delete", steps);
        Assert.True(expected.Count > 10, string.Join('\n', expected));

        await using var running = await program.StartAsync("main");
        Assert.Equal(expected, await running.Steps.RunAsync(steps));
    }
}
