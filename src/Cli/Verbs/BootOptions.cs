// The options of every verb that boots: a scenario, and what replaces parts of it.
using System.CommandLine;
using KTrace.Boot;
using KTrace.Boot.Scenarios;
using KTrace.Cli.Sessions;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;

namespace KTrace.Cli.Verbs;

/// <summary>A scenario on the command line: a file or a name, and options that win over it.</summary>
/// <param name="what">What may be named.</param>
/// <param name="meaning">The same as a sentence.</param>
internal sealed class BootOptions(string what = "SCENARIO", string meaning = "A scenario file, or the name of one of KTrace's own (e1000e-msix)")
{
    private readonly Argument<string?> _scenario = new("scenario") { Arity = ArgumentArity.ZeroOrOne, HelpName = what, Description = meaning };

    private readonly Option<string?> _kernel = Text("--kernel", "FILE", "The kernel to boot: vmlinuz or bzImage");
    private readonly Option<string?> _vmlinux = Text("--vmlinux", "FILE", "The same build's vmlinux, with DWARF");
    private readonly Option<string?> _initrd = Text("--initrd", "FILE", "The initramfs");
    private readonly Option<string?> _append = Text("--append", "TEXT", "The kernel's command line");
    private readonly Option<string?> _machine = Text("--machine", "TYPE", "QEMU's machine type (q35)");
    private readonly Option<string?> _cpu = Text("--cpu", "MODEL", "QEMU's CPU model");
    private readonly Option<string?> _memory = Text("--memory", "SIZE", "Guest memory, such as 512M or 2G (512M)");
    private readonly Option<int?> _cpus = new("--cpus") { HelpName = "N", Description = "Number of CPUs (1)" };

    private readonly Option<string[]> _nics = new("--nic")
    {
        HelpName = "MODEL", Description = "A network card on QEMU's user network, such as e1000e; may be given several times",
    };

    private readonly Option<string[]> _modules = new("--modules") { HelpName = "DIR", Description = "Where .ko files and their debug files are; twice at most" };

    /// <summary>Adds them to a verb.</summary>
    public void AddTo(Command command)
    {
        command.Add(_scenario);
        foreach (var option in (Option[])[_kernel, _vmlinux, _initrd, _append, _machine, _cpu, _memory, _cpus, _nics, _modules])
        {
            command.Add(option);
        }
    }

    /// <summary>What was named, or null.</summary>
    public string? Named(ParseResult result) => result.GetValue(_scenario);

    public string? Vmlinux(ParseResult result) => result.GetValue(_vmlinux);

    public IReadOnlyList<string> Modules(ParseResult result) => result.GetValue(_modules) ?? [];

    /// <param name="qemuArguments">What stood behind <c>--</c>.</param>
    /// <exception cref="BootException">A file or folder is missing, or a value is none.</exception>
    public Scenario Read(ParseResult result, IReadOnlyList<string> qemuArguments)
    {
        var named = result.GetValue(_scenario) is { } name ? Scenarios.Read(name) : new Scenario { Name = "boot", Append = "console=ttyS0" };
        return WithArchitecture(named with
        {
            Kernel = ChosenKernel(named.Kernel, result.GetValue(_kernel), result.GetValue(_vmlinux), result.GetValue(_modules) ?? []),
            Initramfs = result.GetValue(_initrd) is { } file ? new InitramfsChoice { File = Path.GetFullPath(file) } : named.Initramfs,
            Append = result.GetValue(_append) ?? named.Append,
            Machine = result.GetValue(_machine) ?? named.Machine,
            Cpu = result.GetValue(_cpu) ?? named.Cpu,
            Memory = result.GetValue(_memory) is { } size ? ParsedMemory(size) : named.Memory,
            Cpus = result.GetValue(_cpus) ?? named.Cpus,
            Nics = result.GetValue(_nics) is { Length: > 0 } cards ? [.. cards.Select(c => new NetworkCard(c))] : named.Nics,
            QemuArgs = [.. named.QemuArgs, .. qemuArguments],
        });
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
