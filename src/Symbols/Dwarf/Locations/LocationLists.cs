// Location lists: .debug_loclists (DWARF 5, sections 2.6.2 and 7.29) and .debug_loc (DWARF 2 to 4, section 2.6.2).
// GCC writes pairs of location views before a list and points DW_AT_GNU_locviews at them; DW_AT_location leads behind them, so nobody need pass them. With
// -gvariable-location-views=incompat5 the pairs are entries of the list (DW_LLE_GNU_view_pair). A range may be empty (two views of one address).
// GCC ends the range of a value in a register that a call clobbers one byte before the return address, so that a look-up inside the call's last byte does not find it.
using System.Buffers.Binary;

namespace KTrace.Symbols.Dwarf.Locations;

/// <summary>Finds the expression that holds at an address.</summary>
internal static class LocationLists
{
    /// <summary>The expression for an address of the list that a DW_AT_location (or DW_AT_frame_base) names; "none" when no entry covers it.</summary>
    /// <param name="form">The attribute's form: DW_FORM_loclistx counts in the unit's table, all others are offsets.</param>
    /// <exception cref="MalformedFileException">The list runs out of its section, or has an entry of an unknown kind.</exception>
    public static ExpressionBytes Find(Unit unit, ushort form, ulong value, ulong address) => unit.Header.Version >= 5
        ? FindVersion5(unit, form == DwForm.Loclistx ? OffsetAt(unit, value) : value, address)
        : FindBeforeVersion5(unit, value, address);

    private static ulong OffsetAt(Unit unit, ulong index)
    {
        var section = unit.Sections.Loclists;
        var (table, size) = (unit.LoclistsBase, unit.Header.OffsetSize);
        if (index > int.MaxValue || table > int.MaxValue || table + ((index + 1) * size) > (ulong)section.Length)
        {
            throw section.Malformed((long)Math.Min(table, int.MaxValue), $"location list {index}, outside the section (size 0x{section.Length:x})");
        }

        var at = section.Span[(int)(table + (index * size))..];
        return table + (size == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(at) : BinaryPrimitives.ReadUInt32LittleEndian(at));
    }

    private static ExpressionBytes FindVersion5(Unit unit, ulong offset, ulong address)
    {
        var section = unit.Sections.Loclists;
        var r = section.ReaderAt((long)Math.Min(offset, long.MaxValue));
        var size = unit.Header.AddressSize;
        var @base = unit.LowPc;
        ExpressionBytes byDefault = default;
        while (true)
        {
            ulong low, high;
            var kind = r.ReadU8();
            switch (kind)
            {
                case DwLle.EndOfList:
                    return byDefault;
                case DwLle.BaseAddress:
                    @base = r.ReadAddress(size);
                    continue;
                case DwLle.BaseAddressx:
                    @base = unit.AddressAt(r.ReadUleb128());
                    continue;
                case DwLle.GnuViewPair:
                    r.ReadUleb128();
                    r.ReadUleb128();
                    continue;
                case DwLle.OffsetPair:
                    low = @base + r.ReadUleb128();
                    high = @base + r.ReadUleb128();
                    break;
                case DwLle.StartEnd:
                    low = r.ReadAddress(size);
                    high = r.ReadAddress(size);
                    break;
                case DwLle.StartLength:
                    low = r.ReadAddress(size);
                    high = low + r.ReadUleb128();
                    break;
                case DwLle.StartxEndx:
                    low = unit.AddressAt(r.ReadUleb128());
                    high = unit.AddressAt(r.ReadUleb128());
                    break;
                case DwLle.StartxLength:
                    low = unit.AddressAt(r.ReadUleb128());
                    high = low + r.ReadUleb128();
                    break;
                case DwLle.DefaultLocation:
                    // For addresses that no other entry covers.
                    low = high = 0;
                    break;
                default:
                    throw r.Malformed($"a location list entry of the unknown kind {kind}");
            }

            var length = r.ReadUleb128();
            var expression = new ExpressionBytes(section, r.Position, (int)Math.Min(length, int.MaxValue));
            r.Skip(length);
            if (address >= low && address < high)
            {
                return expression;
            }

            if (kind == DwLle.DefaultLocation)
            {
                byDefault = expression;
            }
        }
    }

    private static ExpressionBytes FindBeforeVersion5(Unit unit, ulong offset, ulong address)
    {
        var section = unit.Sections.Loc;
        var r = section.ReaderAt((long)Math.Min(offset, long.MaxValue));
        var size = unit.Header.AddressSize;
        var selector = size == 8 ? ulong.MaxValue : uint.MaxValue;
        var @base = unit.LowPc;
        while (true)
        {
            var low = r.ReadAddress(size);
            var high = r.ReadAddress(size);
            if (low == 0 && high == 0)
            {
                return default;
            }

            if (low == selector)
            {
                @base = high;
                continue;
            }

            var length = r.ReadU16();
            var expression = new ExpressionBytes(section, r.Position, length);
            r.Skip(length);
            if (address >= @base + low && address < @base + high)
            {
                return expression;
            }
        }
    }
}
