// Module files in a folder like /lib/modules/RELEASE. Names: the kernel, modprobe and depmod treat '-' and '_' in a module's name
// as the same character (kmod's modname_normalize), and a file may be compressed: .ko, .ko.gz, .ko.xz, .ko.zst
// (CONFIG_MODULE_COMPRESS_*).
using System.IO.Compression;

namespace KTrace.Boot.Kernels;

/// <summary>Finds and opens module files.</summary>
internal static class ModuleFiles
{
    private const int FileLimit = 200_000;
    private const long ModuleLimit = 256 << 20;

    /// <summary>The module's name as the kernel writes it, from a path or a name; null if the file name is not a
    /// module's.</summary>
    public static string? NameOf(string path)
    {
        var file = Path.GetFileName(path);
        var dot = file.IndexOf(".ko", StringComparison.Ordinal);
        return dot > 0 && file[dot..] is ".ko" or ".ko.gz" or ".ko.xz" or ".ko.zst" ? Normalize(file[..dot]) : null;
    }

    public static string Normalize(string name) => name.Replace('-', '_');

    /// <summary>Every module file below a folder. In a build tree modules.order names them, which is quicker than walking the
    /// tree.</summary>
    public static IEnumerable<string> All(string directory)
    {
        var order = Path.Combine(directory, "modules.order");
        if (File.Exists(Path.Combine(directory, "vmlinux")) && File.Exists(order))
        {
            // kernel/Documentation/kbuild: modules.order lists .ko files up to 6.2 and .o files since 6.3.
            return File.ReadLines(order).Take(FileLimit)
                .Select(line => Path.GetFullPath(Path.Combine(directory, line.StartsWith("kernel/", StringComparison.Ordinal)
                    && !File.Exists(Path.Combine(directory, line)) ? line[7..] : line)))
                .Select(path => path.EndsWith(".o", StringComparison.Ordinal) ? path[..^2] + ".ko" : path)
                .Where(path => NameOf(path) is not null && File.Exists(path));
        }

        return Directory.Exists(directory)
            ? Directory.EnumerateFiles(directory, "*.ko*", new EnumerationOptions { RecurseSubdirectories = true,
                AttributesToSkip = FileAttributes.ReparsePoint, MaxRecursionDepth = 24 })
                .Take(FileLimit).Where(path => NameOf(path) is not null)
            : [];
    }

    public static string? Find(string directory, string name)
    {
        var wanted = Normalize(name);
        return All(directory).FirstOrDefault(path => NameOf(path) == wanted);
    }

    /// <summary>A module's bytes, decompressed: busybox's insmod may not know the format, and a kernel without
    /// CONFIG_MODULE_DECOMPRESS does not either.</summary>
    /// <exception cref="BootException">The file cannot be read or decompressed.</exception>
    public static async Task<byte[]> ReadAsync(string path, CancellationToken cancellationToken)
    {
        try
        {
            if (path.EndsWith(".ko", StringComparison.Ordinal))
            {
                return await File.ReadAllBytesAsync(path, cancellationToken).ConfigureAwait(false);
            }

            await using var file = File.OpenRead(path);
            if (path.EndsWith(".gz", StringComparison.Ordinal))
            {
                await using var gzip = new GZipStream(file, CompressionMode.Decompress);
                return await ReadAllAsync(gzip, path, cancellationToken).ConfigureAwait(false);
            }

            var program = path.EndsWith(".xz", StringComparison.Ordinal) ? "xz" : "zstd";
            await using var pipe = new FilterStream(program, ["-dc"], file);
            return await ReadAllAsync(pipe, path, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new BootException($"{path}: cannot be read: {e.Message}", inner: e);
        }
    }

    private static async Task<byte[]> ReadAllAsync(Stream stream, string path, CancellationToken cancellationToken)
    {
        var bytes = new MemoryStream();
        var buffer = new byte[64 << 10];
        int read;
        while ((read = await stream.ReadAsync(buffer, cancellationToken).ConfigureAwait(false)) > 0)
        {
            if (bytes.Length + read > ModuleLimit)
            {
                throw new BootException($"{path}: more than {ModuleLimit >> 20} MiB when decompressed: not a kernel module");
            }

            bytes.Write(buffer, 0, read);
        }

        return bytes.ToArray();
    }
}
