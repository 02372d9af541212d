using KTrace.Tests.Cli;
using KTrace.Tracing;

namespace KTrace.Tests.Debugger.Recording;

/// <summary>A tracepoint in a function that the compiler inlined: what is entered there is that function, with its arguments and names.</summary>
[Collection(nameof(BootsCollection))]
public sealed class InlineTracepointTests : IDisposable
{
    private readonly KTraceProgram _program = new();

    public void Dispose() => _program.Dispose();

    [Fact]
    public void A_hit_at_an_inlined_function_has_its_arguments_and_knows_them_by_name()
    {
        var run = _program.Run(
            "record", "e1000e-msix", "-b", "e1000e:e1000_request_msix if adapter->num_vectors == 3 print adapter->num_vectors",
            "-b", "request_threaded_irq if irq >= 24", "-o", "run.ktrace");

        Assert.True(run.ExitCode == 0, run.Errors);
        var trace = Trace.Load(_program.PathOf("run.ktrace"), keepRegisters: true);
        var requests = trace.Hits.Where(h => h.Path.Frames[0].Function == "request_threaded_irq").ToList();
        var hit = Assert.Single(trace.Hits, h => h.Path.Frames[0].Function == "e1000_request_msix");
        Assert.True(hit.Path.Frames[0].IsInline);

        using var reader = TraceReader.Open(_program.PathOf("run.ktrace"));

        // The guest's own /proc/interrupts has three lines of the card: one for each vector.
        Assert.Equal(3, reader.ReadAll().OfType<TraceRecord.Console>().Count(c => c.Text.Contains("PCI-MSI", StringComparison.Ordinal) && c.Text.Contains("eth0", StringComparison.Ordinal)));
        Assert.Equal("3", Assert.Single(hit.Prints).Text);
        Assert.Equal(hit.Path.Frames.Length, hit.Arguments.Length);

        // The same call, seen from the three functions that it calls next.
        var adapter = Assert.Single(hit.ArgumentsOf(0));
        Assert.True(adapter is { Name: "adapter", IsKnown: true });
        Assert.Equal(3, requests.Count);
        Assert.All(requests, r => Assert.Equal(adapter.Value, ArgumentOf(r, "e1000_request_msix", "adapter")));
        Assert.Equal(adapter.Value, ArgumentOf(hit, "e1000_request_irq", "adapter"));
    }

    private static ulong? ArgumentOf(TraceRecord.Hit hit, string function, string name)
    {
        var frame = Enumerable.Range(0, hit.Path.Frames.Length).First(i => hit.Path.Frames[i].Function == function);
        return hit.ArgumentsOf(frame).Single(a => a.Name == name).Value;
    }
}
