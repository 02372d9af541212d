using KTrace.Tests.Cli;
using KTrace.Tracing;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Conditions;

/// <summary>Whole recordings with conditions, by the program.</summary>
[Collection(nameof(NonStopBootsCollection))]
public sealed class ConditionBootTests(ITestOutputHelper output)
{
    /// <summary>Each at a function of its own; the last cannot be asked, as what it reads is not there.</summary>
    private static readonly string[] Requests =
    [
        "request_threaded_irq if irq == 24",
        "free_irq if irq > 24 && current->comm == \"ifconfig\"",
        "irq_msi_compose_msg if data->irq == 25 || data->hwirq == 0",
        "irq_startup if desc->irq_data.common->state_use_accessors & 0x10000",
        "e1000e_open if netdev->mtu == 1500 && netdev->dev.parent->driver->name == \"e1000e\"",
        "e1000e:e1000_request_irq if adapter->netdev->name == \"eth0\" && adapter->msix_entries",
        "__dev_open if dev->flags",
        "msi_domain_activate if irq_data->irq != 24 && early",
        "e1000e_reset if ((struct net_device *)16)->mtu",
    ];

    [Fact]
    public void The_same_calls_count_whether_they_stop_the_machine_or_not()
    {
        using var program = new KTraceProgram();
        var (stopping, asked) = (Record(program, "stop.ktrace", ["e1000e-msix", "--stop", .. Requests.SelectMany(r => (string[])["-b", r])]), Record(program, "run.ktrace", ["e1000e-msix", "--no-stop", .. Requests.SelectMany(r => (string[])["-b", r])]));
        foreach (var tracepoint in asked.Header.Tracepoints.Select(t => asked.Tracepoints.Find(t.Id)!))
        {
            var (expected, actual) = (Paths(stopping, tracepoint.Id), Paths(asked, tracepoint.Id));
            output.WriteLine($"{tracepoint.Requested}: {actual.Count} hits");
            Assert.Equal(TracepointWay.NonStop, tracepoint.Way);
            Assert.Equal(expected, actual);
        }

        Assert.True(asked.Hits.Select(h => h.Tracepoint).Distinct().Count() >= 6);
        var warning = Assert.Single(asked.Remarks.OfType<TraceRecord.Warning>(), w => w.Text.Contains("could not be read", StringComparison.Ordinal));
        Assert.Matches("^if \\(\\(struct net_device \\*\\)16\\)->mtu: at [1-9][0-9]* calls memory", warning.Text);
        Assert.Contains(stopping.Remarks.OfType<TraceRecord.Warning>(), w => w.Text.Contains("((struct net_device *)16)->mtu cannot be read at 0x", StringComparison.Ordinal));
    }

    [Fact]
    public void Tasks_and_cpus_are_told_apart_on_four_cpus()
    {
        using var program = new KTraceProgram();
        var trace = Record(
            program, "cpus.ktrace", "e1000e-msix", "--no-stop", "--cpus", "4", "-b", "scheduler_tick if $cpu == 2", "-b", "do_filp_open if current->pid == 1 first 5", "-b", "hrtimer_interrupt if current->pid == 0 && this_cpu(cpu_number) == 3",
            "-b", "__x64_sys_ioctl if current->comm == \"ifconfig\" sample 2");
        var hits = trace.Hits.ToLookup(h => h.Tracepoint);
        output.WriteLine(string.Join(' ', hits.Select(h => h.Count())));
        Assert.All(hits[1], h => Assert.Equal(2, h.Cpu));
        Assert.All(hits[2], h => Assert.Equal(1, h.Task!.Pid));
        Assert.All(hits[3], h => Assert.Equal((3, 0), (h.Cpu, h.Task!.Pid)));
        Assert.All(hits[4], h => Assert.Equal("ifconfig", h.Task!.Comm));
        Assert.All(Enumerable.Range(1, 4), id => Assert.NotEmpty(hits[id]));

        // What is counted is what holds.
        Assert.Equal(5, hits[2].Count());
    }

    private static Trace Record(KTraceProgram program, string file, params string[] arguments)
    {
        var run = program.Run(["record", .. arguments, "-o", file]);
        Assert.True(run.ExitCode == 0, run.Errors);
        return Trace.Load(program.PathOf(file));
    }

    private static List<string> Paths(Trace trace, int tracepoint) =>
        [.. trace.Hits.Where(h => h.Tracepoint == tracepoint).Select(h => string.Join(" < ", h.Path.Frames.Select(f => f.Function)))];
}
