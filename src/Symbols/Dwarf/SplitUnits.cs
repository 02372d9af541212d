// Split DWARF: DWARF 5, section 3.1.2 (skeleton units), and GNU's extension to version 4 (DW_AT_GNU_dwo_name).
namespace KTrace.Symbols.Dwarf;

/// <summary>Units whose debug information lies in another file.</summary>
internal static class SplitUnits
{
    private const ushort DwoName = 0x76;
    private const ushort GnuDwoName = 0x2130;

    /// <summary>The .dwo file that the unit at an offset of .debug_info names; null for a whole unit.</summary>
    public static unsafe string? DwoNameOf(DwarfSections sections, int offset)
    {
        var unit = new Unit(sections);
        unit.Load(offset);
        if (unit.Tag == 0)
        {
            return null;
        }

        fixed (byte* bytes = sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, unit.Header.FirstEntry);
            reader.ReadEntry();
            for (var i = 0; i < reader.AttributeCount; i++)
            {
                ref readonly var attribute = ref reader.Attribute(i);
                if (attribute.Name is DwoName or GnuDwoName)
                {
                    return sections.Text(reader.ReadString(in attribute));
                }

                reader.Skip(in attribute);
            }
        }

        return null;
    }
}
