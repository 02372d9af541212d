// SHF_COMPRESSED (gABI, "Section Compression"): an Elf32_Chdr or Elf64_Chdr, then the stream. Before that GNU had sections named .zdebug_*: "ZLIB", the size as
// a big-endian number, then the stream (binutils and GCC until 2015, Go until 1.18; objcopy still writes them on request).
using System.Buffers.Binary;

namespace KTrace.Symbols.Elf;

internal static class CompressedSection
{
    /// <summary>What GNU's names begin with; behind it they go on as the section's own name does.</summary>
    public const string GnuPrefix = ".zdebug_";

    private const uint TypeZlib = 1;
    private const uint TypeZstd = 2;
    private const int GnuHeader = 12;

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
        var format = type switch
        {
            TypeZlib => Compression.Zlib,
            TypeZstd => Compression.Zstd,
            _ => throw stored.Malformed(0, $"compression type {type}"),
        };
        return InflatedFile.Section(stored, r.Position, format, size);
    }

    /// <summary>A section named .zdebug_*; the bytes as they are when they do not begin with "ZLIB" (too small to be worth it).</summary>
    public static SectionData InflateGnu(SectionData stored) =>
        stored.Length >= GnuHeader && stored.Span.StartsWith("ZLIB"u8)
            ? InflatedFile.Section(stored, GnuHeader, Compression.Zlib, BinaryPrimitives.ReadUInt64BigEndian(stored.Span[4..]))
            : stored;
}
