// ktrace record: boot, stop at every tracepoint, keep what was found.
using System.CommandLine;
using System.Globalization;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Scenarios;
using KTrace.Cli.Sessions;
using KTrace.Debugger.Recording;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Tui.Views;

namespace KTrace.Cli.Verbs;

internal static class RecordVerb
{
    public static Command Create(IReadOnlyList<string> qemuArguments)
    {
        var boot = new BootOptions();
        var breakpoints = new Option<string[]>("--break", "-b") { HelpName = "PLACE[ if COND][ print EXPR, …][ irqs][ return …]", Description = "A tracepoint: symbol, file.c:symbol, file.c:123, module:symbol, 'irq_*', '/regex/', symbol+0x10 or 0xaddress, and what to do there; may be given several times" };
        var noArguments = new Option<bool>("--no-arguments") { Description = "Leave out the arguments of each frame: hits cost less" };
        var interrupts = new Option<bool>("--irqs") { Description = "Record interrupt controllers and the kernel's interrupts at every hit, and at the end (ktrace irqs shows them)" };
        var output = new Option<string?>("--output", "-o") { HelpName = "FILE", Description = "The trace to write" };
        var timeout = new Option<double?>("--timeout") { HelpName = "SECONDS", Description = "Stop after so long" };
        var maximum = new Option<int?>("--max-hits") { HelpName = "N", Description = "Stop after so many hits" };
        var until = new Option<string?>("--until") { HelpName = "TEXT", Description = "Stop when this text appears on the console; exit 1 if it never does" };
        var command = new Command(
            "record",
            """
            Boot a kernel in QEMU and record a hit, with its whole call path, every time a tracepoint is reached. Arguments behind -- are QEMU's own.

            Examples:
              ktrace record e1000e-msix -b request_threaded_irq -o run.ktrace
              ktrace record e1000e-msix -b 'request_threaded_irq if irq >= 24 print devname, current->comm'
              ktrace record e1000e-msix -b 'x86_vector_msi_compose_msg return print *msg' -b 'e1000_request_irq return if $ret < 0'
              ktrace record --kernel bzImage --vmlinux vmlinux --initrd rootfs.cpio.gz --append "console=ttyS0" --nic e1000e -b e1000e_open
              ktrace record --kernel bzImage --vmlinux vmlinux --append "console=ttyS0 root=/dev/vda" -b ext4_mount --timeout 60 -- -drive file=a.img,format=raw,if=virtio
            """)
        {
            breakpoints, noArguments, interrupts, output, timeout, maximum, until,
        };
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
            return RunAsync(scenario, result.GetValue(output) ?? scenario.Name + ".ktrace", !result.GetValue(noArguments), result.GetValue(interrupts), cancellationToken);
        });
        return command;
    }

    private static async Task<int> RunAsync(Scenario boot, string output, bool arguments, bool interrupts, CancellationToken cancellationToken)
    {
        if (boot.Tracepoints.IsEmpty)
        {
            throw new BootException("nothing to record: no tracepoint was given", "-b SYMBOL, for example -b request_threaded_irq");
        }

        if (boot.Timeout is <= 0 || boot.MaxHits is <= 0 || boot.Cpus <= 0)
        {
            throw new BootException("--timeout, --max-hits and --cpus are numbers greater than 0");
        }

        using var status = new RecordingStatus();
        var outcome = await new RecordingSession(boot, new KernelStore(), status) { Arguments = arguments, Interrupts = interrupts }.RunAsync(output, cancellationToken);
        status.Dispose();
        Console.Out.WriteLine(Summary(outcome));
        if (!outcome.UntilSeen)
        {
            Console.Error.WriteLine(TerminalText.Sanitize($"ktrace: the console never showed \"{boot.Until}\""));
            return CommandRunner.Different;
        }

        return CommandRunner.Success;
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
