using KTrace.Debugger.NonStop;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Recording;
using KTrace.Tests.Cli;
using KTrace.Tests.Debugger.NonStop.Faults;
using KTrace.Tracing;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Relocation;

/// <summary>Kernels of other kinds, recorded without stops from beginning to end.</summary>
[Collection(nameof(NonStopBootsCollection))]
[Trait("Group", "Long")]
public sealed class RelocatedRecordingTests(ITestOutputHelper output)
{
    private const string LargeReads = "vfs_read if count > 100";

    private static readonly string[] Places = ["vfs_* return", "vfs_read", LargeReads, "kmem_cache*", "@irq"];

    [SkippableTheory]
    [InlineData("tree:tiny64", 1)]
    [InlineData("tree:tiny64", 4)]
    [InlineData("tree:tiny32", 1)]
    public async Task A_kernel_without_the_function_tracer_is_recorded_by_moved_instructions(string kernel, int cpus)
    {
        await using var guest = await RecordedGuest.BootAsync(OracleKernels.Open(kernel), "mkdir /a; mkdir /b; cat /proc/interrupts; echo FINISHED", cpus, append: "");
        var trace = await RecordAsync(guest);
        Assert.All(trace.Tracepoints.All.Where(t => t.Way == TracepointWay.NonStop), t => Assert.StartsWith("its first instructions are moved", t.WayReason, StringComparison.Ordinal));
        Assert.Equal(2, trace.Hits.Count(h => h.Path.Frames[0].Function == "vfs_mkdir" && h.Task!.Comm == "mkdir"));
        Assert.All(trace.Hits.Where(h => h.Path.Frames[0].Function == "vfs_mkdir"), h => Assert.True(trace.Returns.ContainsKey(h.Sequence)));

        // One function leads through two trampolines: the second has a hit wherever the first's has such an argument.
        var reads = Trace.Load(guest.TraceFile, keepRegisters: true).Hits.Where(h => h.Path.Frames[0].Function == "vfs_read").ToLookup(h => trace.Tracepoints.Find(h.Tracepoint)!.Requested, h => h.ArgumentsOf(0).Single(a => a.Name == "count").Value > 100);
        Assert.Equal(TracepointWay.NonStop, trace.Tracepoints.All.Single(t => t.Requested == LargeReads).Way);
        Assert.All(reads[LargeReads], Assert.True);
        Assert.Equal(reads["vfs_read"].Count(isLarge => isLarge), reads[LargeReads].Count());
        Assert.NotEmpty(reads[LargeReads]);
    }

    /// <summary>It tests its own tracers while its functions lead to ours.</summary>
    [SkippableFact]
    public async Task A_kernel_with_start_up_tests_of_its_tracer_passes_them()
    {
        await using var guest = await RecordedGuest.BootAsync(OracleKernels.Open("tree:ftrace64"), "cat /proc/interrupts; echo FINISHED", cpus: 2, append: "");
        var trace = await RecordAsync(guest);
        var console = await guest.ConsoleAsync();
        Assert.Contains("Testing tracer function: PASSED", console, StringComparison.Ordinal);
        Assert.DoesNotContain("FAILED", console, StringComparison.Ordinal);
        Assert.Contains(trace.Remarks.OfType<TraceRecord.Warning>(), w => w.Text.Contains("the kernel's own tracer or probes use", StringComparison.Ordinal));
    }

    private async Task<Trace> RecordAsync(RecordedGuest guest)
    {
        var result = await guest.RecordAsync(Places, CaptureOptions.Default with { Choice = CaptureChoice.Auto });
        var (trace, console) = (guest.Trace, await guest.ConsoleAsync());
        output.WriteLine($"{result.Hits} hits, {trace.Tracepoints.All.Count} functions; {string.Join("; ", trace.Remarks.OfType<TraceRecord.Warning>().Select(w => w.Text).Take(5))}");
        Assert.Equal(RecordingEnd.GuestEnded, result.End);
        Assert.Contains("FINISHED", console, StringComparison.Ordinal);
        Assert.DoesNotContain("WARNING: CPU", console, StringComparison.Ordinal);
        Assert.Equal((0L, 0L), (trace.NonStop!.Broken, trace.NonStop.Dropped));
        Assert.True(result.Hits > 10_000, $"{result.Hits} hits");

        // These kernels have no ORC: nothing describes how an interrupt changes stacks, and some assembly. What an interrupt finds in a trampoline that the kernel has made is told by memory that a record has not got.
        var ended = trace.Hits.Where(h => h.Context is not { Preempt: { InHardIrq: true } or { ServesSoftIrq: true } }).ToList();
        var bad = ended.Count(h => h.PathEnd!.Reason is not (TraceEndReason.User or TraceEndReason.KernelThread or TraceEndReason.BootCpu or TraceEndReason.Idle));
        Assert.True(bad < ended.Count / 100, $"{bad} of {ended.Count} paths have no good end");
        return trace;
    }
}
