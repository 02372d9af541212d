// DIEs by name, without an index. A name of the debug information is one of three things: an offset into .debug_str (DW_FORM_strp; DW_FORM_line_strp for paths only), the
// text itself (DW_FORM_string: GCC does so for names of up to three letters), or a number into .debug_str_offsets (DW_FORM_strx: clang from DWARF 5 on).
// Linkers merge equal strings, and GNU ld also puts a string into the tail of a longer one: "irq_desc" may stand in "for_each_irq_desc" and nowhere else.
using System.Buffers.Binary;
using System.Text;

namespace KTrace.Symbols.Dwarf;

/// <summary>
/// Finds everything of a name in one object's DWARF: definitions, declarations, abstract instances. One question runs at a time. A name of the stock kernel takes
/// some 30 ms when all of .debug_info must be looked at, and less when the visitor is content with the first.
/// </summary>
internal sealed class NameSearch
{
    // Tails that equal the name ("stat" has hundreds): one of them is the one that is used, but only the DIEs tell which.
    private const int MaximumTails = 1 << 16;

    // Comparing with so many patterns one after the other is still quicker than looking at each place.
    private const int FewStrings = 8;

    private readonly DwarfSections _sections;
    private readonly UnitIndex _units;
    private readonly Lock _lock = new();
    private long[]? _stringTables;

    public NameSearch(DwarfSections sections, UnitIndex units)
    {
        _sections = sections;
        _units = units;
    }

    /// <summary>
    /// Visits the DIEs of that name (DW_AT_name or a linkage name), in the file's order: children of units, namespaces, structures and enumerations. True when the
    /// visitor ended the search.
    /// </summary>
    /// <param name="insideFunctions">Parameters, local variables and blocks too.</param>
    public bool Find(string name, FoundDieVisitor visit, bool insideFunctions = false)
    {
        var wanted = Encoding.UTF8.GetBytes(name);
        if (wanted.Length == 0 || _sections.Info.IsEmpty || wanted.AsSpan().Contains((byte)0))
        {
            return false;
        }

        lock (_lock)
        {
            byte[] text = [.. wanted, 0];
            FindStrings(text, out var exact, out var tails);
            var seen = false;
            bool Visit(in FoundDie die)
            {
                if (!HasName(in die, wanted))
                {
                    return false;
                }

                seen = true;
                return visit(in die);
            }

            return Search(exact, text, Visit, insideFunctions) || (!seen && tails.Count > 0 && Search(tails, text, Visit, insideFunctions));
        }
    }

    /// <summary>All DIEs of that name with one of those tags.</summary>
    public List<FoundDie> FindAll(string name, bool insideFunctions, params ushort[] tags)
    {
        var found = new List<FoundDie>();
        Find(
            name,
            (in FoundDie die) =>
            {
                if (Array.IndexOf(tags, die.Tag) >= 0)
                {
                    // The search goes on in the same unit object.
                    var unit = found.Count > 0 && found[^1].Unit.Header.Offset == die.Unit.Header.Offset ? found[^1].Unit : Reload(die.Unit);
                    found.Add(die with { Unit = unit });
                }

                return false;
            },
            insideFunctions);
        return found;
    }

    private Unit Reload(Unit unit)
    {
        var copy = new Unit(_sections, new UnitFinder(_sections, _units).Find) { ReadsTypeUnits = true };
        copy.Load(unit.Header.Offset);
        return copy;
    }

    private bool Search(List<int> strings, byte[] text, FoundDieVisitor visit, bool insideFunctions)
    {
        var patterns = new List<byte[]> { text };
        foreach (var offset in strings.Count <= FewStrings ? strings : [])
        {
            var pattern = new byte[4];
            BinaryPrimitives.WriteInt32LittleEndian(pattern, offset);
            patterns.Add(pattern);
        }

        // Found in order, so they are sorted.
        return new DieSearch(_sections, _units).Find(
            [.. patterns], insideFunctions, visit, UnitsWithNumbers(strings), strings.Count <= FewStrings ? null : [.. strings]);
    }

    /// <summary>Where the text stands in .debug_str: as a string of its own, and as the tail of a longer one.</summary>
    private void FindStrings(byte[] text, out List<int> exact, out List<int> tails)
    {
        (exact, tails) = ([], []);
        var strings = _sections.Str.Span;
        for (var at = 0; at < strings.Length;)
        {
            var found = strings[at..].IndexOf(text);
            if (found < 0)
            {
                break;
            }

            var offset = at + found;
            if (offset == 0 || strings[offset - 1] == 0)
            {
                exact.Add(offset);
            }
            else if (tails.Count < MaximumTails)
            {
                tails.Add(offset);
            }

            at = offset + 1;
        }
    }

    /// <summary>Tells the units whose part of .debug_str_offsets names one of the strings; null when there are none.</summary>
    private Func<int, bool>? UnitsWithNumbers(List<int> strings)
    {
        var section = _sections.StrOffsets;
        if (section.IsEmpty)
        {
            return null;
        }

        var places = new List<int>();
        var bytes = section.Span;
        for (var at = 0; at <= bytes.Length - 4; at += 4)
        {
            if (strings.BinarySearch(BinaryPrimitives.ReadInt32LittleEndian(bytes[at..])) >= 0)
            {
                places.Add(at);
            }
        }

        if (places.Count == 0)
        {
            return null;
        }

        // A place belongs to the unit whose table begins last before it.
        _stringTables ??= ReadStringTables();
        var tables = _stringTables;
        var units = new UnitSet();
        foreach (var place in places)
        {
            var at = Array.BinarySearch(tables, ((long)place << 32) | uint.MaxValue);
            for (at = at < 0 ? ~at - 1 : at; at >= 0; at--)
            {
                units.Add((int)tables[at]);
                // Units may share one table.
                if (at == 0 || tables[at - 1] >> 32 != tables[at] >> 32)
                {
                    break;
                }
            }
        }

        return units.Contains;
    }

    /// <summary>Start of a unit's string table (upper half) and the unit, sorted.</summary>
    private long[] ReadStringTables()
    {
        var tables = new List<long>();
        var unit = new Unit(_sections) { ReadsTypeUnits = true };
        foreach (var offset in _units.UnitOffsets)
        {
            try
            {
                unit.Load(offset);
                if (unit.Header.Version >= 5 && unit.StrOffsetsBase <= int.MaxValue)
                {
                    tables.Add(((long)unit.StrOffsetsBase << 32) | (uint)offset);
                }
            }
            catch (MalformedFileException)
            {
                // Costs this unit.
            }
        }

        tables.Sort();
        return [.. tables];
    }

    private unsafe bool HasName(in FoundDie die, ReadOnlySpan<byte> name)
    {
        fixed (byte* bytes = _sections.Info.Span)
        {
            var reader = new DieReader(die.Unit, bytes, die.Entry);
            if (!reader.ReadEntry())
            {
                return false;
            }

            for (var i = 0; i < reader.AttributeCount; i++)
            {
                ref readonly var attribute = ref reader.Attribute(i);
                if (attribute.Name is DwAt.Name or DwAt.LinkageName or DwAt.MipsLinkageName)
                {
                    if (_sections.Bytes(reader.ReadString(in attribute)).SequenceEqual(name))
                    {
                        return true;
                    }
                }
                else
                {
                    reader.Skip(in attribute);
                }
            }
        }

        return false;
    }
}
