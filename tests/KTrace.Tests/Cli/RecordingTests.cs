using System.Text.RegularExpressions;
using KTrace.Tests.Tracing;
using KTrace.Tracing;

namespace KTrace.Tests.Cli;

/// <summary>The main job on the real kernel: every frame right, none invented.</summary>
[Collection(nameof(BootsCollection))]
public sealed class RecordingTests(RecordedBoots boots)
{
    /// <summary>From the request to the system call, as gdb shows it with the module's symbols added by hand.</summary>
    private static readonly string[] RequestPath =
    [
        "request_threaded_irq", "request_irq [e1000e] (inline)", "e1000_request_msix [e1000e] (inline)", "e1000_request_irq [e1000e]", "e1000e_open [e1000e]",
        "__dev_open", "__dev_change_flags", "dev_change_flags", "devinet_ioctl", "inet_ioctl", "sock_do_ioctl", "sock_ioctl", "vfs_ioctl (inline)",
        "__do_sys_ioctl (inline)", "__se_sys_ioctl (inline)", "__x64_sys_ioctl", "do_syscall_x64 (inline)", "do_syscall_64", "entry_SYSCALL_64_after_hwframe",
    ];

    [Theory]
    [InlineData("eth0-rx-0", 2121)]
    [InlineData("eth0-tx-0", 2137)]
    [InlineData("eth0", 2147)]
    public void The_driver_requests_each_vector_by_exactly_this_path(string vector, int line)
    {
        var hit = RequestOf(boots.Plain, vector);

        Assert.Equal(RequestPath, Names(hit));
        Assert.All(hit.Path.Frames, f => Assert.True(f.File is not null && f.Line > 0, f.Function));
        Assert.Equal(("drivers/net/ethernet/intel/e1000e/netdev.c", line), (hit.Path.Frames[2].File, hit.Path.Frames[2].Line!.Value));
        Assert.Equal("ifconfig", hit.Task!.Comm);
        Assert.True(hit.Task.Pid > 1);
        Assert.InRange(hit.Clock!.Seconds(null)!.Value, 0.5, 300);
        var end = hit.PathEnd!;
        Assert.Equal((TraceEndReason.User, "ioctl", "SIOCSIFFLAGS"), (end.Reason, end.Syscall!.Name, end.Syscall.ArgumentTexts[1]));
        Assert.InRange(end.Pc!.Value, 0x1000UL, 0x7fffffffffffUL);
        Assert.InRange(end.Sp!.Value, end.Pc.Value, 0x7fffffffffffUL);
    }

    [Fact]
    public void Arguments_are_what_the_guest_itself_prints_in_proc_interrupts()
    {
        var printed = Console(boots.Plain).Select(l => Regex.Match(l, @"^ *(\d+): .* PCI-MSI .* (eth0\S*)\s*$")).Where(m => m.Success)
            .ToDictionary(m => m.Groups[2].Value, m => m.Groups[1].Value);

        Assert.Equal(["eth0", "eth0-rx-0", "eth0-tx-0"], printed.Keys.Order(StringComparer.Ordinal));
        Assert.All(printed, p => Assert.Equal(p.Value, RequestOf(boots.Plain, p.Key).ArgumentsOf(0).Single(a => a.Name == "irq").Text));
    }

    [Fact]
    public void A_vector_is_composed_when_it_is_allocated_and_again_when_it_is_activated()
    {
        var composed = boots.Plain.Hits.Where(h => h.Path.Frames[0].Function == "x86_vector_msi_compose_msg" && h.Path.Frames.Any(f => f.Module == "e1000e")).ToList();
        var allocation = composed.Where(h => Has(h, "msi_init_virq")).ToList();
        var activation = composed.Where(h => Has(h, "e1000_request_msix")).ToList();

        Assert.Equal((3, 3, 6), (allocation.Count, activation.Count, composed.Count));
        Assert.All(allocation, h => Assert.True(Has(h, "pci_alloc_irq_vectors_affinity") || Has(h, "__pci_enable_msix_range") || Has(h, "pci_enable_msix_range")));
        Assert.All(allocation, h => Assert.Equal("finit_module", h.PathEnd!.Syscall!.Name));
        Assert.All(activation, h => Assert.True(h.Path.Frames.Single(f => f.Function == "irq_activate").IsTailCall));
    }

