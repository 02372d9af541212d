// Compressed files and sections become files without a name in the temporary folder: mapped, so that their pages can leave our memory again, and gone when we
// are. zlib and gzip are in the framework; for the rest the programs that every distribution brings inflate (docs/decisions.md).
using System.Diagnostics;
using System.IO.Compression;

namespace KTrace.Symbols.Elf;

/// <summary>How bytes were compressed.</summary>
internal enum Compression
{
    Zlib,
    Gzip,
    Xz,
    Lzma,
    Bzip2,
    Zstd,
    Lz4,
    Lzo,
}

/// <summary>Inflates into a private file that is mapped and has no name any more.</summary>
internal static class InflatedFile
{
    // Debug sections rarely shrink below a tenth. A claim far beyond that is an attack on our disk. (deflate's own limit is 1032.)
    private const long MaximumRatio = 1100;
    private const long MaximumUnknown = 4L << 30;

    // A temporary file costs more than it is worth for what is small.
    private const int SmallEnough = 1 << 20;

    /// <summary>The format by the first bytes, or null.</summary>
    public static Compression? FormatOf(ReadOnlySpan<byte> head) => head switch
    {
        [0x1f, 0x8b, ..] => Compression.Gzip,
        [0xfd, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0, ..] => Compression.Xz,
        [(byte)'B', (byte)'Z', (byte)'h', ..] => Compression.Bzip2,
        [0x5d, 0, 0, ..] => Compression.Lzma,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression.Zstd,
        [2, 0x21, 0x4c, 0x18, ..] or [4, 0x22, 0x4d, 0x18, ..] => Compression.Lz4,
        [0x89, (byte)'L', (byte)'Z', (byte)'O', ..] => Compression.Lzo,
        _ => null,
    };

    /// <summary>Inflates a section or a part of a file into bytes that are read like it. Throws <see cref="MalformedFileException"/>.</summary>
    /// <param name="at">Where the stream begins in <paramref name="stored"/>.</param>
    /// <param name="size">What it must inflate to, in bytes.</param>
    public static SectionData Section(SectionData stored, int at, Compression format, ulong size)
    {
        if (size > int.MaxValue || size > (ulong)(stored.Length - at) * MaximumRatio)
        {
            throw stored.Malformed(at, $"a compressed section that claims 0x{size:x} bytes from 0x{stored.Length - at:x}");
        }

        try
        {
            var payload = new PayloadStream(stored, at);
            if (size <= SmallEnough)
            {
                var bytes = new MemoryStream((int)size);
                Inflate(payload, format, bytes, (long)size);
                return bytes.Length == (long)size
                    ? new SectionData(stored.File, stored.Name, bytes.ToArray())
                    : throw stored.Malformed(at, $"a compressed section that gives 0x{bytes.Length:x} bytes of 0x{size:x}");
            }

            var mapped = ToMapping(stored.File, payload, format, (long)size);
            return mapped.Length == (long)size
                ? mapped.Slice(stored.Name, 0, mapped.Length)
                : throw stored.Malformed(at, $"a compressed section that gives 0x{mapped.Length:x} bytes of 0x{size:x}");
        }
        catch (InvalidDataException e)
        {
            throw stored.Malformed(at, "a damaged compressed stream: " + e.Message);
        }
    }

    /// <summary>A whole compressed file, mapped under its own name.</summary>
    /// <exception cref="MalformedFileException">Its contents are damaged, or the program that inflates it is missing.</exception>
    public static MappedFile Open(MappedFile file, Compression format)
    {
        var stored = file.Slice("", 0, file.Length);
        try
        {
            return ToMapping(file.Path, new PayloadStream(stored, 0), format, Math.Min(MaximumUnknown, file.Length * MaximumRatio));
        }
        catch (InvalidDataException e)
        {
            throw stored.Malformed(0, "a damaged compressed file: " + e.Message);
        }
    }

    /// <summary>A part of a file: a kernel in a bzImage.</summary>
    public static MappedFile Open(SectionData stored, int at, Compression format, long limit)
    {
        try
        {
            return ToMapping(stored.File, new PayloadStream(stored, at), format, Math.Min(limit, (stored.Length - (long)at) * MaximumRatio));
        }
        catch (InvalidDataException e)
        {
            throw stored.Malformed(at, "a damaged compressed kernel: " + e.Message);
        }
    }

