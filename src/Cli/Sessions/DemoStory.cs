using KTrace.Tracing;
using KTrace.Tui.Views;

namespace KTrace.Cli.Sessions;

/// <summary>
/// What the demo's trace tells: every hit in a table, how the driver requests each of its three MSI-X vectors, and by which two paths one vector gets its
/// message: when it is allocated, and when it is activated.
/// </summary>
internal static class DemoStory
{
    private const string Request = "request_threaded_irq";
    private const string Driver = "e1000_request_msix";
    private static readonly string[] Vectors = ["eth0-rx-0", "eth0-tx-0", "eth0"];

    /// <param name="shownAs">The trace's name in the commands that are suggested at the end.</param>
    public static void Tell(Trace trace, ViewOutput output, string shownAs)
    {
        Heading(output, $"{Plural.Of(trace.Hits.Count, "hit")} while {trace.Header.Kernel.Release ?? "the kernel"} booted");
        output.Write(new HitTable(trace));

        var requests = trace.Hits.Where(h => RequestedName(trace, h) is not null && Passes(h, Driver)).ToList();
        foreach (var vector in Vectors)
        {
            // A driver may free and request its vectors again (a test of MSI-X, a reset): the last request is the one in use.
            if (requests.LastOrDefault(h => RequestedName(trace, h) == vector) is { } hit)
            {
                Heading(output, $"{vector}: the driver requests its interrupt");
                output.Write(new CallPathView(hit, trace.Header, trace.Tracepoints));
            }
        }

        var allocation = trace.Hits.FirstOrDefault(h => IsCompose(h) && Passes(h, "msi_init_virq") && InDriver(h));
        var activation = trace.Hits.FirstOrDefault(h => IsCompose(h) && Passes(h, Driver));
        if (allocation is not null && activation is not null)
        {
            Heading(output, $"two ways to one vector: A, hit {allocation.Sequence}, when it is allocated; B, hit {activation.Sequence}, when it is activated");
            var left = new TraceQuery.PickedHit(allocation, trace);
            var right = new TraceQuery.PickedHit(activation, trace);
            output.Write(new HitDiffView(left, right, PathDiff.Compare(allocation.Path, activation.Path)));
            Heading(output, "try next");
            output.Write(new TextView(
                $"  ktrace show '{shownAs}#{activation.Sequence}'                 one hit, with its registers",
                $"  ktrace diff '{shownAs}#{allocation.Sequence}' '{shownAs}#{activation.Sequence}'      the comparison above",
                $"  ktrace replay {shownAs}                   boot it again and compare all hits",
                $"  ktrace record e1000e-msix -b pci_enable_device -o mine.ktrace    your own question to the same boot"));
        }
    }

    private static void Heading(ViewOutput output, string text) => output.Write(new TextView("", text, new string('─', Math.Min(TerminalText.Width(text), 78))));

    private static bool IsCompose(TraceRecord.Hit hit) => hit.Path.Frames is [{ Function: var innermost }, ..] && innermost.EndsWith("msi_compose_msg", StringComparison.Ordinal);

    private static bool InDriver(TraceRecord.Hit hit) => hit.Path.Frames.Any(f => f.Module == "e1000e" || f.File?.Contains("intel/e1000e/", StringComparison.Ordinal) == true);

    private static bool Passes(TraceRecord.Hit hit, string function) => hit.Path.Frames.Any(f => f.Function == function);

    /// <summary>The devname argument of a hit at the request function, or null.</summary>
    private static string? RequestedName(Trace trace, TraceRecord.Hit hit) =>
        hit.Path.Frames is [{ Function: Request }, ..] ? hit.ArgumentsOf(0).FirstOrDefault(a => a.Name == "devname")?.Text?.Trim('"') : null;
}
