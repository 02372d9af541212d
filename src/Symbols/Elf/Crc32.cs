// CRC-32 as in zlib and .gnu_debuglink: polynomial 0xedb88320, reflected, eight tables so that a gigabyte takes half a second.
using System.Buffers.Binary;

namespace KTrace.Symbols.Elf;

internal static class Crc32
{
    private const int Slices = 8;
    private const int Chunk = 16 << 20;

    private static readonly uint[] Tables = Build();

    public static uint Of(ReadOnlySpan<byte> bytes) => ~Continue(~0u, bytes);

    /// <summary>A whole file; what was read leaves our memory.</summary>
    public static uint Of(MappedFile file)
    {
        var crc = ~0u;
        for (long at = 0; at < file.Length; at += Chunk)
        {
            var piece = file.Slice("", at, Math.Min(Chunk, file.Length - at));
            crc = Continue(crc, piece.Span);
            piece.Release(0, piece.Length);
        }

        return ~crc;
    }

    private static uint Continue(uint crc, ReadOnlySpan<byte> bytes)
    {
        var tables = Tables.AsSpan();
        for (; bytes.Length >= Slices; bytes = bytes[Slices..])
        {
            var low = BinaryPrimitives.ReadUInt32LittleEndian(bytes) ^ crc;
            var high = BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]);
            crc = tables[(7 * 256) + (int)(low & 0xff)] ^ tables[(6 * 256) + (int)((low >> 8) & 0xff)]
                ^ tables[(5 * 256) + (int)((low >> 16) & 0xff)] ^ tables[(4 * 256) + (int)(low >> 24)]
                ^ tables[(3 * 256) + (int)(high & 0xff)] ^ tables[(2 * 256) + (int)((high >> 8) & 0xff)]
                ^ tables[256 + (int)((high >> 16) & 0xff)] ^ tables[(int)(high >> 24)];
        }

        foreach (var b in bytes)
        {
            crc = (crc >> 8) ^ tables[(int)((crc ^ b) & 0xff)];
        }

        return crc;
    }

    private static uint[] Build()
    {
        var tables = new uint[Slices * 256];
        for (uint i = 0; i < 256; i++)
        {
            var crc = i;
            for (var bit = 0; bit < 8; bit++)
            {
                crc = (crc & 1) != 0 ? (crc >> 1) ^ 0xedb88320 : crc >> 1;
            }

            tables[i] = crc;
        }

        for (var i = 256; i < tables.Length; i++)
        {
            tables[i] = (tables[i - 256] >> 8) ^ tables[(int)(tables[i - 256] & 0xff)];
        }

        return tables;
    }
}
