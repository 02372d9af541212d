namespace KTrace.Tests.Cli;

/// <summary>What the program says when nothing is booted: help, misspellings, exit codes.</summary>
public sealed class CommandLineTests : IDisposable
{
    /// <summary>What .NET writes whenever it finds a terminal (terminfo's smkx).</summary>
    private const string KeypadMode = "\u001b[?1h\u001b=";

    private readonly KTraceProgram _program = new();

    public void Dispose() => _program.Dispose();

    [Fact]
    public void Without_arguments_every_verb_is_listed_on_a_line()
    {
        var run = _program.Run();

        Assert.Equal(0, run.ExitCode);
        Assert.Equal("", run.Errors);
        foreach (var verb in (string[])["demo", "record", "show", "diff", "replay", "sym", "kernel", "initramfs", "doctor"])
        {
            Assert.Contains(run.Output.Split('\n'), line => line.StartsWith("  " + verb + " ", StringComparison.Ordinal) && line.EndsWith('.') && line.Length < 160);
        }
    }

    [Theory]
    [InlineData("demo")]
    [InlineData("record")]
    [InlineData("show")]
    [InlineData("diff")]
    [InlineData("replay")]
    [InlineData("doctor")]
    [InlineData("kernel", "fetch")]
    [InlineData("initramfs", "build")]
    public void Help_of_a_verb_shows_an_example(params string[] verb)
    {
        var run = _program.Run([.. verb, "--help"]);

        Assert.Equal(0, run.ExitCode);
        Assert.Contains("Example", run.Output);
        Assert.Contains("ktrace " + string.Join(' ', verb), run.Output);
        Assert.Equal("", run.Errors);
    }

    [Theory]
    [InlineData("shwo", "there is no verb 'shwo'", "ktrace show")]
    [InlineData("kernel fecth", "there is no verb 'kernel fecth'", "ktrace kernel fetch")]
    [InlineData("kernel", "fetch, list", "ktrace kernel --help")]
    [InlineData("show --fromat json x.ktrace", "unknown option --fromat", "--format")]
    [InlineData("record --max-hit 3", "unknown option --max-hit", "--max-hits")]
    [InlineData("record --max-hits many", "--max-hits takes a number, not 'many'", "ktrace record --help")]
    [InlineData("record e1000e-msix extra", "unexpected argument 'extra'", "ktrace record --help")]
    [InlineData("show", "FILE[#HIT]", "ktrace show --help")]
    [InlineData("record nothing-of-that-name -b schedule", "there is no such scenario", "e1000e-msix")]
    [InlineData("record --kernel x", "no tracepoint", "-b")]
    [InlineData("record e1000e-msix --max-hits 0", "greater than 0", "")]
    [InlineData("record e1000e-msix --timeout 0m", "--timeout is such as 30s or 5m, not '0m'", "ktrace record --help")]
    [InlineData("attach tcp:localhost:1 --timeout soon", "--timeout is such as 30s or 5m, not 'soon'", "ktrace attach --help")]
    [InlineData("record e1000e-msix --memory much", "not a size", "512M")]
    public void What_cannot_be_meant_is_said_in_one_line_with_what_may_be(string words, string message, string remedy)
    {
        var run = _program.Run(words.Split(' '));

        Assert.Equal(2, run.ExitCode);
        Assert.Equal("", run.Output);
        var lines = run.Errors.TrimEnd().Split('\n');
        Assert.InRange(lines.Length, 1, 2);
        Assert.StartsWith("ktrace: ", lines[0]);
        Assert.Contains(message, lines[0]);
        Assert.Contains(remedy, lines[^1]);
    }

    [Fact]
    public void The_version_is_a_line()
    {
        var run = _program.Run("--version");
        Assert.Equal((0, 1), (run.ExitCode, run.Output.TrimEnd().Split('\n').Length));
        Assert.Matches(@"^\d+\.\d+\.\d+", run.Output);
    }

    [Theory]
    [InlineData("x y", "'y' is not expected here")]
    [InlineData("x if", "if")]
    [InlineData("x if a ==", "^")]
    [InlineData(":foo", "names no symbol")]
    [InlineData("foo:", "names no symbol")]
    [InlineData("+5", "names no symbol")]
    [InlineData("foo+zz", "the offset after +")]
    public void A_tracepoint_that_is_none_is_refused_before_anything_is_prepared(string tracepoint, string message)
    {
        var run = _program.Run("record", "e1000e-msix", "-b", tracepoint);

        Assert.Equal(2, run.ExitCode);
        Assert.StartsWith("ktrace: ", run.Errors);
        Assert.Contains(message, run.Errors);
    }

