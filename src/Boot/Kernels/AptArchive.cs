// Debian's archive through apt: apt knows the mirrors, proxies, keys and credentials of this machine, so ktrace asks apt and opens no connection
// of its own. Nothing here needs root: what is asked and downloaded goes through apt's ordinary lists, and when those are missing or out of date,
// through lists of our own in the cache (Dir::State::Lists), which apt-get update fills for any architecture without touching the system.
//
// Packages (Debian 12): linux-image-amd64 is a meta package that depends on linux-image-RELEASE; linux-image-RELEASE is signed, and its bytes are
// those of linux-image-RELEASE-unsigned plus a signature; linux-image-RELEASE-dbg has vmlinux and every module with DWARF.
using System.Text.RegularExpressions;

namespace KTrace.Boot.Kernels;

/// <summary>Kernels of the distribution's package archive.</summary>
internal sealed partial class AptArchive(string cacheDirectory) : IKernelArchive
{
    private const int MetaPackageLimit = 400 << 10;
    private const int MetaDepth = 4;

    private bool ownLists;
    private string? foreignArchitecture;

    public async Task<KernelPackages> FindAsync(string? name, IBootProgress progress, CancellationToken cancellationToken)
    {
        if (name is not null && !PackageName().IsMatch(name))
        {
            throw new BootException($"\"{name}\" is not the name of a kernel release or package", "such as 6.1.0-56-amd64, or linux-image-amd64");
        }

        var native = await NativeArchitectureAsync(cancellationToken).ConfigureAwait(false);
        var wanted = name is null ? native : ArchitectureOf(name) ?? native;
        foreignArchitecture = wanted == native ? null : wanted;
        var start = "linux-image-" + Stem(name ?? (IsUbuntu() && native == "amd64" ? "generic" : native));
        if (foreignArchitecture is not null)
        {
            await UpdateOwnListsAsync(progress, cancellationToken).ConfigureAwait(false);
        }

        // "6.12" stands for linux-image-6.12-amd64.
        string[] candidates = name is null || ArchitectureOf(name) is not null ? [start] : [start, $"{start}-{native}"];
        var found = await TryFindAnyAsync(candidates, cancellationToken).ConfigureAwait(false);
        if (found is null && !ownLists)
        {
            // Never updated, or older than the release that is asked for.
            await UpdateOwnListsAsync(progress, cancellationToken).ConfigureAwait(false);
            found = await TryFindAnyAsync(candidates, cancellationToken).ConfigureAwait(false);
        }

        return found ?? throw await NotFoundAsync(start, cancellationToken).ConfigureAwait(false);
    }

    public async Task<string> DownloadAsync(ArchivePackage package, string folder, IBootProgress progress, CancellationToken cancellationToken)
    {
        var result = await DownloadOnceAsync(package, folder, progress, cancellationToken).ConfigureAwait(false);
        if (result.ExitCode != 0 && AptMessages.IsOutdated(result.Errors) && !ownLists)
        {
            await UpdateOwnListsAsync(progress, cancellationToken).ConfigureAwait(false);
            result = await DownloadOnceAsync(package, folder, progress, cancellationToken).ConfigureAwait(false);
        }

        if (result.ExitCode != 0)
        {
            throw AptMessages.ToException($"{package.Name} {package.Version} could not be downloaded", result, "apt-get update, then try again");
        }

        return Directory.EnumerateFiles(folder, "*.deb").SingleOrDefault()
            ?? throw new BootException($"{package.Name}: apt-get says that it has downloaded the package, but there is no file in {folder}");
    }

    private async Task<ToolResult> DownloadOnceAsync(ArchivePackage package, string folder, IBootProgress progress, CancellationToken cancellationToken)
    {
        using var done = new CancellationTokenSource();
        var watch = WatchAsync(package, folder, progress, done.Token);
        try
        {
            // apt-get download writes into the working folder; the file grows in place, which is what the progress bar shows.
            return await Tool.RunAsync(
                "apt-get", [.. Options(), "download", "-q", $"{package.Name}:{package.Architecture}={package.Version}"], folder, diesWithParent: true, cancellationToken: cancellationToken)
                .ConfigureAwait(false);
        }
        finally
        {
            await done.CancelAsync().ConfigureAwait(false);
            await watch.ConfigureAwait(false);
        }
    }

