using System.Text.RegularExpressions;
using KTrace.Tracing;
using Xunit.Abstractions;

namespace KTrace.Tests.Cli;

/// <summary>Whole recordings without stops, by the program: beside the same with stops, and where nothing stands where it usually does.</summary>
[Collection(nameof(NonStopBootsCollection))]
public sealed partial class NonStopRecordingTests(ITestOutputHelper output)
{
    /// <summary>
    /// Called as often, in the same order, in every boot of the scenario: by the boot CPU (the first three before there are the tracer's no-ops), by kernel threads, by system calls, in the kernel and in a
    /// module, its init text included.
    /// </summary>
    private static readonly string[] Functions =
    [
        "setup_per_cpu_areas", "build_all_zonelists", "kmem_cache_init",
        "irq_msi_compose_msg", "request_threaded_irq", "free_irq", "__dev_open", "e1000e_open", "e1000e:e1000_request_irq", "e1000e:e1000_init_module", "msi_domain_activate", "pci_enable_msix_range",
        // Others than those above, at the same functions: each writes hits of its own.
        "request_threaded_irq if irq == 24", "__dev_open return", "pci_enable_msix_range if minvec > 0 return", "pci_enable_msix_range return",
    ];

    /// <summary>Without the kernel's check whether timer interrupts come in time (check_timer, arch/x86/kernel/apic/io_apic.c): on a busy host it sets one up a second time.</summary>
    private const string Append = "console=ttyS0 nokaslr no_timer_check";

    [Fact]
    public void A_boot_has_the_same_hits_with_stops_and_without()
    {
        using var program = new KTraceProgram();
        var stopping = Record(program, "stop.ktrace", ["e1000e-msix", "--append", Append, "--stop", .. Functions.SelectMany(f => (string[])["-b", f])]);
        var running = Record(program, "run.ktrace", ["e1000e-msix", "--append", Append, .. Functions.SelectMany(f => (string[])["-b", f])]);

        Assert.All(running.Tracepoints.All, t => Assert.Equal(TracepointWay.NonStop, t.Way));
        Assert.All(stopping.Tracepoints.All, t => Assert.NotEqual(TracepointWay.NonStop, t.Way));
        var diff = program.Run("diff", "stop.ktrace", "run.ktrace");
        Assert.True(diff.ExitCode == 0, diff.Output + diff.Errors);
        Assert.True(running.HitCount > 40, $"{running.HitCount} hits");
        Assert.Equal(running.NonStop!.Hits, running.HitCount);
        Assert.Equal((0, 0, 0), (running.NonStop.Dropped, running.NonStop.Broken, running.NonStop.Cut));
        Assert.Equal(Enumerable.Range(1, (int)running.HitCount).Select(i => (long)i), running.Hits.Select(h => h.Sequence));
        foreach (var (a, b) in stopping.Hits.Zip(running.Hits))
        {
            Assert.Equal((stopping.Tracepoints.Find(a.Tracepoint)!.Requested, stopping.Returns.ContainsKey(a.Sequence)), (running.Tracepoints.Find(b.Tracepoint)!.Requested, running.Returns.ContainsKey(b.Sequence)));
            Assert.Equal(a.Path.Frames.Select(f => (f.Function, f.Module, f.Line, f.IsInline, f.IsTailCall)), b.Path.Frames.Select(f => (f.Function, f.Module, f.Line, f.IsInline, f.IsTailCall)));
            Assert.Equal((a.PathEnd!.Reason, a.PathEnd.Syscall?.Name, a.Task!.Comm, a.Cpu), (b.PathEnd!.Reason, b.PathEnd.Syscall?.Name, b.Task!.Comm, b.Cpu));

            Assert.Equal(a.Registers.Select(r => r.Name), b.Registers.Select(r => r.Name));
            Assert.Equal(a.Pcs[0], b.Registers.Single(r => r.Name == "rip").Value);

            // Heap addresses differ from boot to boot; what they lead to, and all else, does not.
            Assert.Equal(a.ArgumentsOf(0).Select(v => v.Name + "=" + Stable(v)), b.ArgumentsOf(0).Select(v => v.Name + "=" + Stable(v)));
        }
    }