    [Fact]
    public void Every_path_has_names_and_a_reason_to_end()
    {
        foreach (var hit in boots.Plain.Hits)
        {
            Assert.All(hit.Path.Frames, f => Assert.Matches(@"^[A-Za-z_][\w.]*$", f.Function));
            var last = hit.Path.Frames[^1].Function;
            switch (hit.PathEnd!.Reason)
            {
                case TraceEndReason.BootCpu: Assert.StartsWith("secondary_startup_64", last); break;
                case TraceEndReason.KernelThread: Assert.Equal("ret_from_fork", last); break;
                case TraceEndReason.User: Assert.Equal("entry_SYSCALL_64_after_hwframe", last); break;
                default: Assert.Fail($"hit {hit.Sequence} ends with {hit.PathEnd.Reason}"); break;
            }
        }

        Assert.Contains(boots.Plain.Hits, h => h.PathEnd!.Reason == TraceEndReason.BootCpu);
        Assert.Contains(boots.Plain.Hits, h => h.PathEnd!.Reason == TraceEndReason.KernelThread);
        Assert.Equal("guest powered off", boots.Plain.End!.Reason);
        Assert.Contains("irq_msi_compose_msg is x86_vector_msi_compose_msg in this kernel", boots.PlainRun!.Errors);
        Assert.Matches(@"^29 hits in .* s, the guest ended: plain.ktrace\n$", boots.PlainRun.Output);
    }

    [Fact]
    public void Paths_are_gdbs_function_by_function()
    {
        var ours = boots.Plain.Hits.Where(h => h.Path.Frames[0].Function == "x86_vector_msi_compose_msg").ToList();
        var gdbs = GdbReference.Backtraces.Select(lines => lines.Select(l => Regex.Match(l, @"^#\d+ +(?:0x[0-9a-f]+ in )?(\S+) \(").Groups[1].Value).ToList()).ToList();

        Assert.Equal(gdbs.Count, ours.Count);
        // gdb names assembly by the symbol that begins a CFI entry, we by the nearest one, as the kernel does; and it misses one tail call (load_module's).
        Assert.All(gdbs.Zip(ours), pair => Assert.Equal(
            pair.First.Select(f => f switch { "secondary_startup_64" => "secondary_startup_64_no_verify", "entry_SYSCALL_64" => "entry_SYSCALL_64_after_hwframe", _ => f }),
            pair.Second.Path.Frames.Where(f => !f.IsTailCall || pair.First.Contains(f.Function)).Select(f => f.Function)));
    }

    [Fact]
    public void A_second_boot_of_it_goes_the_same_ways()
    {
        _ = boots.Plain;

        var run = boots.Program.Run("replay", "plain.ktrace", "-o", "again.ktrace");

        if (run.ExitCode != 0)
        {
            // On a host that is busy the timer's first interrupt may come too late, and check_timer (arch/x86/kernel/apic/io_apic.c) sets it up once more: the guest's own doing.
            Assert.Equal(1, run.ExitCode);
            Assert.Equal(WithoutTimerCheck(boots.Plain), WithoutTimerCheck(Trace.Load(boots.Program.PathOf("again.ktrace"))));
        }

        Assert.Equal(run.ExitCode, boots.Program.Run("diff", "plain.ktrace", "again.ktrace").ExitCode);
        Assert.Equal(1, boots.Program.Run("diff", "plain.ktrace#22", "plain.ktrace#29").ExitCode);
    }

    private static IEnumerable<string> WithoutTimerCheck(Trace trace) => trace.Hits.Where(h => !Has(h, "check_timer")).Select(h => h.Path.ToString());

    [Fact]
    public void A_kernel_at_a_random_address_goes_the_same_ways()
    {
        _ = boots.Plain;

        var run = boots.Program.Run("record", "e1000e-kaslr", "-o", "kaslr.ktrace");

        Assert.True(run.ExitCode == 0, run.Errors);
        var trace = Trace.Load(boots.Program.PathOf("kaslr.ktrace"));
        Assert.NotEqual(0UL, trace.Header.Slide);
        Assert.Equal(0UL, trace.Header.Slide % (2 << 20));
        var diff = boots.Program.Run("diff", "plain.ktrace", "kaslr.ktrace");
        Assert.True(diff.ExitCode == 0, diff.Output);
    }

    [Fact]
    public void Another_initramfs_is_no_replay()
    {
        _ = boots.Plain;
        var text = File.ReadAllText(boots.Program.PathOf("plain.ktrace"));
        boots.Program.Write("changed.ktrace", Regex.Replace(text, "(\"initramfs\":{\"file\":\"[^\"]*\",\"sha256\":\")[0-9a-f]{8}", "${1}00000000"));

        var run = boots.Program.Run("replay", "changed.ktrace");

        Assert.Equal(2, run.ExitCode);
        Assert.Contains("the initramfs is not the one that was recorded", run.Errors);
        Assert.Contains("00000000", run.Errors);
    }

