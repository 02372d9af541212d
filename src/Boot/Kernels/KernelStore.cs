using KTrace.Boot.Scenarios;

namespace KTrace.Boot.Kernels;

/// <summary>A kernel that is on this machine, as a listing shows it. What it lacks is null.</summary>
public sealed record ListedKernel(string Release, KernelOrigin Origin, string? Image, string? Vmlinux, string? ModulesDirectory,
    IReadOnlyList<string> CachedModules);

/// <summary>Finds kernels on this machine and fetches others into the cache, $XDG_CACHE_HOME/ktrace/kernels/RELEASE, each a tree
/// with boot/, lib/modules/ and
/// usr/lib/debug/ like the packages it came from.</summary>
public sealed class KernelStore
{
    /// <summary>The name that stands for the kernel that the distribution's meta package names.</summary>
    public const string Stock = "stock";

    private readonly string root;
    private readonly IKernelArchive archive;

    /// <param name="cacheDirectory">Null for the user's cache.</param>
    public KernelStore(string? cacheDirectory = null)
        : this(cacheDirectory, "/", null)
    {
    }

    internal KernelStore(string? cacheDirectory, string root, IKernelArchive? archive)
    {
        CacheDirectory = Path.GetFullPath(cacheDirectory ?? DefaultCacheDirectory);
        this.root = root;
        this.archive = archive ?? new AptArchive(CacheDirectory);
    }

    /// <summary>$XDG_CACHE_HOME/ktrace, or ~/.cache/ktrace.</summary>
    public static string DefaultCacheDirectory
    {
        get
        {
            // The XDG specification ignores relative paths.
            var configured = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
            var home = configured is not null && Path.IsPathRooted(configured)
                ? configured
                : Path.Combine(Environment.GetEnvironmentVariable("HOME") is { Length: > 0 } directory ? directory : "/tmp",
                    ".cache");
            return Path.Combine(home, "ktrace");
        }
    }

    public string CacheDirectory { get; }

    /// <summary>Modules that a fetch takes along if the kernel has them: the drivers of the devices that QEMU's users choose
    /// most, and two file systems.</summary>
    public static IReadOnlyList<string> UsualModules { get; } =
    [
        "e1000e", "e1000", "igb", "virtio_pci", "virtio_net", "virtio_blk", "virtio_scsi", "8139cp", "ahci", "ata_piix", "nvme",
        "sd_mod", "sr_mod", "ext4", "isofs",
    ];

    private string KernelsDirectory => Path.Combine(CacheDirectory, "kernels");

    /// <summary>Every kernel in the cache, in /boot and in /usr/lib/debug, newest name last.</summary>
    public IReadOnlyList<ListedKernel> List()
    {
        var found = new List<ListedKernel>();
        if (Directory.Exists(KernelsDirectory))
        {
            foreach (var folder in Directory.EnumerateDirectories(KernelsDirectory)
                .Where(folder => Path.GetFileName(folder)[0] != '.'))
            {
                if (KernelManifest.TryRead(folder) is { } manifest)
                {
                    var files = FromCache(folder, manifest.Release);
                    found.Add(new ListedKernel(manifest.Release, KernelOrigin.Cache, files.Image, files.Vmlinux,
                        files.ModulesDirectory, manifest.Modules));
                }
            }
        }

        var releases = Releases("boot", "vmlinuz-").Concat(Releases("usr/lib/debug/boot", "vmlinux-")).Distinct();
        foreach (var release in releases)
        {
            var (image, vmlinux, modules, _, _) = SystemFiles(release);
            found.Add(new ListedKernel(release, KernelOrigin.System, image, vmlinux, modules, []));
        }

        return [.. found.OrderBy(kernel => kernel.Release, StringComparer.Ordinal)];

        IEnumerable<string> Releases(string folder, string prefix) => Directory.Exists(Path.Combine(root, folder))
            ? Directory.EnumerateFiles(Path.Combine(root, folder), prefix + "*")
                .Select(path => Path.GetFileName(path)[prefix.Length..])
            : [];
    }

