using System.Diagnostics;
using System.Text.RegularExpressions;
using KTrace.Tracing;

namespace KTrace.Tests.Tracing;

/// <summary>docs/trace-format.md says what is true.</summary>
public partial class TraceFormatDocTests
{
    [Fact]
    public void The_example_is_a_trace_and_is_written_as_it_stands()
    {
        string example = Fence("jsonl");
        using TraceReader reader = TraceSamples.Reader(example.TrimEnd().Split('\n'));

        List<TraceRecord> records = [.. reader.ReadAll()];

        Assert.Null(reader.Incomplete);
        TraceRecord.Hit hit = Assert.Single(records.OfType<TraceRecord.Hit>());
        Assert.Equal("user space: ifconfig pid 62, ioctl(3, SIOCSIFFLAGS, …) at 0x5de750", hit.PathEnd.Describe(hit.Task));
        // Ids may differ, everything else must come out as the page has it.
        Assert.Equal(WithoutIds(example), WithoutIds(System.Text.Encoding.UTF8.GetString(TraceSamples.Bytes(records))));
    }

    [Fact]
    public void The_example_of_compact_hits_is_a_trace()
    {
        using TraceReader reader = TraceSamples.Reader(Fence("jsonl", 1).TrimEnd().Split('\n'));
        List<TraceRecord> records = [.. reader.ReadAll()];

        Assert.Null(reader.Incomplete);
        TraceRecord.Hit hit = Assert.Single(records.OfType<TraceRecord.Hit>());
        Assert.Equal(["kmem_cache_alloc", "getname_flags"], hit.Path.Frames.Select(f => f.Function));
        Assert.Equal(["s=0xffff888003c4a800", "gfpflags=0xcc0 GFP_KERNEL"], hit.ArgumentsOf(0).Select(a => $"{a.Name}={a.Text}"));
        Assert.Equal((19567042405 / 2.4e9) - 3.5, hit.Clock!.Seconds(null)!.Value, 6);
        Assert.Equal("$ret", Assert.Single(Assert.Single(records.OfType<TraceRecord.Return>()).Prints).Expression);
    }

    [Fact]
    public void Every_record_type_of_the_page_is_known_and_every_known_one_is_on_it()
    {
        string page = Page();
        string[] headings = [.. Heading().Matches(page).SelectMany(match => match.Groups[1].Value.Split(", "))];
        using TraceReader reader = TraceSamples.Reader(TraceSamples.Bytes(TraceSamples.EveryRecord()));
        using TraceReader compact = TraceSamples.Reader(Fence("jsonl", 1).TrimEnd().Split('\n'));
        string[] written = [.. reader.ReadLines().Concat(compact.ReadLines()).Select(line => System.Text.Encoding.UTF8.GetString(line.Utf8.Span).Split('"')[3]).Distinct()];

        Assert.Equal(written.Order(), headings.Order());
    }

    [SkippableFact]
    public void The_jq_lines_work()
    {
        using var folder = new TemporaryFolder();
        GdbReference.Write(folder["TRACE"]);
        string[] commands = [.. Fence("sh").Split('\n').Where(line => line.StartsWith("jq ", StringComparison.Ordinal))];
        Assert.Equal(7, commands.Length);
        foreach (string command in commands)
        {
            using Process shell = Process.Start(new ProcessStartInfo("/bin/sh", ["-c", command])
            {
                WorkingDirectory = folder.FullName, RedirectStandardOutput = true, RedirectStandardError = true,
            })!;
            Task<string> error = shell.StandardError.ReadToEndAsync();
            string output = shell.StandardOutput.ReadToEnd();
            shell.WaitForExit();
            Skip.If(error.Result.Contains("jq: not found", StringComparison.Ordinal), "jq is not installed");

            Assert.Equal("", error.Result);
            Assert.NotEqual("", output);
            if (command.Contains("seq==19", StringComparison.Ordinal))
            {
                Assert.Equal(
                    GdbReference.Hits[18].Path.Frames.Select(frame => frame.Function + (frame.Module is null ? "" : $" [{frame.Module}]")),
                    output.TrimEnd().Split('\n'));
            }
        }
    }

    private static string WithoutIds(string text) => Ids().Replace(text.TrimEnd(), "$1:0");

    private static string Fence(string language, int number = 0)
    {
        string page = Page();
        int start = 0;
        for (int i = 0; i <= number; i++)
        {
            start = page.IndexOf($"```{language}\n", start, StringComparison.Ordinal) + language.Length + 4;
        }

        return page[start..page.IndexOf("```", start, StringComparison.Ordinal)];
    }

    private static string Page() => File.ReadAllText(Path.Combine(Tui.GoldenFile.SourceRoot(), "docs", "trace-format.md"));

    [GeneratedRegex(@"^### (.+)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex("""("id"|"path"|"frames"|"values"):(\d+|\[[0-9,]*\])""")]
    private static partial Regex Ids();
}
