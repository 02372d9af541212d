// Variables with a fixed address: DWARF 5, section 4.1. Only binutils' addr2line asks for them (the address of a symbol in a data section gets the
// line of its declaration), so all units are read the first time and never on another path.
using System.Buffers.Binary;

namespace KTrace.Symbols.Dwarf;

/// <summary>Address of a variable → its name and declaration.</summary>
internal sealed class VariableIndex
{
    private const int ReleaseEvery = 8 << 20;

    private readonly DwarfSections _sections;
    private readonly UnitIndex _units;
    private readonly GrowingArray<Variable> _variables = new(4096);
    private readonly ulong[] _addresses;
    private readonly int[] _order;

    private struct Variable
    {
        public ulong Address;
        public int Unit;
        public int Entry;
    }

    public VariableIndex(DwarfSections sections, UnitIndex units)
    {
        _sections = sections;
        _units = units;
        var unit = new Unit(sections);
        var released = 0;
        foreach (var offset in units.UnitOffsets)
        {
            try
            {
                unit.Load(offset);
                Walk(unit);
            }
            catch (MalformedFileException)
            {
                // Costs this unit's variables.
            }

            if (offset - released > ReleaseEvery)
            {
                sections.Info.Release(released, offset - released);
                released = offset;
            }
        }

        _addresses = new ulong[_variables.Count];
        _order = new int[_variables.Count];
        for (var i = 0; i < _order.Length; i++)
        {
            // The last one that a unit defines at an address comes first.
            _order[i] = _order.Length - 1 - i;
            _addresses[i] = _variables[_order[i]].Address;
        }

        AddressSort.Sort(_addresses, _order, _order.Length);
    }

    /// <summary>The declaration of a variable at exactly that address whose name is part of the symbol's name (a static local is <c>name.123</c> there).</summary>
    public bool TryFind(ulong address, string symbolName, out string path, out int line, out int unitOffset)
    {
        (path, line, unitOffset) = ("", 0, -1);
        var at = Array.BinarySearch(_addresses, address);
        while (at > 0 && _addresses[at - 1] == address)
        {
            at--;
        }

        for (; at >= 0 && at < _addresses.Length && _addresses[at] == address; at++)
        {
            ref var variable = ref _variables[_order[at]];
            try
            {
                var unit = new Unit(_sections, new UnitFinder(_sections, _units).Find);
                unit.Load(variable.Unit);
                var declaration = new Declaration { File = -1 };
                Describe(unit, variable.Entry, ref declaration, 0);
                if (declaration.File >= 0 && !declaration.Name.IsNone
                    && symbolName.Contains(_sections.Text(declaration.Name), StringComparison.Ordinal))
                {
                    var header = new LineProgramHeader();
                    header.Load(unit);
                    (path, line, unitOffset) = (header.Path(declaration.File, shortForm: false), declaration.Line, variable.Unit);
                    return true;
                }
            }
            catch (MalformedFileException)
            {
                // As above.
            }
        }

        return false;
    }

    private struct Declaration
    {
        public StringReference Name;
        public int File;
        public int Line;
    }

    private static unsafe void Describe(Unit unit, long entry, ref Declaration into, int depth)
    {
        if (depth > 8 || unit.Holding(entry) is not { } holder)
        {
            return;
        }

        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(holder, bytes, (int)entry);
            if (!reader.ReadEntry())
            {
                return;
            }

            for (var i = 0; i < reader.AttributeCount; i++)
            {
                ref readonly var attribute = ref reader.Attribute(i);
                switch (attribute.Name)
                {
                    case DwAt.Specification:
                        Describe(holder, reader.ReadReference(in attribute), ref into, depth + 1);
                        break;
                    case DwAt.Name:
                        into.Name = reader.ReadString(in attribute);
                        break;
                    case DwAt.DeclFile:
                        into.File = (int)Math.Min(reader.ReadNumber(in attribute), int.MaxValue);
                        break;
                    case DwAt.DeclLine:
                        into.Line = (int)Math.Min(reader.ReadNumber(in attribute), int.MaxValue);
                        break;
                    default:
                        reader.Skip(in attribute);
                        break;
                }
            }
        }
    }

    private unsafe void Walk(Unit unit)
    {
        if (!unit.HasChildren)
        {
            return;
        }

        fixed (byte* bytes = _sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, unit.FirstChild);
            for (var depth = 1; depth > 0 && !reader.AtEnd;)
            {
                if (!reader.ReadEntry())
                {
                    depth--;
                    continue;
                }

                var hasChildren = reader.Entry.HasChildren;
                if (reader.Entry.Tag == DwTag.Variable)
                {
                    ReadVariable(unit, ref reader);
                }
                else if (hasChildren && reader.Entry.Tag is DwTag.Subprogram or DwTag.LexicalBlock or DwTag.InlinedSubroutine or DwTag.Namespace)
                {
                    reader.SkipAttributes();
                }
                else
                {
                    reader.SkipTree();
                    continue;
                }

                depth += hasChildren ? 1 : 0;
            }
        }
    }

    private void ReadVariable(Unit unit, ref DieReader reader)
    {
        var entry = reader.EntryOffset;
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            ref readonly var attribute = ref reader.Attribute(i);
            if (attribute.Name != DwAt.Location || !AttributeForm.IsBlock(attribute.Form))
            {
                reader.Skip(in attribute);
                continue;
            }

            var location = reader.ReadBlock(in attribute);
            if (location.Length == 1 + unit.Header.AddressSize && location[0] == DwOp.Addr)
            {
                var address = location.Length == 9
                    ? BinaryPrimitives.ReadUInt64LittleEndian(location[1..])
                    : BinaryPrimitives.ReadUInt32LittleEndian(location[1..]);
                _variables.Add(new Variable { Address = address, Unit = unit.Header.Offset, Entry = entry });
            }
        }
    }
}
