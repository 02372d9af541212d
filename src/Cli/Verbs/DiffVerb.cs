// ktrace diff: what two recordings, or two hits, have in common and where they part. Exit 0 the same, 1 different, 2 error, as diff(1).
using System.CommandLine;
using System.Text;
using KTrace.Tracing;
using KTrace.Tracing.Export;
using KTrace.Tui.Views;

namespace KTrace.Cli.Verbs;

internal static class DiffVerb
{
    private const int Same = 0, Differs = 1;

    public static Command Create()
    {
        var first = new Argument<string>("a") { HelpName = "A[#HIT]", Description = "A trace, or one hit of it (number, first or last)" };
        var second = new Argument<string>("b") { HelpName = "B[#HIT]", Description = "What to compare it with: the same kind" };
        var filter = new Option<string[]>("--filter")
        {
            HelpName = "KEY=VALUE",
            Description = "Compare only hits with this tracepoint, function, module, task or cpu (* and ? allowed)",
        };
        var json = new Option<bool>("--json") { Description = "Print the answer as one JSON object" };
        var command = new Command(
            "diff",
            """
            Compare two traces hit by hit, or two hits frame by frame.

            Hits are the same when they are of the same tracepoint and came by the same functions (name, module, inlined or not).
            Addresses, clocks, CPUs and pids are not compared. Exit code: 0 the same, 1 different, 2 error.

            Examples:
              ktrace diff monday.ktrace tuesday.ktrace
              ktrace diff 'e1000e-msix.ktrace#16' 'e1000e-msix.ktrace#17'
            """)
        {
            first, second, filter, json,
        };
        command.SetAction(result => ShowVerb.Guard(result.InvocationConfiguration, () => Diff(
            HitReference.Parse(result.GetRequiredValue(first)),
            HitReference.Parse(result.GetRequiredValue(second)),
            result.GetValue(filter) is { Length: > 0 } terms ? HitFilter.Parse(terms) : HitFilter.All,
            result.GetValue(json),
            result.InvocationConfiguration)));
        return command;
    }

    /// <summary>Compares two whole traces as the verb does, and prints the answer.</summary>
    internal static int Compare(string a, string b)
    {
        var configuration = new InvocationConfiguration();
        return ShowVerb.Guard(configuration, () => Diff(HitReference.Parse(a), HitReference.Parse(b), HitFilter.All, json: false, configuration));
    }

    private static int Diff(HitReference a, HitReference b, HitFilter filter, bool json, InvocationConfiguration configuration)
    {
        if (a.Hit is null != b.Hit is null)
        {
            HitReference whole = a.Hit is null ? a : b;
            throw new TraceQueryException($"{a} and {b}: compare two traces, or two hits: say which hit of {whole.File}, as in {whole.File}#last");
        }

        if (a.Hit is not null && !filter.IsAll)
        {
            throw new TraceQueryException("--filter picks hits of whole traces: give it without #HIT");
        }

        ViewOutput output = ViewOutput.For(configuration.Output);
        return a.Hit is null
            ? DiffTraces(a, b, filter, json, output, configuration)
            : DiffHits(a, b, json, output, configuration);
    }

    private static int DiffTraces(
        HitReference a, HitReference b, HitFilter filter, bool json, ViewOutput output, InvocationConfiguration configuration)
    {
        Trace left = Trace.Load(a.File, filter);
        Trace right = Trace.Load(b.File, filter);
        TraceDiff diff = TraceDiff.Compare(left, right);
        Write(output, configuration, json ? DiffJson.Of(diff, left, right) : null, new TraceDiffView(diff, left, right));
        ShowVerb.Remark(configuration, left.File, left.Incomplete);
        ShowVerb.Remark(configuration, right.File, right.Incomplete);
        return diff.IsEqual ? Same : Differs;
    }

    private static int DiffHits(HitReference a, HitReference b, bool json, ViewOutput output, InvocationConfiguration configuration)
    {
        TraceQuery.PickedHit left = TraceQuery.Pick(a.File, a.Hit!);
        TraceQuery.PickedHit right = TraceQuery.Pick(b.File, b.Hit!);
        PathDiff diff = PathDiff.Compare(left.Hit.Path, right.Hit.Path);
        Write(output, configuration, json ? DiffJson.Of(diff, left, right) : null, new HitDiffView(left, right, diff));
        return diff.IsEqual ? Same : Differs;
    }

    private static void Write(ViewOutput output, InvocationConfiguration configuration, byte[]? json, View view)
    {
        if (json is null)
        {
            output.Write(view);
            return;
        }

        string text = Encoding.UTF8.GetString(json);
        configuration.Output.Write((output.IsTerminal ? TerminalText.EscapeJson(text) : text) + "\n");
    }
}
