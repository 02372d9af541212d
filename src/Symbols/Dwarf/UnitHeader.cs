// Unit headers: DWARF 5, section 7.5.1; DWARF 2 to 4, section 7.5.1.1. 32- and 64-bit DWARF. GCC writes one DW_UT_compile per object
// file; dwz and LTO add partial units; split DWARF leaves skeletons, whose .dwo files KTrace does not open. A version of 0 is padding
// that some linkers leave at the end of the section.
namespace KTrace.Symbols.Dwarf;

/// <summary>The header of one unit of .debug_info.</summary>
/// <param name="Offset">Where the header starts, bytes from the section's start.</param>
/// <param name="End">Where the unit ends (and the next one starts).</param>
/// <param name="FirstEntry">Where the unit's root DIE starts.</param>
/// <param name="Version">2 to 5.</param>
/// <param name="UnitType">DW_UT_*; DW_UT_compile for versions before 5.</param>
/// <param name="AddressSize">4 or 8 bytes.</param>
/// <param name="OffsetSize">4 bytes in 32-bit DWARF, 8 in 64-bit DWARF.</param>
/// <param name="AbbreviationOffset">Its abbreviations, bytes from the start of .debug_abbrev.</param>
internal readonly record struct UnitHeader(
    int Offset, int End, int FirstEntry, ushort Version, byte UnitType, byte AddressSize, byte OffsetSize, int AbbreviationOffset)
{
    /// <summary>Type units have no code.</summary>
    public bool IsTypeUnit => UnitType is DwUt.Type or DwUt.SplitType;

    /// <summary>Only the length: enough to go on to the next unit when this one cannot be read.</summary>
    public static int ReadEnd(SectionData info, int offset, out byte offsetSize)
    {
        var r = info.ReaderAt(offset);
        ulong length = r.ReadU32();
        offsetSize = 4;
        if (length == 0xffffffff)
        {
            length = r.ReadU64();
            offsetSize = 8;
        }
        else if (length >= 0xfffffff0)
        {
            throw info.Malformed(offset, $"a reserved unit length 0x{length:x}");
        }

        if (length > (ulong)r.Remaining)
        {
            throw info.Malformed(offset, $"a unit of 0x{length:x} bytes where 0x{r.Remaining:x} are left");
        }

        return r.Position + (int)length;
    }

    /// <summary>Whether it has room for a header, and a version that is read. <paramref name="end"/> is what <see cref="ReadEnd"/> said.</summary>
    public static bool IsPossible(SectionData info, int offset, int end)
    {
        var bytes = info.Span[offset..end];
        var at = bytes is [0xff, 0xff, 0xff, 0xff, ..] ? 12 : 4;
        return bytes.Length >= at + 7 && bytes[at] is >= 2 and <= 5 && bytes[at + 1] == 0;
    }

    /// <summary>Reads the header at <paramref name="offset"/>. Throws <see cref="MalformedFileException"/> when it cannot be one.</summary>
    public static UnitHeader Read(SectionData info, int offset)
    {
        var end = ReadEnd(info, offset, out var offsetSize);
        var r = info.ReaderAt(offset + (offsetSize == 8 ? 12 : 4));
        var version = r.ReadU16();
        if (version is < 2 or > 5)
        {
            throw info.Malformed(offset, $"DWARF version {version}; KTrace reads 2 to 5");
        }

        var type = DwUt.Compile;
        byte addressSize;
        ulong abbreviations;
        if (version >= 5)
        {
            type = r.ReadU8();
            addressSize = r.ReadU8();
            abbreviations = r.ReadAddress(offsetSize);
            switch (type)
            {
                case DwUt.Type or DwUt.SplitType:
                    r.ReadU64();
                    r.ReadAddress(offsetSize);
                    break;
                case DwUt.Skeleton or DwUt.SplitCompile:
                    r.ReadU64();
                    break;
            }
        }
        else
        {
            abbreviations = r.ReadAddress(offsetSize);
            addressSize = r.ReadU8();
        }

        if (addressSize is not (4 or 8))
        {
            throw info.Malformed(offset, $"an address size of {addressSize} bytes");
        }

        if (abbreviations > int.MaxValue || r.Position > end)
        {
            throw info.Malformed(offset, "a unit header that does not fit into its unit");
        }

        return new UnitHeader(offset, end, r.Position, version, type, addressSize, offsetSize, (int)abbreviations);
    }
}
