// The programs of the system that ktrace needs, and how they come onto the machine: with apt, on Debian and what descends from
// it.
namespace KTrace.Boot;

/// <summary>What a program is needed for.</summary>
public enum ProgramUse
{
    /// <summary>Booting a guest.</summary>
    Boot,

    /// <summary>Building an initramfs.</summary>
    Initramfs,

    /// <summary>Fetching a kernel from the distribution's archive.</summary>
    Fetch,
}

/// <summary>A program of the system.</summary>
/// <param name="Name">As it is called: a name to be found in PATH.</param>
/// <param name="Package">The Debian package that brings it.</param>
/// <param name="Purpose">What ktrace does with it, for a person.</param>
public sealed record ExternalProgram(string Name, string Package, ProgramUse Use, string Purpose)
{
    /// <summary>Where it is, or null if it is missing (or, for busybox, is not the static build that an initramfs
    /// needs).</summary>
    public string? Find()
    {
        if (Name != "busybox")
        {
            return Tool.Find(Name);
        }

        return new[] { "/bin/busybox", "/usr/bin/busybox", Tool.Find(Name) }
            .FirstOrDefault(path => path is not null && File.Exists(path) && ElfPeek.TryOpen(path) is { IsStatic: true });
    }
}

/// <summary>Which programs are needed, which are missing, and how to install them.</summary>
public static class Programs
{
    /// <summary>Every program, QEMU first.</summary>
    public static IReadOnlyList<ExternalProgram> All { get; } =
    [
        new("qemu-system-x86_64", "qemu-system-x86", ProgramUse.Boot, "boots the guest"),
        new("setsid", "util-linux", ProgramUse.Boot, "keeps the terminal's Ctrl-C from the guest"),
        new("setpriv", "util-linux", ProgramUse.Boot, "ends the guest with its parent"),
        new("busybox", "busybox-static", ProgramUse.Initramfs, "is the guest's user space (the static build)"),
        new("xz", "xz-utils", ProgramUse.Initramfs, "reads .ko.xz modules and xz archives"),
        new("zstd", "zstd", ProgramUse.Initramfs, "reads .ko.zst modules and zstd archives"),
        new("apt-get", "apt", ProgramUse.Fetch, "downloads kernel packages"),
        new("dpkg-deb", "dpkg", ProgramUse.Fetch, "unpacks kernel packages"),
    ];

    /// <summary>Those of <see cref="All"/> that are needed for any of <paramref name="uses"/> (all of them, if none is given)
    /// and are not there.</summary>
    public static IReadOnlyList<ExternalProgram> Missing(params ProgramUse[] uses) =>
        [.. All.Where(program => (uses.Length == 0 || uses.Contains(program.Use)) && program.Find() is null)];

    /// <summary>The command that installs the packages of <paramref name="programs"/>, as a person would type it.</summary>
    public static string InstallCommand(IEnumerable<ExternalProgram> programs) =>
        (Environment.IsPrivilegedProcess ? "" : "sudo ") + "apt-get install -y --no-install-recommends " + string.Join(' ',
            Packages(programs));

    /// <summary>Installs the packages that bring <paramref name="programs"/>: as root, or through sudo.</summary>
    /// <exception cref="BootException">No apt here; neither root nor sudo (the remedy is the exact command); apt failed. <see
    /// cref="BootException.IsNetwork"/> says whether the archive could not be reached.</exception>
    public static async Task InstallAsync(IReadOnlyList<ExternalProgram> programs, IBootProgress progress,
        CancellationToken cancellationToken = default)
    {
        if (programs.Count == 0)
        {
            return;
        }

        var command = InstallCommand(programs);
        var names = string.Join(", ", programs.Select(program => program.Name));
        if (Tool.Find("apt-get") is not { } apt)
        {
            throw new BootException($"{names}: not installed, and this system has no apt-get to install it with",
                "install it with your distribution's package manager");
        }

        if (!Environment.IsPrivilegedProcess && Tool.Find("sudo") is null)
        {
            throw new BootException($"{names}: not installed, and installing needs root",
                $"as root: {command.Replace("sudo ", "", StringComparison.Ordinal)}");
        }

        var packages = Packages(programs);
        if (!HasLists() || !await KnowsAsync(packages, cancellationToken).ConfigureAwait(false))
        {
            progress.Report(new("install", "apt-get update"));
            // A third-party source that fails must not keep us from a package that another source has: only the install decides.
            await RunAptAsync(apt, ["update", "-q"], cancellationToken).ConfigureAwait(false);
        }

        progress.Report(new("install", string.Join(' ', packages)));
        var result = await RunAptAsync(apt, ["install", "-y", "-q", "--no-install-recommends", .. packages], cancellationToken)
            .ConfigureAwait(false);
        if (result.ExitCode != 0 && AptMessages.IsOutdated(result.Errors))
        {
            await RunAptAsync(apt, ["update", "-q"], cancellationToken).ConfigureAwait(false);
            result = await RunAptAsync(apt, ["install", "-y", "-q", "--no-install-recommends", .. packages], cancellationToken)
                .ConfigureAwait(false);
        }

        if (result.ExitCode != 0)
        {
            throw AptMessages.ToException($"{string.Join(' ', packages)} could not be installed", result, command);
        }

        var still = programs.Where(program => program.Find() is null).Select(program => program.Name).ToArray();
        if (still.Length > 0)
        {
            throw new BootException($"the packages are installed, but {string.Join(", ", still)} is still missing", command);
        }
    }

    internal static string? RemedyFor(string program) =>
        All.FirstOrDefault(candidate => candidate.Name == program || candidate.Name == Path.GetFileName(program)) is { } known
            ? InstallCommand([known]) : null;

    private static Task<ToolResult> RunAptAsync(string apt, string[] arguments, CancellationToken cancellationToken)
    {
        // Not through ParentWatch: sudo may have to ask for a password on the terminal, and a dpkg that is killed half-way leaves
        // repairs to do.
        var environment = new Dictionary<string, string> { ["DEBIAN_FRONTEND"] = "noninteractive" };
        return Environment.IsPrivilegedProcess
            ? Tool.RunAsync(apt, arguments, environment: environment, cancellationToken: cancellationToken)
            : Tool.RunAsync("sudo", ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", apt, .. arguments],
                cancellationToken: cancellationToken);
    }

    private static string[] Packages(IEnumerable<ExternalProgram> programs) => [.. programs.Select(program => program.Package)
        .Distinct()];

    private static bool HasLists() =>
        Directory.Exists("/var/lib/apt/lists") && Directory.EnumerateFiles("/var/lib/apt/lists", "*_Packages*").Any();

    private static async Task<bool> KnowsAsync(string[] packages, CancellationToken cancellationToken) =>
        (await Tool.RunAsync("apt-cache", ["show", "--no-all-versions", "-q", .. packages], cancellationToken: cancellationToken)
            .ConfigureAwait(false))
            .ExitCode == 0;
}
