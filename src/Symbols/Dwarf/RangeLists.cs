// Non-contiguous address ranges: .debug_rnglists (DWARF 5, sections 2.17.3 and 7.25) and .debug_ranges (DWARF 2 to 4, section 2.17.3).
using System.Buffers.Binary;

namespace KTrace.Symbols.Dwarf;

internal static class RangeLists
{
    /// <summary>Where list <paramref name="index"/> starts (DW_FORM_rnglistx): the offsets table counts from its own start.</summary>
    public static ulong OffsetAt(Unit unit, ulong tableBase, ulong index)
    {
        var section = unit.Sections.Rnglists;
        var size = unit.Header.OffsetSize;
        if (index > int.MaxValue || tableBase > int.MaxValue || tableBase + ((index + 1) * size) > (ulong)section.Length)
        {
            throw section.Malformed((long)Math.Min(tableBase, int.MaxValue), $"range list {index}, outside the section (size 0x{section.Length:x})");
        }

        var at = section.Span[(int)(tableBase + (index * size))..];
        return tableBase + (size == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(at) : BinaryPrimitives.ReadUInt32LittleEndian(at));
    }

    /// <summary>Appends the non-empty ranges of the list at <paramref name="offset"/> in .debug_rnglists, at most <paramref name="limit"/>.</summary>
    public static void Read(Unit unit, ulong offset, long limit, GrowingArray<AddressRange> into)
    {
        var section = unit.Sections.Rnglists;
        var r = section.ReaderAt((long)Math.Min(offset, long.MaxValue));
        var size = unit.Header.AddressSize;
        var @base = unit.LowPc;
        while (limit-- > 0)
        {
            ulong low, high;
            switch (r.ReadU8())
            {
                case DwRle.EndOfList:
                    return;
                case DwRle.BaseAddress:
                    @base = r.ReadAddress(size);
                    continue;
                case DwRle.BaseAddressx:
                    @base = unit.AddressAt(r.ReadUleb128());
                    continue;
                case DwRle.OffsetPair:
                    low = @base + r.ReadUleb128();
                    high = @base + r.ReadUleb128();
                    break;
                case DwRle.StartEnd:
                    low = r.ReadAddress(size);
                    high = r.ReadAddress(size);
                    break;
                case DwRle.StartLength:
                    low = r.ReadAddress(size);
                    high = low + r.ReadUleb128();
                    break;
                case DwRle.StartxEndx:
                    low = unit.AddressAt(r.ReadUleb128());
                    high = unit.AddressAt(r.ReadUleb128());
                    break;
                case DwRle.StartxLength:
                    low = unit.AddressAt(r.ReadUleb128());
                    high = low + r.ReadUleb128();
                    break;
                default:
                    throw r.Malformed("a range list entry of an unknown kind");
            }

            if (high > low)
            {
                into.Add(new AddressRange(low, high));
            }
        }

        throw r.Malformed("more ranges than the unit's functions can have");
    }

    /// <summary>The same for .debug_ranges: pairs of addresses relative to a base, ended by (0, 0).</summary>
    public static void ReadBeforeVersion5(Unit unit, ulong offset, long limit, GrowingArray<AddressRange> into)
    {
        var section = unit.Sections.Ranges;
        var r = section.ReaderAt((long)Math.Min(offset, long.MaxValue));
        var size = unit.Header.AddressSize;
        var selector = size == 8 ? ulong.MaxValue : uint.MaxValue;
        var @base = unit.LowPc;
        while (limit-- > 0)
        {
            var low = r.ReadAddress(size);
            var high = r.ReadAddress(size);
            if (low == 0 && high == 0)
            {
                return;
            }

            if (low == selector)
            {
                @base = high;
            }
            else if (high > low)
            {
                into.Add(new AddressRange(@base + low, @base + high));
            }
        }

        throw r.Malformed("more ranges than the unit's functions can have");
    }
}
