using KTrace.Debugger.Cpus;
using KTrace.Debugger.Recording;
using KTrace.Tests.Cli;
using KTrace.Tests.Support;
using KTrace.Tracing;

namespace KTrace.Tests.Debugger.Cpus;

/// <summary>Functions of the kernel that run in one context alone tell whether a hit names its context right.</summary>
[Collection(nameof(BootsCollection))]
public sealed class HitContextTests
{
    private const string Script = """
        taskset 4 sh -c 'while :; do cat /init > /dev/null; done' &
        ifconfig lo 127.0.0.1 up
        for i in 1 2 3 4 5 6; do ping -c 1 -W 1 127.0.0.1 > /dev/null; done
        taskset 8 cat /proc/version
        sleep 1
        """;

    [Theory]
    [InlineData("stock")]
    public Task A_hit_knows_in_which_context_and_on_which_cpu_it_is(string kernel) => AHitKnowsItsContextAsync(kernel);

    [SkippableTheory]
    [Trait("Group", "Long")]
    [InlineData("other")]
    [InlineData("tree:fp64")]
    [InlineData("tree:fp32")]
    public Task A_hit_knows_its_context_on_other_kernels(string kernel) => AHitKnowsItsContextAsync(kernel);

    private static async Task AHitKnowsItsContextAsync(string kernel)
    {
        await using var guest = await OracleGuest.BootAsync(OracleKernels.Open(kernel), Script, cpus: 4);
        var hits = new Dictionary<string, List<StopCapture>>();
        string[] functions = ["net_rx_action", "handle_edge_irq", "kthread", "version_proc_show", "default_do_nmi", "start_secondary"];
        var isNmiSent = false;
        await guest.RunAsync(
            functions,
            async capture =>
            {
                var function = guest.Map.NameOf(capture.Registers.ProgramCounter)!;
                var here = hits.TryGetValue(function, out var known) ? known : hits[function] = [];
                here.Add(capture);
                if (!isNmiSent && function == "version_proc_show")
                {
                    isNmiSent = true;
                    await guest.Client.MonitorAsync("nmi");
                }

                // Ten of each are enough; the guest ends by itself.
                return functions.Any(f => !hits.TryGetValue(f, out var all) || (all.Count < 3 && f is not "default_do_nmi" and not "version_proc_show"));
            },
            TimeSpan.FromMinutes(8));

        All("start_secondary", c => Assert.Equal($"swapper/{c.Cpu}", c.Task!.Comm));
        // Now and then QEMU stops a second time, when another CPU is at a breakpoint just then and the step leads nowhere (HitRecorder steps again).
        Assert.Equal([1, 2, 3], hits["start_secondary"].Select(c => c.Cpu).Distinct().Order());
        All("net_rx_action", c => Assert.Equal(CodeContext.SoftIrq, c.Context!.Preempt.Context));
        All("handle_edge_irq", c => Assert.Equal((CodeContext.HardIrq, true), (c.Context!.Preempt.Context, c.Context.IrqsOff)));
        All("kthread", c => Assert.Equal((CodeContext.Task, true), (c.Context!.Preempt.Context, c.Task!.IsKernelThread)));
        All("default_do_nmi", c => Assert.Equal((CodeContext.Nmi, true), (c.Context!.Preempt.Context, c.Context.IrqsOff)));
        All("version_proc_show", c => Assert.Equal((CodeContext.Task, false, "cat", false, 3), (c.Context!.Preempt.Context, c.Context.IrqsOff, c.Task!.Comm, c.Task.IsKernelThread, c.Cpu)));

        void All(string function, Action<StopCapture> check)
        {
            Assert.True(hits.ContainsKey(function), $"{function} was not hit\n{guest.Console}");
            Assert.All(hits[function], c => check(c));
        }
    }
}