    private static async Task WatchAsync(ArchivePackage package, string folder, IBootProgress progress, CancellationToken cancellationToken)
    {
        while (!cancellationToken.IsCancellationRequested)
        {
            long size = 0;
            try
            {
                size = new DirectoryInfo(folder).EnumerateFiles("*", SearchOption.AllDirectories).Sum(file => file.Length);
            }
            catch (IOException)
            {
                // A file was renamed while it was looked at.
            }

            progress.Report(new("download", package.Name, Math.Min(size, package.Size), package.Size));
            await Task.Delay(200, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task<KernelPackages?> TryFindAnyAsync(string[] starts, CancellationToken cancellationToken)
    {
        foreach (var start in starts)
        {
            if (await TryFindAsync(start, cancellationToken).ConfigureAwait(false) is { } found)
            {
                return found;
            }
        }

        return null;
    }

    private async Task<KernelPackages?> TryFindAsync(string start, CancellationToken cancellationToken)
    {
        var image = start;
        for (var depth = 0; depth < MetaDepth; depth++)
        {
            var packages = await ShowAsync([image, image + "-unsigned", image + "-dbg"], cancellationToken).ConfigureAwait(false);
            var signed = packages.GetValueOrDefault(image);
            var unsigned = packages.GetValueOrDefault(image + "-unsigned");
            if (signed is not null && unsigned is null && signed.InstalledSize < MetaPackageLimit && NamedImage().Match(signed.Depends) is { Success: true } match)
            {
                image = match.Value;
                continue;
            }

            if ((unsigned ?? signed) is not { } boot)
            {
                return null;
            }

            var debug = packages.GetValueOrDefault(image + "-dbg") ?? throw NoDebugPackage(image);
            if (debug.Version != boot.Version && ownLists)
            {
                throw new BootException($"{boot.Name} has version {boot.Version} and {debug.Name} has version {debug.Version}: the archive is being changed", "try again in an hour");
            }

            return debug.Version == boot.Version ? new KernelPackages(image["linux-image-".Length..], boot.ToPackage(), debug.ToPackage()) : null;
        }

        return null;
    }

    private async Task<Dictionary<string, Stanza>> ShowAsync(string[] names, CancellationToken cancellationToken)
    {
        // Exit code 100 only says that one of the names is unknown.
        var result = await Tool.RunAsync("apt-cache", [.. Options(), "show", "--no-all-versions", .. names], cancellationToken: cancellationToken).ConfigureAwait(false);
        var found = new Dictionary<string, Stanza>();
        foreach (var text in result.Output.Split("\n\n", StringSplitOptions.RemoveEmptyEntries))
        {
            if (Stanza.TryParse(text) is { } stanza)
            {
                found.TryAdd(stanza.Name, stanza);
            }
        }

        return found;
    }

    private async Task UpdateOwnListsAsync(IBootProgress progress, CancellationToken cancellationToken)
    {
        ownLists = true;
        Directory.CreateDirectory(Path.Combine(ListsDirectory, "partial"));
        progress.Report(new("download", "package lists"));
        var result = await Tool.RunAsync("apt-get", [.. Options(), "update", "-q"], diesWithParent: true, cancellationToken: cancellationToken).ConfigureAwait(false);

        // Without any list there is nothing to look in; a third-party source that fails beside the distribution's does not matter.
        if (AptMessages.IsNetwork(result.Errors) && !Directory.EnumerateFiles(ListsDirectory, "*_Packages*").Any())
        {
            throw AptMessages.ToException("the package lists could not be downloaded", result, null);
        }

        if (result.ExitCode != 0 && !Directory.EnumerateFiles(ListsDirectory, "*_Packages*").Any())
        {
            throw AptMessages.ToException("the package lists could not be downloaded", result, "check /etc/apt/sources.list.d");
        }
    }

    private string ListsDirectory => Path.Combine(cacheDirectory, "apt", foreignArchitecture ?? "native");

    private IEnumerable<string> Options()
    {
        if (ownLists)
        {
            yield return "-oDir::State::Lists=" + ListsDirectory;
            yield return "-oDir::Cache::pkgcache=";
            yield return "-oDir::Cache::srcpkgcache=";
            yield return "-oAcquire::Languages=none";
            yield return "-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false";
        }

        if (foreignArchitecture is not null)
        {
            yield return "-oAPT::Architecture=" + foreignArchitecture;
            yield return "-oAPT::Architectures::=" + foreignArchitecture;
        }

        if (Environment.IsPrivilegedProcess)
        {
            // The user _apt may not enter the cache of root; apt would say so at every call.
            yield return "-oAPT::Sandbox::User=root";
        }
    }

    private async Task<BootException> NotFoundAsync(string image, CancellationToken cancellationToken)
    {
        var stem = image["linux-image-".Length..];
        var result = await Tool.RunAsync("apt-cache", [.. Options(), "pkgnames", "linux-image-"], cancellationToken: cancellationToken).ConfigureAwait(false);
        var releases = result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(name => name.EndsWith("-dbg", StringComparison.Ordinal))
            .Select(name => name["linux-image-".Length..^"-dbg".Length]).Where(release => char.IsAsciiDigit(release[0]) && release.Contains('.', StringComparison.Ordinal)).ToArray();
        var near = releases.OrderBy(release => NearNames.Distance(stem, release)).ThenByDescending(release => release, StringComparer.Ordinal).Take(4).ToArray();
        return new BootException(
            $"the package archive has no kernel {stem} (no package {image})", near.Length == 0 ? "ktrace kernel list shows what is on this machine" : "it has, among others: " + string.Join(", ", near));
    }

    private static BootException NoDebugPackage(string image) => IsUbuntu()
        ? new BootException(
            $"the archive has no package {image}-dbg: Ubuntu keeps kernel debug symbols (*-dbgsym packages) in an archive of its own, which ktrace does not fetch from",
            "unpack the kernel's -dbgsym package yourself and name the files with --kernel and --vmlinux, or use a local build")
        : new BootException(
            $"the archive has no package {image}-dbg, and without debug symbols there are no function names", "choose another release, or name the files with --kernel and --vmlinux");

    private static string Stem(string name)
    {
        name = name.StartsWith("linux-image-", StringComparison.Ordinal) ? name["linux-image-".Length..] : name;
        foreach (var suffix in new[] { "-unsigned", "-dbg" })
        {
            name = name.EndsWith(suffix, StringComparison.Ordinal) ? name[..^suffix.Length] : name;
        }

        return name;
    }

    /// <summary>The Debian architecture that a release's flavour belongs to: 6.1.0-56-686-pae is i386's.</summary>
    private static string? ArchitectureOf(string name)
    {
        var words = Stem(name).Split('-');
        return words.Contains("686") ? "i386" : new[] { "amd64", "arm64", "i386" }.FirstOrDefault(words.Contains);
    }

    private static async Task<string> NativeArchitectureAsync(CancellationToken cancellationToken) =>
        (await Tool.RunAsync("dpkg", ["--print-architecture"], cancellationToken: cancellationToken).ConfigureAwait(false)).Output.Trim();

    private static bool IsUbuntu() => File.Exists("/etc/os-release") && File.ReadLines("/etc/os-release").Any(line => line is "ID=ubuntu" or "ID=\"ubuntu\"");

    [GeneratedRegex("^[A-Za-z0-9][A-Za-z0-9.+~-]{0,100}$")]
    private static partial Regex PackageName();

    [GeneratedRegex(@"linux-image-(unsigned-)?[0-9][A-Za-z0-9.+~-]*")]
    private static partial Regex NamedImage();

    private sealed record Stanza(string Name, string Version, string Architecture, string Depends, long Size, long InstalledSize, string Sha256)
    {
        public ArchivePackage ToPackage() => new(Name, Version, Architecture, Size, InstalledSize, Sha256);

        public static Stanza? TryParse(string text)
        {
            var fields = new Dictionary<string, string>();
            foreach (var line in text.Split('\n'))
            {
                var colon = line.IndexOf(": ", StringComparison.Ordinal);
                if (colon > 0 && line[0] != ' ')
                {
                    fields.TryAdd(line[..colon], line[(colon + 2)..].Trim());
                }
            }

            return fields.TryGetValue("Package", out var name) && fields.TryGetValue("Version", out var version) && fields.TryGetValue("Architecture", out var architecture)
                && long.TryParse(fields.GetValueOrDefault("Size"), out var size) && fields.GetValueOrDefault("SHA256") is { Length: 64 } hash
                ? new Stanza(name, version, architecture, fields.GetValueOrDefault("Depends", ""), size, long.TryParse(fields.GetValueOrDefault("Installed-Size"), out var installed) ? installed << 10 : 0, hash)
                : null;
        }
    }
}
