using System.CommandLine;
using System.Text.Json;
using KTrace.Cli.Verbs;
using KTrace.Tests.Tracing;
using KTrace.Tracing;

namespace KTrace.Tests.Tui;

public sealed class ShowAndDiffVerbTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly string _trace;

    public ShowAndDiffVerbTests()
    {
        _trace = _folder["e1000e-msix.ktrace"];
        GdbReference.Write(_trace);
    }

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Show_prints_a_row_for_each_hit()
    {
        (int exit, string output, string error) = Run("show", _trace);

        Assert.Equal(0, exit);
        string[] lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(20, lines.Length);
        Assert.StartsWith("HIT", lines[0]);
        Assert.Contains("e1000_request_msix [e1000e] (inline)", lines[^1]);
        Assert.Equal("", error);
    }

    [Fact]
    public void Show_prints_one_hit_to_where_it_came_from()
    {
        (int exit, string output, _) = Run("show", _trace + "#last");

        Assert.Equal(0, exit);
        Assert.Contains("request_irq [e1000e] (inline)", output);
        Assert.Contains("user space: ifconfig pid 62, ioctl(3, SIOCSIFFLAGS, …) at 0x5de750", output);
        Assert.Matches(@"rip\s+0xffffffff81070a60", output);
    }

    [Fact]
    public void Show_counts()
    {
        (int exit, string output, _) = Run("show", _trace, "--stats");

        Assert.Equal(0, exit);
        Assert.Contains("2.5 hits/s", output);
        Assert.Contains("guest powered off", output);
    }

    [Fact]
    public void Show_filters_and_says_when_nothing_is_left()
    {
        Assert.Equal(4, Run("show", _trace, "--filter", "task=ifconfig").Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);

        (int exit, _, string error) = Run("show", _trace, "--filter", "task=nobody");

        Assert.Equal(1, exit);
        Assert.Contains("none of 19 hits has task=nobody", error);
        Assert.Equal(1, Run("show", _trace, "--filter", "task=nobody", "--format", "gdb").Exit);
        Assert.Equal(1, Run("show", _trace, "--filter", "task=nobody", "--format", "json").Exit);
    }

    [Fact]
    public void Show_as_json_is_the_file_and_as_gdb_has_every_backtrace()
    {
        Assert.Equal(File.ReadAllText(_trace), Run("show", _trace, "--format", "json").Output);
        Assert.Equal(19, Run("show", _trace, "--format", "gdb").Output.Split("=== hit ").Length - 1);
        Assert.StartsWith("=== hit 12: ", Run("show", _trace + "#12", "--format", "gdb").Output);

        string one = _folder["one.ktrace"];
        File.WriteAllText(one, Run("show", _trace + "#first", "--format", "json").Output);
        Assert.Equal(0, Run("diff", one + "#last", _trace + "#1").Exit);
    }

    [Fact]
    public void Show_says_what_is_wrong_and_what_to_do()
    {
        string text = _folder["text"];
        File.WriteAllText(text, "no trace\n");
        string torn = _folder["torn.ktrace"];
        File.WriteAllBytes(torn, File.ReadAllBytes(_trace)[..^30]);

        AssertError("there is no such file (ktrace record -o FILE makes one", "show", _folder["missing.ktrace"]);
        AssertError("(ktrace record -o FILE makes one", "show", _folder["no/folder/missing.ktrace"]);
        AssertError("a trace is a file", "show", _folder.FullName);
        AssertError("line 1", "show", text);
        AssertError("it has hits #1 to #19", "show", _trace + "#20");
        AssertError("the number of a hit, first or last", "show", _trace + "#x");
        AssertError("a filter is tracepoint=", "show", _trace, "--filter", "x");
        AssertError("without #HIT", "show", _trace + "#1", "--stats");
        AssertError("without #HIT", "show", _trace + "#1", "--filter", "cpu=0");
        AssertError("without #HIT", "show", _trace + "#1", "--filter", "cpu=0", "--format", "json");

        (int exit, _, string error) = Run("show", torn);
        Assert.Equal(0, exit);
        Assert.Contains("its last line is incomplete", error);
    }

    [Fact]
    public void Diff_exits_0_when_the_same_and_1_when_not()
    {
        string other = _folder["other.ktrace"];
        GdbReference.Write(other, GdbReference.Records().Where(record => record is not TraceRecord.Hit { Sequence: 5 }));

        (int exit, string output, _) = Run("diff", _trace, _trace);
        Assert.Equal(0, exit);
        Assert.Contains("the same: 19 hits", output);

        (exit, output, _) = Run("diff", _trace, other);
        Assert.Equal(1, exit);
        Assert.Contains("18 hits the same, 0 by another path, 1 only in A, 0 only in B", output);
        Assert.Contains("- only in A: hit 5", output);

        Assert.Equal(0, Run("diff", _trace, other, "--filter", "task=ifconfig").Exit);
        Assert.Equal(0, Run("diff", _trace + "#4", other + "#4").Exit);
        Assert.Equal(1, Run("diff", _trace + "#14", _trace + "#17").Exit);
    }

    [Fact]
    public void Diff_as_json_is_one_object()
    {
        string other = _folder["other.ktrace"];
        GdbReference.Write(other, GdbReference.Records().Where(record => record is not TraceRecord.Hit { Sequence: 5 }));

        JsonElement traces = JsonDocument.Parse(Run("diff", _trace, other, "--json").Output).RootElement;
        JsonElement hits = JsonDocument.Parse(Run("diff", _trace + "#14", _trace + "#17", "--json").Output).RootElement;

        Assert.False(traces.GetProperty("equal").GetBoolean());
        JsonElement difference = Assert.Single(traces.GetProperty("differences").EnumerateArray());
        Assert.Equal("only-in-a", difference.GetProperty("kind").GetString());
        Assert.Equal("x86_vector_msi_compose_msg", difference.GetProperty("a").GetProperty("path")[0].GetProperty("function").GetString());
        Assert.Contains(
            hits.GetProperty("path").EnumerateArray(),
            segment => segment.TryGetProperty("b", out JsonElement b) && b.EnumerateArray().Any(frame => frame.GetProperty("function").GetString() == "irq_activate"));
    }

    [Fact]
    public void Diff_says_what_is_wrong()
    {
        AssertError("there is no such file", "diff", _trace, _folder["missing.ktrace"]);
        AssertError("compare two traces, or two hits", "diff", _trace, _trace + "#1");
        AssertError("it has hits #1 to #19", "diff", _trace + "#0", _trace + "#1");
    }

    [Theory]
    [InlineData("show")]
    [InlineData("diff")]
    public void Help_has_an_example(string verb)
    {
        (int exit, string output, _) = Run(verb, "--help");

        Assert.Equal(0, exit);
        Assert.Matches($"Examples:\\s+ktrace {verb} ", output);
        Assert.Contains("--filter", output);
    }

    private static (int Exit, string Output, string Error) Run(params string[] arguments)
    {
        var root = new RootCommand { ShowVerb.Create(), DiffVerb.Create() };
        var output = new StringWriter { NewLine = "\n" };
        var error = new StringWriter { NewLine = "\n" };
        int exit = root.Parse(arguments).Invoke(new InvocationConfiguration { Output = output, Error = error });
        return (exit, output.ToString(), error.ToString());
    }

    private static void AssertError(string remedy, params string[] arguments)
    {
        (int exit, string output, string error) = Run(arguments);
        Assert.Equal(2, exit);
        Assert.Equal("", output);
        Assert.StartsWith("ktrace: ", error);
        Assert.Contains(remedy, error);
        Assert.Single(error.TrimEnd('\n').Split('\n'));
    }
}
