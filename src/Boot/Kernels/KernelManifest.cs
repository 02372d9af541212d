// manifest.json in a cached kernel's folder: written last, when every file has reached the disk. A folder without it, or whose
// files differ from it, is a leftover. What is compared at each use is size and modification time (hashing 633 MB at every start
// would cost more than the whole answer); the SHA-256 of every file was computed while it was unpacked and is there for `ktrace
// doctor`.
using System.Security.Cryptography;
using System.Text.Json;

namespace KTrace.Boot.Kernels;

internal sealed record ManifestFile(string Path, long Size, string Sha256, DateTimeOffset Modified);

internal sealed record ManifestPackage(string Name, string Version, string Sha256);

/// <summary>What a cached kernel consists of.</summary>
internal sealed record KernelManifest(int Format, string Release, IReadOnlyList<ManifestPackage> Packages,
    IReadOnlyList<string> Modules, IReadOnlyList<ManifestFile> Files)
{
    public const string FileName = "manifest.json";
    public const int CurrentFormat = 1;
    private const int SizeLimit = 8 << 20;

    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.KebabCaseLower,
        WriteIndented = true };

    /// <summary>The manifest of a folder, or null if it has none that can be trusted.</summary>
    public static KernelManifest? TryRead(string folder)
    {
        try
        {
            var file = new FileInfo(Path.Combine(folder, FileName));
            if (!file.Exists || file.Length > SizeLimit)
            {
                return null;
            }

            using var stream = file.OpenRead();
            return JsonSerializer.Deserialize<KernelManifest>(stream, Json) is { Format: CurrentFormat, Release: not null,
                Files: not null, Modules: not null, Packages: not null } manifest
                && manifest.Release == Path.GetFileName(folder) && manifest.Files.All(entry => entry?.Path is not null && Matches(folder, entry))
                ? manifest
                    : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or NotSupportedException)
        {
            return null;
        }
    }

    /// <summary>Writes the manifest: to a temporary file, to the disk, and then under its name.</summary>
    public void Write(string folder)
    {
        var temporary = Path.Combine(folder, FileName + ".part");
        using (var file = new FileStream(temporary, FileMode.Create, FileAccess.Write))
        {
            JsonSerializer.Serialize(file, this, Json);
            file.Flush(flushToDisk: true);
        }

        File.Move(temporary, Path.Combine(folder, FileName), overwrite: true);
        Durable.SyncDirectory(folder);
    }

    /// <summary>The first file whose contents are not those that were unpacked, or null. Reads everything: about a second a
    /// kernel.</summary>
    public async Task<string?> FindDamageAsync(string folder, CancellationToken cancellationToken)
    {
        foreach (var entry in Files)
        {
            await using var file = File.OpenRead(Path.Combine(folder, entry.Path));
            if (Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken)
                .ConfigureAwait(false)) != entry.Sha256)
            {
                return entry.Path;
            }
        }

        return null;
    }

    private static bool Matches(string folder, ManifestFile entry)
    {
        var file = new FileInfo(Path.Combine(folder, entry.Path));
        return file.Exists && file.Length == entry.Size
            && Math.Abs((file.LastWriteTimeUtc - entry.Modified.UtcDateTime).TotalSeconds) < 2;
    }
}
