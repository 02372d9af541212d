using System.Collections.Immutable;
using System.Security.Cryptography;
using KTrace.Boot.Images;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;

namespace KTrace.Boot;

/// <summary>A scenario with everything found or built: ready to start.</summary>
/// <param name="Kernel">Null if the scenario boots from a drive or CD.</param>
/// <param name="InitramfsPath">The file that QEMU gets, or null.</param>
/// <param name="InitramfsModules">The modules that its /init loads, in order; empty for a finished file.</param>
public sealed record PreparedBoot(
    Scenario Scenario, KernelFiles? Kernel, string? InitramfsPath, ImmutableArray<string> InitramfsModules,
        QemuCommandLine CommandLine)
{
    /// <summary>Finds the kernel, builds the initramfs into the cache (a file named by its hash, so that a replay finds the very
    /// same), makes QEMU's arguments.
    /// Fetches nothing: a kernel that is not here is a <see cref="BootException"/> whose remedy is the fetch.</summary>
    /// <param name="extra">Further QEMU arguments.</param>
    /// <exception cref="BootException">Something that the scenario names is missing or unusable.</exception>
    public static async Task<PreparedBoot> PrepareAsync(
        Scenario scenario, KernelStore store, IEnumerable<string>? extra = null, IBootProgress? progress = null,
            CancellationToken cancellationToken = default)
    {
        var kernel = scenario.Kernel is null or { IsGuestsOwn: true } ? null : store.Resolve(scenario.Kernel);
        string? initramfs = null;
        ImmutableArray<string> modules = [];
        if (scenario.Initramfs is { File: { } file })
        {
            initramfs = File.Exists(file) ? file : throw new BootException($"{file}: there is no such initramfs");
        }
        else if (scenario.Initramfs?.Build is { } description)
        {
            (initramfs, modules) = await BuildAsync(description, kernel, store, progress, cancellationToken)
                .ConfigureAwait(false);
        }

        return new PreparedBoot(scenario, kernel, initramfs, modules, QemuCommandLine.For(scenario, kernel?.Image, initramfs,
            extra));
    }

    /// <summary>SHA-256 of a file in lower-case hexadecimal: what traces record of kernels and initramfs files.</summary>
    /// <exception cref="BootException">The file cannot be read.</exception>
    public static async Task<string> HashAsync(string path, CancellationToken cancellationToken = default)
    {
        try
        {
            await using var file = File.OpenRead(path);
            return Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken).ConfigureAwait(false));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BootException($"{path}: {e.Message}", inner: e);
        }
    }

    /// <summary>What a run that was killed while it built has left; an hour is longer than any build.</summary>
    private static void RemoveLeftovers(string folder)
    {
        try
        {
            var leftovers = Directory.Exists(folder) ? Directory.EnumerateFiles(folder, "building-*") : [];
            foreach (var path in leftovers.Where(path => File.GetLastWriteTimeUtc(path) < DateTime.UtcNow.AddHours(-1)))
            {
                File.Delete(path);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Cleaning up is a courtesy.
        }
    }

    private static async Task<(string Path, ImmutableArray<string> Modules)> BuildAsync(
        InitramfsDescription description, KernelFiles? kernel, KernelStore store, IBootProgress? progress,
            CancellationToken cancellationToken)
    {
        var folder = Path.Combine(store.CacheDirectory, "initramfs");
        RemoveLeftovers(folder);
        var building = Path.Combine(folder, $"building-{Environment.ProcessId}-{Guid.NewGuid():n}");
        var built = await Initramfs.BuildAsync(description, kernel, building, progress, cancellationToken).ConfigureAwait(false);
        var path = Path.Combine(folder, built.Sha256[..16] + ".cpio.gz");
        File.Move(building, path, overwrite: true);
        return (path, built.Modules);
    }
}
