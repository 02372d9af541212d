// Where a function was inlined: DWARF 5, section 3.3.8. Each unit that saw the definition has an abstract instance (DW_AT_inline) of its own: a static inline
// function of a header has a thousand. Each call that was replaced is a DW_TAG_inlined_subroutine with DW_AT_abstract_origin, nested in the function that it
// was inlined into. Its entry is DW_AT_entry_pc where the producer tells it (GCC and clang do), else where its first range begins in the order
// of the list, which is the order of the layout.
using System.Text;
using KTrace.Symbols.Dwarf;

namespace KTrace.Symbols.Lookup;

/// <summary>One call that was replaced by the function's body.</summary>
/// <param name="Address">Where the body is entered.</param>
/// <param name="Declaration">Where the function is written, or null.</param>
/// <param name="CompiledFile">The file whose unit it is in (<c>kernel/irq/chip.c</c>), or null.</param>
internal sealed record InlineInstance(ulong Address, SourceLine? Declaration, string? CompiledFile);

/// <summary>All inline instances of functions of one name, in all units.</summary>
internal sealed class InlineInstances
{
    private readonly Symbolizer _symbolizer;
    private readonly DwarfSections _sections;
    private readonly byte[] _name;
    private readonly Unit _unit;
    private readonly List<InlineInstance> _found = [];
    private readonly Dictionary<long, SourceLine?> _abstract = [];
    private readonly GrowingArray<AddressRange> _ranges = new(16);
    private readonly int _limit;

    private InlineInstances(Symbolizer symbolizer, string name, int limit)
    {
        _symbolizer = symbolizer;
        _sections = symbolizer.Sections;
        _name = Encoding.UTF8.GetBytes(name);
        _unit = new Unit(_sections, new UnitFinder(_sections, symbolizer.Units).Find);
        _limit = limit;
    }

    /// <summary>In the order of the units; none when the name is unknown. Reading stops behind <paramref name="limit"/> instances.</summary>
    public static IReadOnlyList<InlineInstance> Find(Symbolizer symbolizer, string name, int limit)
    {
        var search = new InlineInstances(symbolizer, name, limit);
        var units = NameUnits.Holding(symbolizer.Sections, symbolizer.Units, search._name);
        foreach (var offset in units)
        {
            search.InUnit(offset, search.ReadAbstract);
        }

        if (search._abstract.Count == 0)
        {
            return [];
        }

        // With link-time optimisation a call may be in another unit than the function.
        foreach (var offset in search.UnitsThatRefer(units))
        {
            search.InUnit(offset, search.ReadInlined);
            if (search._found.Count > limit)
            {
                break;
            }
        }

        return search._found;
    }

    private void InUnit(int offset, Action read)
    {
        try
        {
            _unit.Load(offset);
            if (_unit.HasChildren)
            {
                read();
            }
        }
        catch (MalformedFileException)
        {
            // Damage costs this unit's instances.
        }

        _sections.Info.Release(_unit.Header.Offset, _unit.Header.End - _unit.Header.Offset);
    }

    private IEnumerable<int> UnitsThatRefer(IReadOnlyList<int> own)
    {
        const int maximumSearches = 8;
        if (_abstract.Count > maximumSearches)
        {
            return own;
        }

        var units = new SortedSet<int>(own);
        foreach (var entry in _abstract.Keys)
        {
            NameUnits.AddReferring(_sections, _symbolizer.Units, BitConverter.GetBytes((uint)entry), units);
        }

        return units;
    }

    private unsafe void ReadAbstract()
    {
        fixed (byte* bytes = _sections.Info.Span)
        {
            var reader = new DieReader(_unit, bytes, _unit.FirstChild);
            var depth = 1;
            while (depth > 0 && !reader.AtEnd)
            {
                if (!reader.ReadEntry())
                {
                    depth--;
                }
                else if (reader.Entry.Tag == DwTag.Subprogram)
                {
                    ReadAbstract(ref reader);
                }
                else if (reader.Entry.HasChildren && reader.Entry.Tag is DwTag.Namespace or DwTag.Module or DwTag.StructureType)
                {
                    reader.SkipAttributes();
                    depth++;
                }
                else
                {
                    reader.SkipTree();
                }
            }
        }
    }