    /// <summary>Reads every file of the cached kernels and compares it with what was fetched.</summary>
    /// <returns>The damaged files' paths.</returns>
    public async Task<IReadOnlyList<string>> FindDamageAsync(CancellationToken cancellationToken = default)
    {
        var damaged = new List<string>();
        foreach (var kernel in List().Where(kernel => kernel.Origin == KernelOrigin.Cache))
        {
            var folder = Path.Combine(KernelsDirectory, kernel.Release);
            if (KernelManifest.TryRead(folder) is { } manifest
                && await manifest.FindDamageAsync(folder, cancellationToken).ConfigureAwait(false) is { } file)
            {
                damaged.Add(Path.Combine(folder, file));
            }
        }

        return damaged;
    }

    /// <summary>A kernel by release, from the cache or from the system; null if it has no bootable image here. "stock" is the
    /// one that the last fetch of the stock kernel brought.</summary>
    public KernelFiles? Find(string release)
    {
        if (release == Stock)
        {
            return StockRelease() is { } stock ? Find(stock) : null;
        }

        if (release.Length == 0 || release.Contains('/', StringComparison.Ordinal) || release.StartsWith('.'))
        {
            return null;
        }

        var folder = Path.Combine(KernelsDirectory, release);
        if (KernelManifest.TryRead(folder) is not null)
        {
            return FromCache(folder, release);
        }

        var (image, vmlinux, modules, debug, config) = SystemFiles(release);
        return image is null ? null : new KernelFiles(release, image, vmlinux, modules, debug,
            config) { Origin = KernelOrigin.System };
    }

    /// <summary>The kernel that a scenario names. Fetches nothing.</summary>
    /// <exception cref="BootException">It is not here; for a release, the remedy is the command that fetches it.</exception>
    public KernelFiles Resolve(KernelChoice choice)
    {
        if (choice.Tree is not null)
        {
            return FromBuildTree(choice.Tree);
        }

        if (choice.Image is not null)
        {
            return FromFiles(choice.Image, choice.Vmlinux, choice.Modules, choice.DebugModules);
        }

        var release = choice.Release ?? Stock;
        var found = Find(release)
            ?? throw new BootException(release == Stock ? "the stock kernel has not been fetched yet"
                : $"the kernel {release} is not on this machine",
                $"ktrace kernel fetch{(release == Stock ? "" : " " + release)}");
        return found with { Vmlinux = choice.Vmlinux ?? found.Vmlinux, ModulesDirectory = choice.Modules
            ?? found.ModulesDirectory, DebugModulesDirectory = choice.DebugModules ?? found.DebugModulesDirectory };
    }

    /// <summary>Fetches a kernel with its vmlinux and modules into the cache, or returns what is there already.</summary>
    /// <param name="name">A release (6.1.0-56-amd64), a package (linux-image-amd64), or null or "stock" for the distribution's
    /// own.</param>
    /// <param name="modules">Modules that must be there, with what they need.</param>
    /// <param name="refresh">Ask apt again what the stock kernel is, although one is in the cache.</param>
    /// <exception cref="BootException">No such kernel, no such module, no space, or no network (<see
    /// cref="BootException.IsNetwork"/>).</exception>
    public async Task<KernelFiles> FetchAsync(
        string? name, IReadOnlyList<string> modules, IBootProgress progress, bool refresh = false,
            CancellationToken cancellationToken = default)
    {
        var wanted = string.IsNullOrEmpty(name) ? Stock : name;
        if ((!refresh || wanted != Stock) && Find(wanted) is { Vmlinux: not null, Origin: KernelOrigin.Cache } there
            && HasModules(there, modules))
        {
            return there;
        }

        var release = await new KernelFetch(KernelsDirectory, archive, progress)
            .RunAsync(wanted == Stock ? null : wanted, modules, UsualModules, cancellationToken).ConfigureAwait(false);
        if (wanted == Stock)
        {
            var link = Path.Combine(KernelsDirectory, Stock);
            await File.WriteAllTextAsync(link + ".part", release + "\n", CancellationToken.None).ConfigureAwait(false);
            File.Move(link + ".part", link, overwrite: true);
        }

        return Find(release) ?? throw new BootException(
            $"the kernel {release} was fetched but cannot be read back from {KernelsDirectory}");
    }

