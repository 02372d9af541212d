// ktrace record: boot, stop at every tracepoint, keep what was found.
using System.CommandLine;
using System.Globalization;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Scenarios;
using KTrace.Cli.Sessions;
using KTrace.Debugger.NonStop;
using KTrace.Debugger.Recording;
using KTrace.Debugger.Tracepoints;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Tui.Views;

namespace KTrace.Cli.Verbs;

internal static class RecordVerb
{
    public static Command Create(IReadOnlyList<string> qemuArguments)
    {
        var boot = new BootOptions();
        var breakpoints = new Option<string[]>("--break", "-b") { HelpName = "PLACE[ if COND][ sample N][ first N][ print EXPR, …][ irqs][ return …]", Description = "A tracepoint: symbol, file.c:symbol, file.c:123, module:symbol, symbol+0x10 or 0xaddress; or many functions: 'irq_*', '/regex/', 'module:*', @module:NAME, '@SOURCE/FILES/*', or a ready set ("
            + string.Join(", ", ReadySets.All.Select(set => "@" + set.Name)) + "); and what to do there; may be given several times" };
        var capture = new CaptureOptionsReader();
        var interrupts = new Option<bool>("--irqs") { Description = "Record interrupt controllers and the kernel's interrupts at every hit, and at the end (ktrace irqs shows them)" };
        var output = new Option<string?>("--output", "-o") { HelpName = "FILE", Description = "The trace to write" };
        var timeout = TimeoutOption.Create("Stop after so long");
        var maximum = new Option<int?>("--max-hits") { HelpName = "N", Description = "Stop after so many hits" };
        var until = new Option<string?>("--until") { HelpName = "TEXT", Description = "Stop when this text appears on the console; exit 1 if it never does" };
        var command = new Command(
            "record",
            """
            Boot a kernel in QEMU and record a hit, with its whole call path, every time a tracepoint is reached. Arguments behind -- are QEMU's own.

            Examples:
              ktrace record e1000e-msix -b request_threaded_irq -o run.ktrace
              ktrace record e1000e-msix -b 'request_threaded_irq if irq >= 24 print devname, current->comm'
              ktrace record e1000e-msix -b '@irq' -b @module:e1000e --except 'irq_work_*' -o all.ktrace
              ktrace record e1000e-msix -b 'vfs_read sample 100' -b 'kmem_cache_alloc first 1000' --lossy
              ktrace record e1000e-msix -b '@drivers/net/ethernet/intel/e1000e/*' --dry-run
              ktrace record e1000e-msix -b 'x86_vector_msi_compose_msg return print *msg' -b 'e1000_request_irq return if $ret < 0'
              ktrace record --kernel bzImage --vmlinux vmlinux --initrd rootfs.cpio.gz --append "console=ttyS0" --nic e1000e -b e1000e_open
              ktrace record --kernel bzImage --vmlinux vmlinux --append "console=ttyS0 root=/dev/vda" -b ext4_mount --timeout 60 -- -drive file=a.img,format=raw,if=virtio
            """)
        {
            breakpoints, interrupts, output, timeout, maximum, until,
        };
        capture.AddTo(command);
        boot.AddTo(command);
        command.SetAction((result, cancellationToken) =>
        {
            var named = boot.Read(result, qemuArguments);
            var scenario = named with
            {
                Tracepoints = result.GetValue(breakpoints) is { Length: > 0 } points ? [.. points] : named.Tracepoints,
                Timeout = result.GetValue(timeout) ?? named.Timeout,
                MaxHits = result.GetValue(maximum) ?? named.MaxHits,
                Until = result.GetValue(until) ?? named.Until,
            };
            var options = capture.Read(result, scenario);
            return capture.IsDryRun(result)
                ? DryRun.RunAsync(scenario, options, result.InvocationConfiguration, cancellationToken)
                : RunAsync(scenario, result.GetValue(output) ?? scenario.Name + ".ktrace", options, result.GetValue(interrupts), cancellationToken);
        });
        return command;
    }

    private static async Task<int> RunAsync(Scenario boot, string output, CaptureOptions options, bool interrupts, CancellationToken cancellationToken)
    {
        EnsureTracepoints(boot);
        if (boot.Timeout is <= 0 || boot.MaxHits is <= 0 || boot.Cpus <= 0)
        {
            throw new BootException("--timeout, --max-hits and --cpus are numbers greater than 0");
        }

        using var status = new RecordingStatus();
        var outcome = await new RecordingSession(boot, new KernelStore(), status) { Capture = options, Interrupts = interrupts }.RunAsync(output, cancellationToken);
        status.Dispose();
        Console.Out.WriteLine(Summary(outcome));
        if (!outcome.UntilSeen)
        {
            Console.Error.WriteLine(TerminalText.Sanitize($"ktrace: the console never showed \"{boot.Until}\""));
            return CommandRunner.Different;
        }

        return CommandRunner.Success;
    }

    /// <exception cref="BootException">There are none.</exception>
    internal static void EnsureTracepoints(Scenario boot)
    {
        if (boot.Tracepoints.IsEmpty)
        {
            throw new BootException("nothing to record: no tracepoint was given", "-b SYMBOL, for example -b request_threaded_irq");
        }
    }

    /// <summary>What became of a recording, in a line.</summary>
    internal static string Summary(RecordingOutcome outcome)
    {
        var why = outcome.Result.End switch
        {
            RecordingEnd.GuestEnded => "the guest ended",
            RecordingEnd.HitLimit => "hit limit reached",
            RecordingEnd.Timeout => "time limit reached",
            RecordingEnd.ConsoleText => "the console showed the text",
            _ => "interrupted",
        };
        return string.Create(
            CultureInfo.InvariantCulture, $"{outcome.Result.Hits} hit{(outcome.Result.Hits == 1 ? "" : "s")} in {outcome.Result.Seconds:0.0} s, {why}: {TerminalText.Sanitize(outcome.File)}");
    }
}