    private void ReadAbstract(ref DieReader reader)
    {
        var entry = reader.EntryOffset;
        var hasChildren = reader.Entry.HasChildren;
        var (isInline, isNamed) = (false, false);
        var (file, line) = (-1, 0);
        long sibling = -1;
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            ref readonly var attribute = ref reader.Attribute(i);
            switch (attribute.Name)
            {
                case DwAt.Name or DwAt.LinkageName:
                    isNamed |= _sections.Bytes(reader.ReadString(in attribute)).SequenceEqual(_name);
                    break;
                case DwAt.Inline:
                    // 1 and 3 say that it was inlined (DW_INL_inlined, DW_INL_declared_inlined).
                    isInline = (reader.ReadNumber(in attribute) & 1) != 0;
                    break;
                case DwAt.DeclFile when AttributeForm.IsConstant(attribute.Form):
                    file = (int)Math.Min(reader.ReadNumber(in attribute), int.MaxValue);
                    break;
                case DwAt.DeclLine when AttributeForm.IsConstant(attribute.Form):
                    line = (int)Math.Min(reader.ReadNumber(in attribute), int.MaxValue);
                    break;
                case DwAt.Sibling:
                    sibling = reader.ReadReference(in attribute);
                    break;
                default:
                    reader.Skip(in attribute);
                    break;
            }
        }

        if (isInline && isNamed)
        {
            _abstract[entry] = DeclarationOf(file, line);
        }

        if (hasChildren && sibling >= 0)
        {
            reader.EntryOffset = entry;
            reader.JumpTo(sibling);
        }
        else if (hasChildren)
        {
            reader.SkipChildren();
        }
    }

    private SourceLine? DeclarationOf(int file, int line)
    {
        if (file < 0 || _unit.LineOffset < 0)
        {
            return null;
        }

        try
        {
            var header = new LineProgramHeader();
            header.Load(_unit);
            return new SourceLine(header.Path(file, shortForm: true), line);
        }
        catch (MalformedFileException)
        {
            return null;
        }
    }

    private unsafe void ReadInlined()
    {
        var compiled = _unit.Name.IsNone ? null : _sections.Text(_unit.Name);
        fixed (byte* bytes = _sections.Info.Span)
        {
            var reader = new DieReader(_unit, bytes, _unit.FirstChild);
            var depth = 1;
            while (depth > 0 && !reader.AtEnd && _found.Count <= _limit)
            {
                if (!reader.ReadEntry())
                {
                    depth--;
                    continue;
                }

                ref readonly var entry = ref reader.Entry;
                if (entry.Tag == DwTag.InlinedSubroutine)
                {
                    depth += entry.HasChildren ? 1 : 0;
                    ReadInlined(ref reader, compiled);
                }
                else if (entry.HasChildren && (entry.Tag is DwTag.LexicalBlock or DwTag.Namespace or DwTag.Module || (entry.Tag == DwTag.Subprogram && entry.HasCode)))
                {
                    reader.SkipAttributes();
                    depth++;
                }
                else
                {
                    reader.SkipTree();
                }
            }
        }
    }

    private void ReadInlined(ref DieReader reader, string? compiled)
    {
        long origin = -1;
        ulong? low = null, entryPc = null, entryOffset = null;
        _ranges.Clear();
        var isOurs = false;
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            ref readonly var attribute = ref reader.Attribute(i);
            switch (attribute.Name)
            {
                case DwAt.AbstractOrigin:
                    origin = reader.ReadReference(in attribute);
                    isOurs = _abstract.ContainsKey(origin);
                    break;
                case DwAt.LowPc:
                    low = reader.ReadNumber(in attribute);
                    break;
                case DwAt.EntryPc when AttributeForm.IsAddress(attribute.Form):
                    entryPc = reader.ReadNumber(in attribute);
                    break;
                case DwAt.EntryPc when AttributeForm.IsConstant(attribute.Form):
                    // Section 2.18: counted from the start of the entry's own code.
                    entryOffset = reader.ReadNumber(in attribute);
                    break;
                case DwAt.Ranges when isOurs || origin < 0:
                    _unit.ReadRanges(ref reader, in attribute, _ranges);
                    break;
                default:
                    reader.Skip(in attribute);
                    break;
            }
        }

        if (!isOurs)
        {
            return;
        }

        var start = low ?? (_ranges.Count > 0 ? _ranges[0].Low : null);
        var address = entryPc ?? (entryOffset is { } offset && start is { } from ? from + offset : start);
        if (address is { } found && _symbolizer.IsCode(found))
        {
            _found.Add(new InlineInstance(found, _abstract[origin], compiled));
        }
    }
}
