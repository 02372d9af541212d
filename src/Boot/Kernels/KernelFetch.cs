// One fetch: find, download, unpack, and move into the cache as a whole. Everything happens in kernels/.partial-RELEASE, under a
// lock that one process at a time holds; a fetch that is interrupted, however, leaves only that folder, which the next fetch
// removes. The finished folder with its manifest appears under its name by one rename. A kernel that is there but
// lacks modules is staged anew, with all the modules that it had, and replaced.
using System.Security.Cryptography;

namespace KTrace.Boot.Kernels;

/// <summary>Fetches one kernel into a cache.</summary>
internal sealed class KernelFetch(string kernelsDirectory, IKernelArchive archive, IBootProgress progress)
{
    private const string PartialPrefix = ".partial-";

    // Besides the packages: the staged modules, and a vmlinux that may be as large as its compressed package.
    private const double UnpackedFactor = 1.1;

    /// <param name="modules">Must be there afterwards.</param>
    /// <param name="optional">Are taken along if the kernel has them.</param>
    public async Task<string> RunAsync(string? name, IReadOnlyList<string> modules, IReadOnlyList<string> optional,
        CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(kernelsDirectory);
        using var held = await LockAsync(cancellationToken).ConfigureAwait(false);
        RemoveLeftovers();
        progress.Report(new("resolve", "asking apt for " + (name ?? "the stock kernel")));
        var packages = await archive.FindAsync(name, progress, cancellationToken).ConfigureAwait(false);
        var target = Path.Combine(kernelsDirectory, packages.Release);
        var present = KernelManifest.TryRead(target);
        if (present is not null && present.Packages.Any(package => package.Sha256 == packages.Debug.Sha256)
            && modules.All(module => Has(target, present, module)))
        {
            return packages.Release;
        }

        CheckSpace(packages);
        var partial = Path.Combine(kernelsDirectory, PartialPrefix + packages.Release);
        try
        {
            await StageAsync(packages, partial, modules, [.. optional, .. present?.Modules ?? []], cancellationToken)
                .ConfigureAwait(false);
            var staged = Path.Combine(partial, packages.Release);
            if (Directory.Exists(target))
            {
                // Either untrusted, or a kernel of the same release that lacks modules or was rebuilt: the new folder has all
                // that the old one had.
                Directory.Move(target, Path.Combine(partial, "replaced"));
            }

            Directory.Move(staged, target);
            Durable.SyncDirectory(kernelsDirectory);
            return packages.Release;
        }
        catch (IOException e)
        {
            throw new BootException($"{kernelsDirectory}: {e.Message}", "check the free space of that file system", e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new BootException($"{kernelsDirectory}: {e.Message}", "check the permissions of that folder", e);
        }
        finally
        {
            Remove(partial);
        }
    }

    private async Task StageAsync(KernelPackages packages, string partial, IReadOnlyList<string> modules,
        IReadOnlyList<string> optional, CancellationToken cancellationToken)
    {
        var release = packages.Release;
        var staged = Path.Combine(partial, release);
        var downloads = (Image: Path.Combine(partial, "image"), Debug: Path.Combine(partial, "debug"));
        Directory.CreateDirectory(staged);
        Directory.CreateDirectory(downloads.Image);
        Directory.CreateDirectory(downloads.Debug);

        var image = await archive.DownloadAsync(packages.Image, downloads.Image, progress, cancellationToken)
            .ConfigureAwait(false);
        await VerifyAsync(image, packages.Image, cancellationToken).ConfigureAwait(false);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        // The large download runs while the small package is unpacked.
        var debugDownload = archive.DownloadAsync(packages.Debug, downloads.Debug, progress, stop.Token);
        var files = new Dictionary<string, UnpackedFile>();
        IReadOnlyList<ModuleFile> kept;
        try
        {
            foreach (var file in await PackageUnpacker.UnpackAsync(
                image, staged, path => PlaceOfImageFile(path, release), null, packages.Image.InstalledSize, NoProgress.Instance,
                    cancellationToken).ConfigureAwait(false))
            {
                files[file.Path] = file;
            }

            if (!files.ContainsKey($"boot/vmlinuz-{release}"))
            {
                throw new BootException($"{packages.Image.Name} has no boot/vmlinuz-{release}");
            }

            kept = await KeepModulesAsync(staged, release, modules, optional, files, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            await stop.CancelAsync().ConfigureAwait(false);
            await ((Task)debugDownload).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            throw;
        }

        File.Delete(image);
        var debug = await debugDownload.ConfigureAwait(false);
        var verify = VerifyAsync(debug, packages.Debug, cancellationToken);
        try
        {
            await UnpackDebugAsync(debug, staged, packages, kept, files, cancellationToken).ConfigureAwait(false);
        }
        catch (BootException)
        {
            // A wrong hash explains whatever else went wrong with the package.
            await verify.ConfigureAwait(false);
            throw;
        }

        await verify.ConfigureAwait(false);
        File.Delete(debug);
        progress.Report(new("unpack", "writing to disk"));
        Durable.SyncTree(staged);
        new KernelManifest(
            KernelManifest.CurrentFormat, release,
            [.. new[] { packages.Image, packages.Debug }.Select(package => new ManifestPackage(package.Name, package.Version,
                package.Sha256))],
            [.. kept.Select(module => module.Name).Order(StringComparer.Ordinal)],
            [.. files.Values.OrderBy(file => file.Path, StringComparer.Ordinal)
                .Select(file => new ManifestFile(file.Path, file.Size, file.Sha256, file.Modified))]).Write(staged);
    }

    private async Task UnpackDebugAsync(
        string debug, string staged, KernelPackages packages, IReadOnlyList<ModuleFile> kept,
        Dictionary<string, UnpackedFile> files, CancellationToken cancellationToken)
    {
        var release = packages.Release;
        var vmlinux = $"usr/lib/debug/boot/vmlinux-{release}";
        var modulesFolder = $"usr/lib/debug/lib/modules/{release}/";
        var names = kept.Select(module => module.Name).ToHashSet();
        var missing = names.ToHashSet();
        var isVmlinuxThere = false;
        foreach (var file in await PackageUnpacker.UnpackAsync(debug, staged, Place, () => isVmlinuxThere && missing.Count == 0,
            packages.Debug.InstalledSize, progress, cancellationToken)
            .ConfigureAwait(false))
        {
            files[file.Path] = file;
        }

        if (!isVmlinuxThere)
        {
            throw new BootException($"{packages.Debug.Name} has no vmlinux");
        }

        string? Place(string path)
        {
            // Packages since Debian 13 have usr/lib/modules where older ones have lib/modules.
            path = path.Replace("usr/lib/debug/usr/lib/modules/", "usr/lib/debug/lib/modules/", StringComparison.Ordinal);
            if (path == vmlinux)
            {
                isVmlinuxThere = true;
                return path;
            }

            if (path == $"usr/lib/debug/boot/System.map-{release}")
            {
                // The image package only has a note in its place.
                return $"boot/System.map-{release}";
            }

            if (path.StartsWith(modulesFolder, StringComparison.Ordinal) && path.EndsWith(".ko", StringComparison.Ordinal)
                && ModuleFiles.NameOf(path) is { } name && names.Contains(name))
            {
                missing.Remove(name);
                return path;
            }

            return null;
        }
    }

    /// <summary>Deletes the staged modules that are not wanted and decompresses the others: 4,000 modules are 400 MB, of which a
    /// boot needs a few.</summary>
    private static async Task<IReadOnlyList<ModuleFile>> KeepModulesAsync(
        string staged, string release, IReadOnlyList<string> modules, IReadOnlyList<string> optional,
        Dictionary<string, UnpackedFile> files, CancellationToken cancellationToken)
    {
        var folder = Path.Combine(staged, "lib/modules", release);
        if (!Directory.Exists(folder))
        {
            return [];
        }

        var index = ModuleIndex.Open(folder);
        var kept = await index.ResolveAsync([.. modules, .. optional.Where(name => index.Find(name) is not null)],
            cancellationToken).ConfigureAwait(false);
        var paths = kept.Select(module => module.Path).ToHashSet();
        foreach (var path in ModuleFiles.All(folder).ToArray())
        {
            var relative = Path.GetRelativePath(staged, path);
            if (!paths.Contains(path))
            {
                File.Delete(path);
                files.Remove(relative);
            }
            else if (!path.EndsWith(".ko", StringComparison.Ordinal))
            {
                var plain = path[..(path.LastIndexOf(".ko", StringComparison.Ordinal) + 3)];
                var bytes = await ModuleFiles.ReadAsync(path, cancellationToken).ConfigureAwait(false);
                files.Remove(relative, out var compressed);
                await AddAsync(files, staged, Path.GetRelativePath(staged, plain), bytes, compressed!.Modified, cancellationToken)
                    .ConfigureAwait(false);
                File.Delete(path);
            }
        }

        RemoveEmptyFolders(folder);
        var plainIndex = ModuleIndex.Open(folder);
        var dependencies = System.Text.Encoding.UTF8.GetBytes(await plainIndex.ToModulesDepAsync(cancellationToken)
            .ConfigureAwait(false));
        await AddAsync(files, staged, $"lib/modules/{release}/modules.dep", dependencies, DateTimeOffset.UnixEpoch,
            cancellationToken).ConfigureAwait(false);
        return kept;
    }

    private static async Task AddAsync(Dictionary<string, UnpackedFile> files, string staged, string relative, byte[] bytes,
        DateTimeOffset modified, CancellationToken cancellationToken)
    {
        var path = Path.Combine(staged, relative);
        await File.WriteAllBytesAsync(path, bytes, cancellationToken).ConfigureAwait(false);
        File.SetLastWriteTimeUtc(path, modified.UtcDateTime);
        files[relative] = new UnpackedFile(relative, bytes.Length, Convert.ToHexStringLower(SHA256.HashData(bytes)), modified);
    }

    private static string? PlaceOfImageFile(string path, string release)
    {
        path = path.StartsWith("usr/lib/modules/", StringComparison.Ordinal) ? path[4..] : path;
        return path == $"boot/vmlinuz-{release}" || path == $"boot/config-{release}" || path == $"boot/System.map-{release}"
            || (path.StartsWith($"lib/modules/{release}/", StringComparison.Ordinal)
                && (ModuleFiles.NameOf(path) is not null || Path.GetFileName(path).StartsWith("modules.",
                    StringComparison.Ordinal)))
            ? path
            : null;
    }

    private static bool Has(string target, KernelManifest manifest, string module) =>
        manifest.Modules.Contains(ModuleFiles.Normalize(module))
        || (Path.Combine(target, "lib/modules", manifest.Release) is var folder && Directory.Exists(folder)
            && ModuleIndex.Open(folder).IsBuiltIn(module));

    private static async Task VerifyAsync(string file, ArchivePackage package, CancellationToken cancellationToken)
    {
        await using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20,
            FileOptions.SequentialScan);
        var hash = Convert.ToHexStringLower(await SHA256.HashDataAsync(stream, cancellationToken).ConfigureAwait(false));
        if (hash != package.Sha256)
        {
            throw new BootException(
                $"{package.Name}: the downloaded file's SHA-256 is {hash}, and the archive's index says {package.Sha256}",
                "try again; if it stays so, the mirror is broken");
        }
    }

    private void CheckSpace(KernelPackages packages)
    {
        var needed = (long)((packages.Image.Size + packages.Image.InstalledSize + (packages.Debug.Size * 2)) * UnpackedFactor);
        var free = new DriveInfo(kernelsDirectory).AvailableFreeSpace;
        if (free < needed)
        {
            throw new BootException(
                $"fetching {packages.Release} needs {needed >> 20} MiB in {kernelsDirectory} for a while (about "
                + $"{packages.Debug.Size >> 20} MiB stay), and {free >> 20} MiB are free",
                "free some space, or set XDG_CACHE_HOME to a folder elsewhere");
        }
    }

    private async Task<FileStream> LockAsync(CancellationToken cancellationToken)
    {
        var path = Path.Combine(kernelsDirectory, ".lock");
        for (var waited = false; ; waited = true)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException) when (File.Exists(path))
            {
                if (!waited)
                {
                    progress.Report(new("resolve", "waiting for another ktrace that is fetching a kernel"));
                }

                await Task.Delay(300, cancellationToken).ConfigureAwait(false);
            }
            catch (UnauthorizedAccessException e)
            {
                throw new BootException($"{path}: {e.Message}", "check the permissions of that folder", e);
            }
        }
    }

    private void RemoveLeftovers()
    {
        foreach (var leftover in Directory.EnumerateDirectories(kernelsDirectory, PartialPrefix + "*"))
        {
            Remove(leftover);
        }
    }

    private static void RemoveEmptyFolders(string folder)
    {
        foreach (var child in Directory.EnumerateDirectories(folder).ToArray())
        {
            RemoveEmptyFolders(child);
            if (!Directory.EnumerateFileSystemEntries(child).Any())
            {
                Directory.Delete(child);
            }
        }
    }

    private static void Remove(string folder)
    {
        try
        {
            Directory.Delete(folder, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Not there, or not ours: the next fetch tries again.
        }
    }
}
