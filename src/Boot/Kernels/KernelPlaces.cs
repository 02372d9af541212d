// Where kernels with their symbols are on this machine: ktrace's cache; Debian's and Fedora's debug packages (/usr/lib/debug/boot/vmlinux-R, /usr/lib/debug/lib/modules/R/vmlinux);
// /boot; the tree that a kernel was built in (/lib/modules/R/build); build trees that somebody names; folders by build id (/usr/lib/debug/.build-id, debuginfod's client cache:
// $DEBUGINFOD_CACHE_PATH, $XDG_CACHE_HOME/debuginfod_client, ~/.cache/debuginfod_client).
namespace KTrace.Boot.Kernels;

/// <summary>The places where a running kernel's files may be.</summary>
/// <param name="Vmlinux">Files that may be its vmlinux, those that somebody named first.</param>
/// <param name="ByBuildId">Folders that have files by build id.</param>
public sealed record KernelPlaces(IReadOnlyList<string> Vmlinux, IReadOnlyList<string> ByBuildId)
{
    /// <summary>All that are known, whether they hold anything or not.</summary>
    /// <param name="buildTrees">Kernel build trees, or folders with a vmlinux in them.</param>
    public static KernelPlaces All(KernelStore store, IEnumerable<string> buildTrees) => All(store, buildTrees, "/");

    internal static KernelPlaces All(KernelStore store, IEnumerable<string> buildTrees, string root)
    {
        var files = new List<string>(buildTrees.Select(tree => Path.Combine(Path.GetFullPath(tree), "vmlinux")));
        files.AddRange(store.List().Select(kernel => kernel.Vmlinux).OfType<string>());
        files.AddRange(FilesIn(Path.Combine(root, "usr/lib/debug/boot"), "vmlinux-*"));
        files.AddRange(FoldersIn(Path.Combine(root, "usr/lib/debug/lib/modules")).Select(folder => Path.Combine(folder, "vmlinux")));
        files.AddRange(FilesIn(Path.Combine(root, "boot"), "vmlinux-*"));
        foreach (var folder in FoldersIn(Path.Combine(root, "lib/modules")))
        {
            files.Add(Path.Combine(folder, "build/vmlinux"));
            files.Add(Path.Combine(folder, "vmlinux"));
        }

        var caches = new[]
        {
            Environment.GetEnvironmentVariable("DEBUGINFOD_CACHE_PATH"),
            Path.Combine(Path.GetDirectoryName(KernelStore.DefaultCacheDirectory)!, "debuginfod_client"),
        };
        return new KernelPlaces([.. files.Where(File.Exists).Distinct()],
            [Path.Combine(root, "usr/lib/debug/.build-id"), .. caches.OfType<string>().Where(Path.IsPathRooted)]);
    }

    /// <summary>Where the modules of the kernel with this vmlinux are, shipped ones and their debug files: below the same root for packages, in the tree for a build. Only folders that
    /// exist.</summary>
    /// <param name="release">uname -r.</param>
    public static IReadOnlyList<string> ModulesBeside(string vmlinux, string? release)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(vmlinux)) ?? "/";
        var found = new List<string>();
        if (File.Exists(Path.Combine(folder, "modules.order")) || Directory.Exists(Path.Combine(folder, "arch")))
        {
            found.Add(folder);
        }

        if (release is { Length: > 0 } && !release.Contains('/', StringComparison.Ordinal) && release[0] != '.')
        {
            const string debug = "/usr/lib/debug";
            var at = folder.IndexOf(debug, StringComparison.Ordinal);
            foreach (var root in at >= 0 ? new[] { folder[..at] + "/", "/" } : ["/"])
            {
                found.Add(Path.Combine(root, "lib/modules", release));
                found.Add(Path.Combine(root, "usr/lib/debug/lib/modules", release));
            }
        }

        return [.. found.Where(Directory.Exists).Distinct()];
    }

    private static IEnumerable<string> FilesIn(string folder, string pattern) => Directory.Exists(folder) ? Directory.EnumerateFiles(folder, pattern).Order(StringComparer.Ordinal) : [];

    private static IEnumerable<string> FoldersIn(string folder) => Directory.Exists(folder) ? Directory.EnumerateDirectories(folder).Order(StringComparer.Ordinal) : [];
}
