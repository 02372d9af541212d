using System.Collections.Immutable;
using KTrace.Debugger.NonStop.Coexistence;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Cli;
using KTrace.Tests.Support;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Coexistence;

/// <summary>Kernels whose own tracers are switched on and off while thousands of their functions lead to our code.</summary>
[Collection(nameof(NonStopBootsCollection))]
public sealed class FtraceHandOverTests(ITestOutputHelper output)
{
    // On a busy host the kernel finds its clock unstable and says at length that it traces with another one.
    private const string Append = "trace_clock=local";

    /// <summary>Each word SOME stands for lines that the kernel's tracer wrote.</summary>
    private const string Tracers = """
        mount -t tracefs tracefs /sys/kernel/tracing
        cd /sys/kernel/tracing
        some() { grep -q "$2" trace && echo "$1 SOME" || echo "$1 NONE"; }
        echo 'FILTER' > set_ftrace_filter
        echo function_graph > current_tracer
        cat /init > /dev/null
        echo 0 > tracing_on
        some GRAPH 'vfs_read'
        echo nop > current_tracer
        echo 1 > tracing_on
        echo 'p:entry vfs_read' > kprobe_events
        echo 1 > events/kprobes/entry/enable
        cat /init > /dev/null
        some PROBE 'entry: (vfs_read'
        echo 0 > events/kprobes/entry/enable
        echo > kprobe_events
        echo 'p:middle vfs_read+MIDDLE' > kprobe_events
        echo 1 > events/kprobes/middle/enable
        sleep 1
        cat /init > /dev/null
        some MIDDLE 'middle: (vfs_read'
        echo 0 > events/kprobes/middle/enable
        cd /
        """;

    [SkippableTheory]
    [Trait("Group", "Long")]
    [InlineData("tree:ftrace64", 1)]
    [InlineData("tree:ftrace64", 2)]
    [InlineData("tree:ftrace32", 1)]
    public async Task A_kernel_tests_its_own_tracers_at_start_and_does_not_see_ours(string kernel, int cpus) => await RunAsync(OracleKernels.Open(kernel), cpus, "", _ => true);

    [Fact]
    public async Task A_stock_kernel_switches_its_tracers_on_and_off_and_does_not_see_ours() =>
        await RunAsync(OracleKernel.Package(StockKernel.Root, StockKernel.Release), 1, "vfs_*", name => name.StartsWith("vfs_", StringComparison.Ordinal) || name.StartsWith("ksys_", StringComparison.Ordinal));

    private async Task RunAsync(OracleKernel kernel, int cpus, string filter, Predicate<string> which)
    {
        var script = Tracers.Replace("FILTER", filter, StringComparison.Ordinal).Replace("MIDDLE'", $"0x{MiddleOf(kernel, "vfs_read"):x}'", StringComparison.Ordinal);
        using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(20));
        var untraced = await CoexistingGuest.BootUntracedAsync(kernel, script, Append, cpus);
        await using var guest = await CoexistingGuest.BootAsync(kernel, script, Append, cpus, patience.Token);
        var count = await guest.ArmNopsAsync(which, patience.Token);
        var handOver = new FtraceHandOver(guest.Machine, guest.Map, guest.Sites);
        await handOver.ArmAsync(patience.Token);
        var events = new List<HandOverEvent>();
        var stops = new List<string>();
        string console;
        try
        {
            console = await guest.RunToEndAsync(
                async registers =>
                {
                    Assert.True(handOver.IsMine(registers.ProgramCounter), $"0x{registers.ProgramCounter:x}");
                    var happened = await handOver.OnStopAsync(registers, patience.Token);
                    stops.Add($"cpu {guest.Machine.StoppedCpu} {guest.Map.NameOf(registers.ProgramCounter)} sp 0x{registers.StackPointer:x}: {happened}");
                    if (happened is not null)
                    {
                        events.Add(happened);
                    }
                },
                patience.Token);
        }
        catch (OperationCanceledException)
        {
            throw new TimeoutException(guest.ConsoleTail);
        }

        var calls = Enumerable.Range(0, count).Sum(i => (long)guest.CountOf(i));
        output.WriteLine($"{count} functions armed, {calls} calls; the kernel patched {handOver.Times} times, {events.OfType<HandOverEvent.Rearmed>().Max(e => e.LeftToKernel)} sites at once");
        output.WriteLine(string.Join('\n', console.Split('\n').Where(line => line.Contains("Testing tracer", StringComparison.Ordinal) || line.Contains("W+X", StringComparison.Ordinal))));
        foreach (var tracer in (string[])["GRAPH SOME", "PROBE SOME", "MIDDLE SOME"])
        {
            Assert.Contains(tracer, console, StringComparison.Ordinal);
        }

        Assert.DoesNotContain("WARNING: CPU", console, StringComparison.Ordinal);
        Assert.Equal(untraced.Contains("no W+X pages found", StringComparison.Ordinal), console.Contains("no W+X pages found", StringComparison.Ordinal));
        Assert.Empty(BootComparison.Differences(untraced, console));
        Assert.Contains(events, e => e is HandOverEvent.Rearmed { LeftToKernel: > 0 });
        Assert.Equal(0, events.OfType<HandOverEvent.Rearmed>().Last().LeftToKernel);
        Assert.True(AreInTurn(events), string.Join('\n', stops));
        Assert.Equal(events.Count(e => e is HandOverEvent.Restored), events.Count(e => e is HandOverEvent.Rearmed));
        Assert.True(guest.Sites.Count > count / 2, $"{guest.Sites.Count} are armed at the end");
        Assert.Single(events, e => e is HandOverEvent.InitFreed);
        Assert.True(calls > count, $"{calls} calls");
    }

    private static bool AreInTurn(List<HandOverEvent> events)
    {
        var isRestored = false;
        foreach (var happened in events.Where(e => e is not HandOverEvent.InitFreed))
        {
            if (happened is HandOverEvent.Restored == isRestored)
            {
                return false;
            }

            isRestored = !isRestored;
        }

        return true;
    }

    /// <summary>Where an instruction begins that a kprobe can be put on with int3.</summary>
    private static ulong MiddleOf(OracleKernel kernel, string function)
    {
        var image = KernelImage.Open(kernel.Vmlinux);
        Assert.True(image.TryFindSymbol(function, out var symbol));
        var code = new byte[64];
        Assert.True(image.TryRead(symbol.Value, code));
        return Disassembler.Disassemble(image.Architecture, code, symbol.Value).First(i => i.Address >= symbol.Value + 16).Address - symbol.Value;
    }
}
