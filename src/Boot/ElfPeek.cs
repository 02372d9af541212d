// The little that preparing a boot needs to know of an ELF file (System V gABI, chapters 4 and 5): its class and machine, whether
// it needs a program interpreter, and the contents of small sections by name. The Symbols room has the real reader; this room
// stands alone. Little-endian only: every guest that this room can boot is. Offsets and counts are checked against the file's
// length.
using System.Buffers.Binary;
using System.Text;

namespace KTrace.Boot;

/// <summary>A look at an ELF file's headers.</summary>
internal sealed class ElfPeek
{
    private const int SectionLimit = 16 << 20;
    private const int HeaderLimit = 65536;
    private const uint ProgramInterpreter = 3;

    private readonly string path;
    private readonly long sectionOffset;
    private readonly int sectionSize;
    private readonly int sectionCount;
    private readonly int namesIndex;

    private ElfPeek(string path, ReadOnlySpan<byte> header, Func<long, int, byte[]?> read)
    {
        this.path = path;
        Is64Bit = header[4] == 2;
        Machine = BinaryPrimitives.ReadUInt16LittleEndian(header[18..]);
        var programOffset = Is64Bit ? BinaryPrimitives.ReadInt64LittleEndian(header[32..])
            : BinaryPrimitives.ReadUInt32LittleEndian(header[28..]);
        sectionOffset = Is64Bit ? BinaryPrimitives.ReadInt64LittleEndian(header[40..]) : BinaryPrimitives.ReadUInt32LittleEndian(
            header[32..]);
        var counts = header[(Is64Bit ? 54 : 42)..];
        int programSize = BinaryPrimitives.ReadUInt16LittleEndian(counts);
        int programCount = BinaryPrimitives.ReadUInt16LittleEndian(counts[2..]);
        sectionSize = BinaryPrimitives.ReadUInt16LittleEndian(counts[4..]);
        sectionCount = BinaryPrimitives.ReadUInt16LittleEndian(counts[6..]);
        namesIndex = BinaryPrimitives.ReadUInt16LittleEndian(counts[8..]);
        if (programSize >= 4 && programCount > 0 && read(programOffset, programSize * programCount) is { } programs)
        {
            for (var i = 0; i < programCount; i++)
            {
                HasInterpreter |= BinaryPrimitives.ReadUInt32LittleEndian(programs.AsSpan(i * programSize)) == ProgramInterpreter;
            }

            IsStatic = !HasInterpreter;
        }
    }

    /// <summary>ELFCLASS64.</summary>
    public bool Is64Bit { get; }

    /// <summary>e_machine: 3 is i386, 62 is x86-64.</summary>
    public int Machine { get; }

    public bool HasInterpreter { get; }

    /// <summary>A program that runs without a dynamic linker: it has program headers and no PT_INTERP (static-pie files have
    /// PT_DYNAMIC and none either).</summary>
    public bool IsStatic { get; }

    /// <summary>Null if the file cannot be read or is no little-endian ELF file.</summary>
    public static ElfPeek? TryOpen(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            var header = new byte[64];
            if (file.ReadAtLeast(header, 52, throwOnEndOfStream: false) < 52 || !header.AsSpan().StartsWith("\x7f"u8)
                || header[1] != 'E' || header[2] != 'L'
                || header[3] != 'F' || header[4] is not (1 or 2) || header[5] != 1)
            {
                return null;
            }

            return new ElfPeek(path, header, (offset, length) => ReadAt(file, offset, length));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>A section's bytes, or null if there is no such section, or it is larger than 16 MiB or not in the file.</summary>
    public byte[]? TryReadSection(string name)
    {
        try
        {
            using var file = File.OpenRead(path);
            var minimum = Is64Bit ? 64 : 40;
            if (sectionSize < minimum || sectionCount == 0 || sectionCount > HeaderLimit || namesIndex >= sectionCount
                || ReadAt(file, sectionOffset, sectionSize * sectionCount) is not { } headers)
            {
                return null;
            }

            var (namesOffset, namesLength) = Extent(headers.AsSpan(namesIndex * sectionSize));
            if (ReadAt(file, namesOffset, namesLength) is not { } names)
            {
                return null;
            }

            var wanted = Encoding.ASCII.GetBytes(name + "\0");
            for (var i = 0; i < sectionCount; i++)
            {
                var header = headers.AsSpan(i * sectionSize);
                var nameOffset = BinaryPrimitives.ReadUInt32LittleEndian(header);
                if (nameOffset < names.Length && names.AsSpan((int)nameOffset).StartsWith(wanted))
                {
                    var (offset, length) = Extent(header);
                    return ReadAt(file, offset, length);
                }
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Not readable: not there.
        }

        return null;
    }

    private (long Offset, long Length) Extent(ReadOnlySpan<byte> header) => Is64Bit
        ? (BinaryPrimitives.ReadInt64LittleEndian(header[24..]), BinaryPrimitives.ReadInt64LittleEndian(header[32..]))
        : (BinaryPrimitives.ReadUInt32LittleEndian(header[16..]), BinaryPrimitives.ReadUInt32LittleEndian(header[20..]));

    private static byte[]? ReadAt(FileStream file, long offset, long length)
    {
        if (offset < 0 || length < 0 || length > SectionLimit || offset > file.Length - length)
        {
            return null;
        }

        var bytes = new byte[length];
        file.Position = offset;
        file.ReadExactly(bytes);
        return bytes;
    }
}