    [Fact]
    public void Sets_are_recorded_whole_on_four_cpus_with_KASLR()
    {
        using var program = new KTraceProgram();
        var trace = Record(program, "sets.ktrace", "e1000e-msix", "--cpus", "4", "--append", "console=ttyS0", "-b", "@irq", "-b", "@module:e1000e");
        output.WriteLine($"{trace.HitCount} hits, {trace.Tracepoints.All.Count} functions, slide 0x{trace.Header.Slide:x}");

        Assert.NotEqual(0ul, trace.Header.Slide ?? 0);
        Assert.True(trace.HitCount > 5000 && trace.Tracepoints.All.Count > 1000);
        Assert.Equal(trace.HitCount, trace.NonStop!.Hits);
        Assert.Equal(0, trace.NonStop.Dropped);
        Assert.All(trace.Hits, h => Assert.True(
            h.PathEnd!.Reason is TraceEndReason.User or TraceEndReason.KernelThread or TraceEndReason.BootCpu or TraceEndReason.Idle or TraceEndReason.Cut,
            $"hit {h.Sequence} ends with {h.PathEnd.Reason}: {string.Join(" < ", h.Path.Frames.Select(f => f.Function))}"));
        Assert.True(trace.Hits.Select(h => h.Cpu).Distinct().Count() > 1);
        foreach (var cpu in trace.Hits.GroupBy(h => h.Cpu))
        {
            Assert.Equal(cpu.Select(h => h.Clock!.Ticks).Order(), cpu.Select(h => h.Clock!.Ticks));
        }

        // A function that leaves by a system call's way out has that call's name; modules have theirs.
        Assert.Contains(trace.Hits, h => h.Path.Frames[0] is { Function: "e1000e_open", Module: "e1000e" } && h.PathEnd!.Syscall?.Name == "ioctl");
        Assert.Matches(new Regex(@"^tracepoint +@irq +\d+ hits +\d+ functions, \d+ of them hit +non-stop: ", RegexOptions.Multiline), program.Run("show", "sets.ktrace", "--stats").Output);
    }

    [Theory]
    [InlineData("request_threaded_irq+4", "a place inside the function")]
    [InlineData("request_irq", "the call was replaced by the function's body")]
    [InlineData("__dev_open print dev->name", "print reads the guest's memory as it is at the hit")]
    [InlineData("do_syscall_64", "noinstr: entry code")]
    public void What_needs_a_stop_is_refused_before_anything_boots(string place, string reason)
    {
        using var program = new KTraceProgram();
        var run = program.Run("record", "e1000e-msix", "--no-stop", "-b", place, "-o", "no.ktrace");
        Assert.Equal(2, run.ExitCode);
        Assert.Matches($"cannot be traced without stops: .*({reason})", run.Errors);
        Assert.False(File.Exists(program.PathOf("no.ktrace")));
    }

    [Theory]
    [InlineData("vfs_read", "-b", "vfs_read", "-b", "vfs_write")]
    [InlineData("a guest that runs already")]
    public void Somebody_else_s_guest_is_refused_before_it_is_asked(string what, params string[] tracepoints)
    {
        using var program = new KTraceProgram();
        var run = program.Run(["attach", "unix:/nobody/listens", "--no-stop", .. tracepoints]);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains($"{what} cannot be traced without stops: its QEMU was started by somebody else", run.Errors, StringComparison.Ordinal);
        Assert.Contains("ktrace record", run.Errors, StringComparison.Ordinal);
    }

    private static Trace Record(KTraceProgram program, string file, params string[] arguments)
    {
        var run = program.Run(["record", .. arguments, "-o", file]);
        Assert.True(run.ExitCode == 0, run.Errors);
        return Trace.Load(program.PathOf(file), keepRegisters: true);
    }

    private static string Stable(TraceArgument value) => HeapAddress().Replace(value.Text ?? "?", "HEAP");

    [GeneratedRegex("0xffff[89c][0-9a-f]{11}")]
    private static partial Regex HeapAddress();
}
