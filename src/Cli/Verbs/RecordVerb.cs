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
        var scenario = new Argument<string?>("scenario") { Arity = ArgumentArity.ZeroOrOne, HelpName = "SCENARIO", Description = "A scenario file, or the name of one of KTrace's own (e1000e-msix)" };
        var kernel = Text("--kernel", "FILE", "The kernel to boot: vmlinuz or bzImage");
        var vmlinux = Text("--vmlinux", "FILE", "The same build's vmlinux, with DWARF");
        var initrd = Text("--initrd", "FILE", "The initramfs");
        var append = Text("--append", "TEXT", "The kernel's command line");
        var machine = Text("--machine", "TYPE", "QEMU's machine type (q35)");
        var cpu = Text("--cpu", "MODEL", "QEMU's CPU model");
        var memory = Text("--memory", "SIZE", "Guest memory, such as 512M or 2G (512M)");
        var cpus = new Option<int?>("--cpus") { HelpName = "N", Description = "Number of CPUs (1)" };
        var nics = new Option<string[]>("--nic") { HelpName = "MODEL", Description = "A network card on QEMU's user network, such as e1000e; may be given several times" };
        var modules = new Option<string[]>("--modules") { HelpName = "DIR", Description = "Where .ko files and their debug files are; twice at most" };
        var breakpoints = new Option<string[]>("--break", "-b") { HelpName = "PLACE[ if COND][ print EXPR, …][ return …]", Description = "A tracepoint: symbol, file.c:symbol, file.c:123, module:symbol, 'irq_*', '/regex/', symbol+0x10 or 0xaddress, and what to do there; may be given several times" };
        var noArguments = new Option<bool>("--no-arguments") { Description = "Leave out the arguments of each frame: hits cost less" };
        var output = new Option<string?>("--output", "-o") { HelpName = "FILE", Description = "The trace to write" };
        var timeout = new Option<double?>("--timeout") { HelpName = "SECONDS", Description = "Stop after so long" };
        var maximum = new Option<int?>("--max-hits") { HelpName = "N", Description = "Stop after so many hits" };
        var until = Text("--until", "TEXT", "Stop when this text appears on the console; exit 1 if it never does");
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
            scenario, kernel, vmlinux, initrd, append, machine, cpu, memory, cpus, nics, modules, breakpoints, noArguments, output, timeout, maximum, until,
        };
        command.SetAction((result, cancellationToken) =>
        {
            var named = result.GetValue(scenario) is { } name ? Scenarios.Read(name) : new Scenario { Name = "boot", Append = "console=ttyS0" };
            var boot = named with
            {
                Kernel = ChosenKernel(named.Kernel, result.GetValue(kernel), result.GetValue(vmlinux), result.GetValue(modules) ?? []),
                Initramfs = result.GetValue(initrd) is { } file ? new InitramfsChoice { File = Path.GetFullPath(file) } : named.Initramfs,
                Append = result.GetValue(append) ?? named.Append,
                Machine = result.GetValue(machine) ?? named.Machine,
                Cpu = result.GetValue(cpu) ?? named.Cpu,
                Memory = result.GetValue(memory) is { } size ? ParsedMemory(size) : named.Memory,
                Cpus = result.GetValue(cpus) ?? named.Cpus,
                Nics = result.GetValue(nics) is { Length: > 0 } cards ? [.. cards.Select(c => new NetworkCard(c))] : named.Nics,
                Tracepoints = result.GetValue(breakpoints) is { Length: > 0 } points ? [.. points] : named.Tracepoints,
                Timeout = result.GetValue(timeout) ?? named.Timeout,
                MaxHits = result.GetValue(maximum) ?? named.MaxHits,
                Until = result.GetValue(until) ?? named.Until,
                QemuArgs = [.. named.QemuArgs, .. qemuArguments],
            };
            return RunAsync(WithArchitecture(boot), result.GetValue(output) ?? boot.Name + ".ktrace", !result.GetValue(noArguments), cancellationToken);
        });
        return command;
    }

    private static async Task<int> RunAsync(Scenario boot, string output, bool arguments, CancellationToken cancellationToken)
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
        var outcome = await new RecordingSession(boot, new KernelStore(), status) { Arguments = arguments }.RunAsync(output, cancellationToken);
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

    private static Option<string?> Text(string name, string helpName, string description) => new(name) { HelpName = helpName, Description = description };

    private static KernelChoice? ChosenKernel(KernelChoice? named, string? image, string? vmlinux, string[] modules)
    {
        if (modules.Length > 2)
        {
            throw new BootException("--modules can be given twice at most: for the modules, and for their debug files");
        }

        if (image is null && vmlinux is null && modules.Length == 0)
        {
            return named;
        }

        var choice = image is null ? named ?? new KernelChoice() : new KernelChoice { Image = Path.GetFullPath(image) };
        return choice with
        {
            Vmlinux = vmlinux is null ? choice.Vmlinux : Path.GetFullPath(vmlinux),
            Modules = modules.Length > 0 ? ExistingFolder(modules[0]) : choice.Modules,
            DebugModules = modules.Length > 1 ? ExistingFolder(modules[1]) : choice.DebugModules,
        };
    }

    private static string ExistingFolder(string path) => Directory.Exists(path) || File.Exists(path)
        ? Path.GetFullPath(path)
        : throw new BootException($"{path}: there is no such folder", "--modules takes a folder with .ko files, such as /lib/modules/RELEASE");

    private static int ParsedMemory(string text) => ScenarioReader.TryParseMemory(text)
        ?? throw new BootException($"--memory {text}: not a size", "a number with M or G, such as 512M");

    /// <summary>A 32-bit kernel wants a QEMU of its own.</summary>
    private static Scenario WithArchitecture(Scenario boot)
    {
        if (boot.Kernel?.Vmlinux is { } path && File.Exists(path) && Architecture.ForElfMachine(ObjectFile.OpenAsStored(path).Machine) is { } architecture)
        {
            return boot with { Architecture = architecture.Name };
        }

        return boot;
    }
}
