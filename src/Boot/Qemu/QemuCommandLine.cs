// QEMU's arguments for a scenario. Two parts: what the guest can notice (recorded in traces and compared by replays) and the
// plumbing between QEMU and ktrace, whose paths are new in every run.
//
// QEMU's default devices stay (q35 brings a VGA card, an AHCI controller with a CD drive …): somebody who types the same boot by
// hand has them too. Only a network card that nobody asked for is left out: QEMU would add one if none were named.
// That the guest's RAM is a file which ktrace can map is plumbing too: the guest has the same addresses and the same bytes.
// A comma in an option's value is written twice (QEMU manual, "-drive file=").
using System.Collections.Immutable;
using System.Globalization;
using KTrace.Boot.Scenarios;

namespace KTrace.Boot.Qemu;

/// <summary>How QEMU is to be started.</summary>
/// <param name="Program">QEMU's program, to be found in PATH.</param>
/// <param name="Guest">The arguments that make the machine and the boot.</param>
/// <param name="Extra">The user's own arguments, last on the command line.</param>
public sealed record QemuCommandLine(string Program, ImmutableArray<string> Guest, ImmutableArray<string> Extra)
{
    /// <summary>Names of the sockets in the private directory.</summary>
    public const string GdbSocket = "gdb.sock";

    public const string ConsoleSocket = "console.sock";

    public const string QmpSocket = "qmp.sock";

    /// <summary>RAM that QEMU shares with ktrace, in MiB; null where the user's own arguments decide how the guest gets its RAM.</summary>
    public int? SharedRam { get; init; }

    /// <param name="image">The kernel image, or null to boot from a drive or a CD.</param>
    /// <param name="initramfs">Its file, or null.</param>
    /// <param name="extra">Further arguments, after the scenario's own.</param>
    /// <exception cref="BootException">A file is missing, or the scenario has nothing to boot.</exception>
    public static QemuCommandLine For(Scenario scenario, string? image, string? initramfs, IEnumerable<string>? extra = null)
    {
        var machine = QemuMachine.For(scenario.Architecture);
        var arguments = ImmutableArray.CreateBuilder<string>();
        arguments.AddRange("-machine", scenario.Machine ?? machine.Machine);
        var added = scenario.QemuArgs.Concat(extra ?? []).ToArray();
        if (!added.Any(argument => argument.TrimStart('-') is "accel" or "enable-kvm"))
        {
            // QEMU takes the first -accel that works: ours would win over the user's.
            arguments.AddRange("-accel", "tcg");
        }

        arguments.AddRange(
            "-m", scenario.Memory.ToString(CultureInfo.InvariantCulture) + "M",
            "-smp", scenario.Cpus.ToString(CultureInfo.InvariantCulture));
        if (scenario.Cpu is not null)
        {
            arguments.AddRange("-cpu", scenario.Cpu);
        }

        if (image is not null)
        {
            arguments.AddRange("-kernel", Existing(image, "kernel image"));
            if (initramfs is not null)
            {
                arguments.AddRange("-initrd", Existing(initramfs, "initramfs"));
            }

            arguments.AddRange("-append", scenario.Append);
        }
        else if (scenario.Drives.IsEmpty && scenario.Cdrom is null && added.Length == 0)
        {
            throw new BootException($"the scenario {scenario.Name} has nothing to boot", "give it a kernel, a drive or a cdrom");
        }

        AddNetwork(arguments, scenario.Nics);
        foreach (var drive in scenario.Drives)
        {
            arguments.AddRange(
                "-drive",
                $"file={Escape(Existing(drive.File, "drive image"))},format={Escape(drive.Format)},if={Escape(drive.If)}"
                + (drive.ReadOnly ? ",readonly=on" : "") + (drive is { Snapshot: true, ReadOnly: false } ? ",snapshot=on" : ""));
        }

        if (scenario.Cdrom is not null)
        {
            arguments.AddRange("-cdrom", Existing(scenario.Cdrom, "CD image"));
            if (image is null && scenario.Drives.IsEmpty)
            {
                arguments.AddRange("-boot", "d");
            }
        }

        if (scenario.Bios is not null)
        {
            arguments.AddRange("-bios", Existing(scenario.Bios, "firmware image"));
        }

        arguments.AddRange("-display", "none", "-no-reboot");
        return new QemuCommandLine(machine.Program, arguments.ToImmutable(), [.. added])
        {
            SharedRam = RamBackend.FitsBeside(added.Prepend(scenario.Machine ?? "")) ? scenario.Memory : null,
        };
    }

    /// <summary>All arguments. QEMU starts stopped, with its stub on a socket in <paramref name="directory"/>; it connects to
    /// ktrace's sockets for the
    /// console and QMP there, so that both are complete before the guest's first instruction.</summary>
    public IEnumerable<string> Arguments(string directory) =>
    [
        .. Guest,
        .. SharedRam is { } size ? RamBackend.Arguments(size) : [],
        "-S",
        "-gdb", $"unix:{Escape(Path.Combine(directory, GdbSocket))},server=on,wait=off",
        "-chardev", $"socket,id=ktrace-console,path={Escape(Path.Combine(directory, ConsoleSocket))},server=off",
        "-serial", "chardev:ktrace-console",
        "-chardev", $"socket,id=ktrace-qmp,path={Escape(Path.Combine(directory, QmpSocket))},server=off",
        "-mon", "chardev=ktrace-qmp,mode=control",
        "-monitor", "none",
        .. Extra,
    ];

    /// <summary>The command as a person would type it to boot the same guest without ktrace, quoted for a shell.</summary>
    public string ToShell() => string.Join(' ', new[] { Program }.Concat(Guest).Concat(Extra).Select(Quote));

    /// <summary>A value inside a QEMU option.</summary>
    internal static string Escape(string value) => value.Replace(",", ",,", StringComparison.Ordinal);

    private static void AddNetwork(ImmutableArray<string>.Builder arguments, ImmutableArray<NetworkCard> cards)
    {
        if (cards.IsEmpty)
        {
            arguments.AddRange("-nic", "none");
            return;
        }

        for (var i = 0; i < cards.Length; i++)
        {
            var card = cards[i];
            var address = card.Mac is null ? "" : $",mac={Escape(card.Mac)}";
            if (card.Netdev == "none")
            {
                arguments.AddRange("-device", $"{card.Model}{address}");
                continue;
            }

            // The backend's type comes first in QEMU's syntax: "user,hostfwd=…" becomes "user,id=net0,hostfwd=…".
            var comma = card.Netdev.IndexOf(',', StringComparison.Ordinal);
            var (type, rest) = comma < 0 ? (card.Netdev, "") : (card.Netdev[..comma], card.Netdev[comma..]);
            arguments.AddRange("-netdev", $"{type},id=net{i}{rest}", "-device", $"{card.Model},netdev=net{i}{address}");
        }
    }

    private static string Existing(string path, string what) =>
        File.Exists(path) || path.StartsWith("/dev/", StringComparison.Ordinal) ? path
            : throw new BootException($"{path}: there is no such {what}");

    private static string Quote(string argument) =>
        argument.Length > 0 && argument.All(c => char.IsAsciiLetterOrDigit(c)
            || "-_=,./:+@%".Contains(c, StringComparison.Ordinal))
            ? argument
            : "'" + argument.Replace("'", "'\\''", StringComparison.Ordinal) + "'";
}
