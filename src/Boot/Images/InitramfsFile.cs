// An initramfs as boot loaders pass it: any number of uncompressed cpio archives (early microcode first), NUL padding, and then
// usually one compressed archive up to the end of the file (Documentation/driver-api/early-userspace/buffer-format.rst; magics
// from lib/decompress.c). Compressed data followed by an archive of another compression is allowed by the kernel and made by
// nobody; it is reported as damage.
using System.IO.Compression;

namespace KTrace.Boot.Images;

/// <summary>One part of an initramfs file.</summary>
/// <param name="Offset">Where it begins in the file, in bytes.</param>
/// <param name="Compression">"none", "gzip", "xz", "zstd", "lz4", "bzip2", "lzma" or "lzo".</param>
public sealed record InitramfsPart(long Offset, string Compression);

/// <summary>Reads an initramfs file, whatever it is made of.</summary>
public static class InitramfsFile
{
    private const int EntryLimit = 1_000_000;
    private const long SizeLimit = 8L << 30;

    private static readonly (byte[] Magic, string Name, string? Program)[] Compressions =
    [
        ([0x1f, 0x8b], "gzip", null),
        ([0xfd, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0], "xz", "xz"),
        ([0x28, 0xb5, 0x2f, 0xfd], "zstd", "zstd"),
        ([0x02, 0x21, 0x4c, 0x18], "lz4", "lz4"),
        ([0x04, 0x22, 0x4d, 0x18], "lz4", "lz4"),
        ([(byte)'B', (byte)'Z', (byte)'h'], "bzip2", "bzip2"),
        ([0x5d, 0, 0], "lzma", "xz"),
        ([0x89, (byte)'L', (byte)'Z', (byte)'O'], "lzo", "lzop"),
    ];

    /// <summary>Reads every entry of every archive in order. The visitor may read the entry's data from the reader.</summary>
    /// <returns>The file's parts.</returns>
    /// <exception cref="BootException">The file is missing, damaged, or of a compression whose program is missing.</exception>
    public static IReadOnlyList<InitramfsPart> Visit(string path, Action<CpioEntry, CpioReader> visit,
        CancellationToken cancellationToken = default)
    {
        try
        {
            using var file = File.OpenRead(path);
            return Visit(file, path, visit, cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new BootException(
                $"{path}: {(e is FileNotFoundException or DirectoryNotFoundException ? "there is no such file" : e.Message)}",
                inner: e);
        }
    }

    /// <summary>All entries, without their data.</summary>
    public static (IReadOnlyList<CpioEntry> Entries, IReadOnlyList<InitramfsPart> Parts) List(string path,
        CancellationToken cancellationToken = default)
    {
        var entries = new List<CpioEntry>();
        var parts = Visit(path, (entry, _) => entries.Add(entry), cancellationToken);
        return (entries, parts);
    }

    internal static IReadOnlyList<InitramfsPart> Visit(Stream file, string name, Action<CpioEntry, CpioReader> visit,
        CancellationToken cancellationToken)
    {
        var parts = new List<InitramfsPart>();
        var reader = new CpioReader(file, name);
        var count = 0;
        if (ReadAll(reader) > 0)
        {
            parts.Add(new InitramfsPart(0, "none"));
        }

        if (reader.Rest.IsEmpty)
        {
            return parts.Count > 0 ? parts : throw new BootException($"{name}: an empty archive");
        }

        var offset = reader.Position;
        var magic = new byte[6];
        magic[0] = reader.Rest.Span[0];
        var length = 1 + file.ReadAtLeast(magic.AsSpan(1), 5, throwOnEndOfStream: false);
        var known = Compressions.FirstOrDefault(candidate => magic.AsSpan(0, length).StartsWith(candidate.Magic));
        if (known.Name is null)
        {
            throw new BootException(
                $"{name}: not an initramfs: at byte {offset} there is neither a cpio archive nor a "
                + "compression that the kernel knows");
        }

        using var input = new PrefixedStream(magic.AsMemory(0, length), file);
        using Stream plain = known.Program is null ? new GZipStream(input, CompressionMode.Decompress)
            : new FilterStream(known.Program, ["-dc"], input);
        var inner = new CpioReader(new BufferedStream(plain, 64 << 10), $"{name} ({known.Name})");
        ReadAll(inner);
        if (!inner.Rest.IsEmpty)
        {
            throw new BootException($"{name}: at byte {inner.Position} of its {known.Name} part: no cpio header here");
        }

        parts.Add(new InitramfsPart(offset, known.Name));
        return parts;

        int ReadAll(CpioReader from)
        {
            var before = count;
            while (from.Next() is { } entry)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (++count > EntryLimit || from.Position > SizeLimit)
                {
                    throw new BootException($"{name}: more than {EntryLimit} entries or {SizeLimit >> 30} GiB of data");
                }

                visit(entry with { Archive = entry.Archive + parts.Count }, from);
            }

            return count - before;
        }
    }
}