    [Theory]
    [InlineData("missing/x.ktrace", "no folder")]
    [InlineData("folder", "is a folder")]
    [InlineData("file.txt", "is no trace: it is not overwritten")]
    [InlineData("/proc/x.ktrace", "cannot be written")]
    [InlineData("", "needs a name")]
    public void A_trace_that_cannot_be_written_is_refused_before_anything_boots(string output, string message)
    {
        Directory.CreateDirectory(_program.PathOf("folder"));
        _program.Write("file.txt", "somebody's work");

        var run = _program.Run("record", "e1000e-msix", "-o", output);

        Assert.Equal(2, run.ExitCode);
        Assert.Contains(message, run.Errors);
        Assert.Equal("somebody's work", File.ReadAllText(_program.PathOf("file.txt")));
        Assert.False(File.Exists(_program.PathOf("x.ktrace")));
    }

    [Fact]
    public void A_replay_does_not_overwrite_what_it_compares_with()
    {
        KTrace.Tests.Tracing.GdbReference.Write(_program.PathOf("a.ktrace"));
        var before = File.ReadAllBytes(_program.PathOf("a.ktrace"));

        var run = _program.Run("replay", "a.ktrace", "-o", "./a.ktrace");

        Assert.Equal(2, run.ExitCode);
        Assert.Contains("would overwrite the trace that is replayed", run.Errors);
        Assert.Equal(before, File.ReadAllBytes(_program.PathOf("a.ktrace")));
    }

    [Fact]
    public void A_reader_that_goes_away_ends_show_without_a_word()
    {
        KTrace.Tests.Tracing.GdbReference.Write(_program.PathOf("a.ktrace"));
        using var process = _program.StartOnTerminal(80, $"bash -o pipefail -c \"{KTraceProgram.InShell} show a.ktrace --format json | head -1\"");
        var run = KTraceProgram.Finish(process);

        Assert.Equal(0, run.ExitCode);
        Assert.Single(run.Output.TrimEnd().Split('\n'));
    }

    [Theory]
    [InlineData(40)]
    [InlineData(80)]
    [InlineData(200)]
    public void No_line_is_wider_than_the_terminal(int columns)
    {
        foreach (var words in (string[])["demo --recorded", "show RECORDED", "show RECORDED#last", "diff RECORDED#22 RECORDED#29"])
        {
            using var process = _program.StartOnTerminal(columns, $"{KTraceProgram.InShell} {words.Replace("RECORDED", Path.Combine(AppContext.BaseDirectory, "traces/e1000e-msix.ktrace"), StringComparison.Ordinal)}");
            var run = KTraceProgram.Finish(process);

            Assert.InRange(run.ExitCode, 0, 1);
            Assert.Contains("\u001b[", run.Output);
            // Commands to copy and remarks about files are left whole: a terminal wraps them and copies them unwrapped.
            Assert.All(
                Plain(run.Output).Split('\n').Where(l => !l.Contains("ktrace ", StringComparison.Ordinal)),
                line => Assert.True(KTrace.Tui.Views.TerminalText.Width(line.TrimEnd('\r')) <= columns, $"{columns}: {line}"));
        }
    }

    [Theory]
    [InlineData("1", "xterm-256color", "\u001b\\[[0-9;]*[34][0-9]")]
    [InlineData(null, "dumb", "\u001b")]
    public void Who_wants_no_colours_gets_none(string? noColor, string term, string never)
    {
        _program.Environment["NO_COLOR"] = noColor;
        using var process = _program.StartOnTerminal(100, $"{KTraceProgram.InShell} demo --recorded", term);
        var run = KTraceProgram.Finish(process);

        Assert.Equal(0, run.ExitCode);
        Assert.DoesNotMatch(never, run.Output.Replace(KeypadMode, "", StringComparison.Ordinal));
    }

    [Fact]
    public void A_pipe_gets_no_escape_sequence()
    {
        var run = _program.Run("demo", "--recorded");

        Assert.Equal(0, run.ExitCode);
        Assert.DoesNotContain("\u001b", run.Output + run.Errors);
        Assert.Contains("eth0-rx-0: the driver requests its interrupt", run.Output);
        Assert.Contains("two ways to one vector", run.Output);
    }

    private static string Plain(string text) => System.Text.RegularExpressions.Regex.Replace(text.Replace(KeypadMode, "", StringComparison.Ordinal), "\u001b\\[[0-9;?]*[a-zA-Z]", "");
}