    /// <summary>A kernel build tree: arch/x86/boot/bzImage, vmlinux, and modules where they were built.</summary>
    /// <exception cref="BootException">The folder is no build tree, or nothing has been built in it.</exception>
    public static KernelFiles FromBuildTree(string tree)
    {
        var folder = Path.GetFullPath(tree);
        var image = Path.Combine(folder, "arch/x86/boot/bzImage");
        if (!Directory.Exists(folder) || !File.Exists(image))
        {
            throw new BootException($"{tree}: not a kernel build tree (there is no arch/x86/boot/bzImage)",
                "build it first: make bzImage modules");
        }

        var named = Path.Combine(folder, "include/config/kernel.release");
        var release = File.Exists(named) ? File.ReadLines(named).FirstOrDefault()?.Trim() : null;
        var vmlinux = Path.Combine(folder, "vmlinux");
        var modules = File.Exists(Path.Combine(folder, "modules.order")) ? folder : null;
        return new KernelFiles(
            string.IsNullOrEmpty(release) ? BootImage.Release(image) ?? "unknown" : release, image, Existing(vmlinux), modules,
                modules, Existing(Path.Combine(folder, ".config")))
        {
            Origin = KernelOrigin.BuildTree,
        };
    }

    /// <summary>A kernel from files that somebody names. The release comes from the image itself.</summary>
    /// <exception cref="BootException">A file is missing, or the image is no bootable kernel.</exception>
    public static KernelFiles FromFiles(string image, string? vmlinux = null, string? modules = null, string? debugModules = null)
    {
        foreach (var (path, what) in new[] { (image, "kernel image"), (vmlinux, "vmlinux") })
        {
            if (path is not null && !File.Exists(path))
            {
                throw new BootException($"{path}: there is no such {what}");
            }
        }

        foreach (var folder in new[] { modules, debugModules })
        {
            if (folder is not null && !Directory.Exists(folder))
            {
                throw new BootException($"{folder}: there is no such folder of kernel modules");
            }
        }

        if (!BootImage.IsBootable(image) && ElfPeek.TryOpen(image) is null)
        {
            throw new BootException($"{image}: not a bootable kernel image (no boot protocol header)",
                "name the bzImage or vmlinuz of the kernel");
        }

        return new KernelFiles(
            BootImage.Release(image) ?? "unknown", Path.GetFullPath(image), vmlinux is null ? null : Path.GetFullPath(vmlinux),
            modules is null ? null : Path.GetFullPath(modules),
            debugModules is null ? null : Path.GetFullPath(debugModules), null);
    }

    private static bool HasModules(KernelFiles kernel, IReadOnlyList<string> modules)
    {
        if (modules.Count == 0)
        {
            return true;
        }

        if (kernel.ModulesDirectory is null)
        {
            return false;
        }

        var index = ModuleIndex.Open(kernel.ModulesDirectory);
        return modules.All(module => index.IsBuiltIn(module)
            || (index.Find(module) is not null && kernel.FindDebugModule(module) is not null));
    }

    private static KernelFiles FromCache(string folder, string release) => new(
        release, Path.Combine(folder, "boot", "vmlinuz-" + release),
        Existing(Path.Combine(folder, "usr/lib/debug/boot", "vmlinux-" + release)),
        ExistingFolder(Path.Combine(folder, "lib/modules", release)),
        ExistingFolder(Path.Combine(folder, "usr/lib/debug/lib/modules", release)),
        Existing(Path.Combine(folder, "boot", "config-" + release)))
    {
        Origin = KernelOrigin.Cache,
    };

    private (string? Image, string? Vmlinux, string? Modules, string? DebugModules, string? Config) SystemFiles(string release) =>
        (
        Existing(Path.Combine(root, "boot", "vmlinuz-" + release)),
        Existing(Path.Combine(root, "usr/lib/debug/boot", "vmlinux-" + release))
            ?? Existing(Path.Combine(root, "usr/lib/debug/lib/modules", release, "vmlinux")),
        ExistingFolder(Path.Combine(root, "lib/modules", release)),
        ExistingFolder(Path.Combine(root, "usr/lib/debug/lib/modules", release)),
        Existing(Path.Combine(root, "boot", "config-" + release)));

    private string? StockRelease()
    {
        try
        {
            var link = Path.Combine(KernelsDirectory, Stock);
            return File.Exists(link) ? File.ReadLines(link).FirstOrDefault()?.Trim() : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    private static string? Existing(string path) => File.Exists(path) ? path : null;

    private static string? ExistingFolder(string path) => Directory.Exists(path) ? path : null;
}
