using KTrace.Tests.Support;
using KTrace.Tests.Tracing;
using KTrace.Tracing;

namespace KTrace.Tests.Cli;

/// <summary>The same boot with less to go by: what is left has to be the same.</summary>
[Collection(nameof(BootsCollection))]
public sealed class NoDebugInformationTests(RecordedBoots boots)
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Frames_come_from_ORC_and_symbols_and_arguments_at_the_entry_from_BTF(bool isBzImage)
    {
        var vmlinux = boots.Program.PathOf(isBzImage ? "bzImage" : "vmlinux");
        if (isBzImage)
        {
            File.Copy(StockKernel.Vmlinuz, vmlinux, overwrite: true);
            File.WriteAllText(boots.Program.PathOf("System.map"), PeerProgram.Run("nm", [StockKernel.Vmlinux]));
        }
        else
        {
            PeerProgram.Run("objcopy", ["--strip-debug", StockKernel.Vmlinux, vmlinux]);
        }

        var run = boots.Program.Run(
            "record", "e1000e-msix", "--vmlinux", vmlinux, "-o", "bare.ktrace", "-b", "irq_msi_compose_msg", "-b", "request_threaded_irq if irq >= 24 print devname return print $ret");
        Assert.True(run.ExitCode == 0, run.Errors);
        Assert.Single(run.Errors.Split('\n'), l => l.Contains("no DWARF", StringComparison.Ordinal));

        var trace = Trace.Load(boots.Program.PathOf("bare.ktrace"), keepRegisters: true);
        var composed = trace.Hits.Where(h => h.Tracepoint == 1).ToList();
        var plain = boots.Plain.Hits.Where(h => h.Path.Frames[0].Function == "x86_vector_msi_compose_msg").ToList();
        Assert.Equal(plain.Select(Physical), composed.Select(Physical));
        Assert.All(composed, h => Assert.Equal(["data", "msg"], h.ArgumentsOf(0).Select(a => a.Name)));

        var requests = trace.Hits.Where(h => h.Tracepoint == 2).ToList();
        Assert.Equal(["\"eth0-rx-0\"", "\"eth0-tx-0\"", "\"eth0\""], requests.Select(h => h.Prints.Single().Text));
        Assert.All(requests, h => Assert.Equal("0", trace.Returns[h.Sequence].Prints.Single().Text));
    }

    /// <summary>Functions with stack frames; a tail call leaves none that a symbol table could tell of.</summary>
    private static string Physical(TraceRecord.Hit hit) =>
        string.Join(' ', hit.Path.Frames.Where(f => f is { IsInline: false, IsTailCall: false }).Select(f => f.Symbol ?? f.Function).Select(f => f.Split('.')[0]));
}
