// SHF_COMPRESSED (gABI, "Section Compression"): an Elf32_Chdr or Elf64_Chdr, then the stream.
// zlib is in the framework; for zstd the zstd program inflates (docs/decisions.md).
using System.Diagnostics;
using System.IO.Compression;

namespace KTrace.Symbols.Elf;

internal static class CompressedSection
{
    private const uint TypeZlib = 1;
    private const uint TypeZstd = 2;

    // Debug sections rarely shrink below a tenth; a claim far beyond that is an attack on our memory. (deflate's own limit is 1032.)
    private const ulong MaximumRatio = 1100;

    public static SectionData Inflate(SectionData stored, bool is64)
    {
        var r = stored.ReaderAt(0);
        var type = r.ReadU32();
        if (is64)
        {
            r.ReadU32();
        }

        var size = r.ReadAddress(is64 ? 8 : 4);
        r.ReadAddress(is64 ? 8 : 4);
        if (size > (ulong)Array.MaxLength || size > ((ulong)stored.Length * MaximumRatio))
        {
            throw stored.Malformed(0, $"a compressed section that claims 0x{size:x} bytes from 0x{stored.Length:x}");
        }

        var payload = stored.Span[r.Position..].ToArray();
        var inflated = new byte[size];
        try
        {
            var read = type switch
            {
                TypeZlib => InflateZlib(payload, inflated),
                TypeZstd => InflateZstd(payload, inflated),
                _ => throw stored.Malformed(0, $"compression type {type}"),
            };
            if (read != inflated.Length)
            {
                throw stored.Malformed(r.Position, $"a compressed section that gives 0x{read:x} bytes of 0x{size:x}");
            }
        }
        catch (InvalidDataException e)
        {
            throw stored.Malformed(r.Position, "a damaged compressed stream: " + e.Message);
        }

        return new SectionData(stored.File, stored.Name, inflated);
    }

    private static int InflateZlib(byte[] payload, byte[] inflated)
    {
        using var stream = new ZLibStream(new MemoryStream(payload), CompressionMode.Decompress);
        return stream.ReadAtLeast(inflated, inflated.Length, throwOnEndOfStream: false);
    }

    private static int InflateZstd(byte[] payload, byte[] inflated)
    {
        var start = new ProcessStartInfo("zstd", ["-dc", "-q"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        Process? zstd;
        try
        {
            zstd = Process.Start(start);
        }
        catch (System.ComponentModel.Win32Exception)
        {
            throw new InvalidDataException("the zstd program is needed and is not installed (apt-get install zstd)");
        }

        using (zstd)
        {
            var feeder = Task.Run(() =>
            {
                try
                {
                    zstd!.StandardInput.BaseStream.Write(payload);
                    zstd.StandardInput.Close();
                }
                catch (IOException)
                {
                    // zstd went away early; the short read below says so.
                }
            });
            var read = zstd!.StandardOutput.BaseStream.ReadAtLeast(inflated, inflated.Length, throwOnEndOfStream: false);
            zstd.StandardOutput.Close();
            feeder.Wait();
            zstd.WaitForExit();
            return read;
        }
    }
}
