// Takes chosen files out of a .deb. dpkg-deb streams the package as a tar archive; only regular files are written, below the
// target folder, never through anything but folders that were made here; links, devices and owners of the package are ignored.
// The whole -dbg package would unpack to 5.6 GB: whatever is not wanted is read over, and reading ends with the last wanted file.
using System.Diagnostics;
using System.Formats.Tar;
using System.Security.Cryptography;

namespace KTrace.Boot.Kernels;

/// <summary>A file that was unpacked.</summary>
/// <param name="Path">Relative to the target folder.</param>
internal sealed record UnpackedFile(string Path, long Size, string Sha256, DateTimeOffset Modified);

/// <summary>Unpacks parts of packages.</summary>
internal static class PackageUnpacker
{
    /// <param name="place">The path below <paramref name="target"/> for a path of the package (without leading "./"), or null
    /// for a file that is not wanted.</param>
    /// <param name="isComplete">Asked after each file that was taken: true ends the work early.</param>
    /// <param name="expectedSize">Bytes that the package unpacks to, for the progress bar.</param>
    /// <exception cref="BootException">The package is damaged, a path would leave the target, or the disk is full.</exception>
    public static async Task<IReadOnlyList<UnpackedFile>> UnpackAsync(
        string package, string target, Func<string, string?> place, Func<bool>? isComplete, long expectedSize,
            IBootProgress progress, CancellationToken cancellationToken)
    {
        var taken = new List<UnpackedFile>();
        var name = Path.GetFileName(package);
        using var process = Tool.Start("dpkg-deb", ["--fsys-tarfile", package]);
        process.StandardInput.Close();
        var errors = Tool.ReadAsync(process.StandardError.BaseStream, 16 << 10, keepEnd: true);
        try
        {
            var counted = new CountedStream(process.StandardOutput.BaseStream);
            await using var tar = new TarReader(counted, leaveOpen: true);
            var reported = Stopwatch.StartNew();
            while (await tar.GetNextEntryAsync(copyData: false, cancellationToken).ConfigureAwait(false) is { } entry)
            {
                if (reported.ElapsedMilliseconds > 200)
                {
                    progress.Report(new("unpack", name, Math.Min(counted.Count, expectedSize), expectedSize));
                    reported.Restart();
                }

                var path = entry.Name.StartsWith("./", StringComparison.Ordinal) ? entry.Name[2..] : entry.Name;
                if (entry.EntryType is not (TarEntryType.RegularFile or TarEntryType.V7RegularFile)
                    || place(path) is not { } placed)
                {
                    continue;
                }

                if (placed.StartsWith('/') || placed.Split('/').Any(part => part is ".." or "" or "."))
                {
                    throw new BootException($"{name}: the path \"{entry.Name}\" would leave the target folder");
                }

                taken.Add(await WriteAsync(entry, Path.Combine(target, placed), placed, Report, cancellationToken)
                    .ConfigureAwait(false));
                if (isComplete?.Invoke() == true)
                {
                    return taken;
                }

                void Report() => progress.Report(new("unpack", name, Math.Min(counted.Count, expectedSize), expectedSize));
            }

            await process.WaitForExitAsync(cancellationToken).ConfigureAwait(false);
            if (process.ExitCode != 0)
            {
                throw new BootException($"{name}: damaged package: {AptMessages.FirstError(await errors.ConfigureAwait(false))}");
            }

            return taken;
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException or FormatException)
        {
            throw new BootException($"{name}: damaged package: {e.Message}", inner: e);
        }
        finally
        {
            Tool.End(process);
        }
    }

    private static async Task<UnpackedFile> WriteAsync(TarEntry entry, string path, string relative, Action report,
        CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        long size = 0;
        await using (var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0))
        {
            var buffer = new byte[1 << 20];
            int read;
            while (entry.DataStream is { } data && (read = await data.ReadAsync(buffer, cancellationToken)
                .ConfigureAwait(false)) > 0)
            {
                hash.AppendData(buffer, 0, read);
                await file.WriteAsync(buffer.AsMemory(0, read), cancellationToken).ConfigureAwait(false);
                size += read;
                if (size % (32 << 20) < read)
                {
                    report();
                }
            }
        }

        File.SetLastWriteTimeUtc(path, entry.ModificationTime.UtcDateTime);
        return new UnpackedFile(relative, size, Convert.ToHexStringLower(hash.GetHashAndReset()), entry.ModificationTime);
    }

    private sealed class CountedStream(Stream inner) : ReadOnlyStream
    {
        public long Count { get; private set; }

        public override int Read(Span<byte> buffer)
        {
            var read = inner.Read(buffer);
            Count += read;
            return read;
        }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            var read = await inner.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
            Count += read;
            return read;
        }
    }
}