    [Fact]
    public void With_four_cpus_the_paths_are_the_same()
    {
        foreach (var vector in (string[])["eth0-rx-0", "eth0-tx-0", "eth0"])
        {
            Assert.Equal(RequestPath, Names(RequestOf(boots.FourCpus, vector)));
        }

        Assert.True(boots.FourCpus.Hits.Select(h => h.Cpu).Distinct().Count() > 1, "every hit was on one CPU");
        // The idle task of each CPU bears its number: where one was hit, both must agree.
        Assert.All(
            boots.FourCpus.Hits.Where(h => h.Task is { Pid: 0 }), h => Assert.Equal($"swapper/{h.Cpu}", h.Task!.Comm));
    }

    [Fact]
    public void Tracepoints_in_a_module_are_armed_before_its_init_function_runs()
    {
        var hits = boots.FourCpus.Hits;
        var init = Assert.Single(hits, h => h.Path.Frames[0].Function == "e1000_init_module");
        var open = Assert.Single(hits, h => h.Path.Frames[0].Function == "e1000e_open");

        Assert.Equal(["e1000_init_module [e1000e]", "do_one_initcall", "do_init_module"], Names(init).Take(3));
        Assert.Equal("finit_module", init.PathEnd!.Syscall!.Name);
        Assert.Equal(RequestPath[4..], Names(open));
        Assert.Contains("e1000e_open is in module e1000e; armed when it is loaded", boots.FourCpusRun!.Errors);
        Assert.Contains("e1000e_open armed: module e1000e is being loaded", boots.FourCpusRun.Errors);
        Assert.Contains(boots.FourCpus.Modules, m => m.Name == "e1000e");
    }

    [Fact]
    public void A_recording_ends_where_it_was_told_to()
    {
        var hits = boots.Program.Run("record", "e1000e-msix", "-b", "kmem_cache_alloc", "-b", "mm/slub.c:kmem_cache_alloc", "--max-hits", "5", "-o", "limit.ktrace");
        Assert.True(hits.ExitCode == 0, hits.Errors);
        var limited = Trace.Load(boots.Program.PathOf("limit.ktrace"));
        Assert.Equal((5, "hit limit reached"), (limited.Hits.Count, limited.End!.Reason));
        // Two tracepoints at one place are two hits each time.
        Assert.Equal([1, 2, 1, 2, 1], limited.Hits.Select(h => h.Tracepoint));

        var until = boots.Program.Run("record", "e1000e-msix", "-b", "e1000e:e1000e_open", "--until", "Memory: ", "-o", "until.ktrace");
        Assert.True(until.ExitCode == 0, until.Errors);
        Assert.Contains("e1000e_open was never armed: module e1000e was not loaded", until.Errors);
        Assert.Equal("console showed: Memory: ", Trace.Load(boots.Program.PathOf("until.ktrace")).End!.Reason);

        var time = boots.Program.Run("record", "shell", "--until", "this is never printed", "--timeout", "0.5m", "-o", "time.ktrace");
        Assert.Equal(1, time.ExitCode);
        Assert.Contains("the console never showed \"this is never printed\"", time.Errors);
        Assert.Equal("time limit reached", Trace.Load(boots.Program.PathOf("time.ktrace")).End!.Reason);
    }

    private static TraceRecord.Hit RequestOf(Trace trace, string vector) => Assert.Single(
        trace.Hits, h => h.Path.Frames[0].Function == "request_threaded_irq" && Has(h, "e1000_request_msix") && h.ArgumentsOf(0).Any(a => a.Name == "devname" && a.Text?.Contains($"\"{vector}\"") == true));

    private static bool Has(TraceRecord.Hit hit, string function) => hit.Path.Frames.Any(f => f.Function == function);

    private static IEnumerable<string> Names(TraceRecord.Hit hit) =>
        hit.Path.Frames.Select(f => f.Function + (f.Module is null ? "" : $" [{f.Module}]") + (f.IsInline ? " (inline)" : ""));

    private static IEnumerable<string> Console(Trace trace)
    {
        using var reader = TraceReader.Open(trace.File);
        return [.. reader.ReadAll().OfType<TraceRecord.Console>().Select(c => c.Text)];
    }
}