    /// <summary>A part of a file as a file, for what is stored in another one as it is.</summary>
    public static MappedFile Copy(SectionData stored) => ToMapping(stored.File, file => new PayloadStream(stored, 0).CopyTo(file));

    private static MappedFile ToMapping(string path, Stream payload, Compression format, long limit) =>
        ToMapping(path, file => Inflate(payload, format, file, limit));

    private static MappedFile ToMapping(string path, Action<Stream> write)
    {
        var temporary = Path.Combine(Path.GetTempPath(), "ktrace-" + Path.GetRandomFileName());
        try
        {
            var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
            if (!OperatingSystem.IsWindows())
            {
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            }

            using (var file = new FileStream(temporary, options))
            {
                write(file);
            }

            return new MappedFile(path, temporary);
        }
        finally
        {
            // The mapping keeps the bytes.
            File.Delete(temporary);
        }
    }

    /// <summary>Writes at most one byte more than <paramref name="limit"/>.</summary>
    private static void Inflate(Stream payload, Compression format, Stream into, long limit)
    {
        switch (format)
        {
            case Compression.Zlib:
                using (var zlib = new ZLibStream(payload, CompressionMode.Decompress))
                {
                    Copy(zlib, into, limit);
                }

                break;
            case Compression.Gzip:
                using (var gzip = new GZipStream(payload, CompressionMode.Decompress))
                {
                    Copy(gzip, into, limit);
                }

                break;
            case Compression.Xz:
                ByProgram(["xz", "-dc"], payload, into, limit);
                break;
            case Compression.Lzma:
                ByProgram(["xz", "--format=lzma", "-dc"], payload, into, limit);
                break;
            case Compression.Bzip2:
                ByProgram(["bzip2", "-dc"], payload, into, limit);
                break;
            case Compression.Zstd:
                ByProgram(["zstd", "-dcq"], payload, into, limit);
                break;
            case Compression.Lz4:
                ByProgram(["lz4", "-dc"], payload, into, limit);
                break;
            default:
                ByProgram(["lzop", "-dc"], payload, into, limit);
                break;
        }
    }

    private static void ByProgram(string[] command, Stream payload, Stream into, long limit)
    {
        var start = new ProcessStartInfo(command[0], command[1..]) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        Process? program;
        try
        {
            program = Process.Start(start);
        }
        catch (System.ComponentModel.Win32Exception)
        {
            throw new InvalidDataException($"the {command[0]} program is needed and is not installed");
        }

        using (program)
        {
            var feeder = Task.Run(() =>
            {
                try
                {
                    payload.CopyTo(program!.StandardInput.BaseStream);
                    program.StandardInput.Close();
                }
                catch (IOException)
                {
                    // It went away early; its exit code and the short result say so.
                }
            });
            var errors = program!.StandardError.ReadToEndAsync();
            Copy(program.StandardOutput.BaseStream, into, limit);
            program.StandardOutput.Close();
            feeder.Wait();
            program.WaitForExit();
            if (program.ExitCode != 0 && into.Length <= limit)
            {
                throw new InvalidDataException($"{command[0]}: {errors.Result.Trim()}");
            }
        }
    }

    private static void Copy(Stream from, Stream into, long limit)
    {
        var buffer = new byte[1 << 18];
        while (limit >= 0)
        {
            var count = from.Read(buffer, 0, (int)Math.Min(buffer.Length, limit + 1));
            if (count == 0)
            {
                return;
            }

            into.Write(buffer, 0, count);
            limit -= count;
        }
    }

    /// <summary>Bytes of a section as a stream, without a copy.</summary>
    private sealed class PayloadStream(SectionData stored, int at) : Stream
    {
        private int _position = at;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override int Read(Span<byte> buffer)
        {
            var rest = stored.Span[_position..];
            var count = Math.Min(rest.Length, buffer.Length);
            rest[..count].CopyTo(buffer);
            _position += count;
            return count;
        }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
