// Where a function was inlined: DWARF 5, section 3.3.8. Each unit that saw the definition has an abstract instance (DW_AT_inline) of its own: a static inline
// function of a header has a thousand. Each call that was replaced is a DW_TAG_inlined_subroutine with DW_AT_abstract_origin, nested in the function that it
// was inlined into. Its entry is DW_AT_entry_pc where the producer tells it (GCC does): the instructions of its ranges before that were moved up and
// run whether or not the call is made. GCC may put it an instruction or two before the ranges, at the caller's last one; then the first of the body counts.
// Without it, the entry is where the first range begins in the order of the list, which is the order of the layout (gdb 13 always takes that).
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
    // Cross-unit references are looked for by their bytes, a pattern each.
    private const int MaximumPatterns = 64;

    // A few instructions of at most 15 bytes.
    private const ulong MaximumGap = 48;

    private readonly Symbolizer _symbolizer;
    private readonly DwarfSections _sections;
    private readonly List<InlineInstance> _found = [];
    private readonly Dictionary<long, SourceLine?> _abstract = [];
    private readonly GrowingArray<AddressRange> _ranges = new(16);
    private readonly int _limit;
    private Unit _unit;

    private InlineInstances(Symbolizer symbolizer, int limit)
    {
        _symbolizer = symbolizer;
        _sections = symbolizer.Sections;
        _unit = new Unit(_sections, new UnitFinder(_sections, symbolizer.Units).Find);
        _limit = limit;
    }

    /// <summary>In the order of the units; none when the name is unknown. Reading stops behind <paramref name="limit"/> instances.</summary>
    public static IReadOnlyList<InlineInstance> Find(Symbolizer symbolizer, string name, int limit)
    {
        var search = new InlineInstances(symbolizer, limit);
        var units = new SortedSet<int>();
        symbolizer.Names.Find(name, (in FoundDie die) =>
        {
            if (die.Tag == DwTag.Subprogram && search.ReadAbstract(in die))
            {
                units.Add(die.Unit.Header.Offset);
            }

            return false;
        });
        if (units.Count > 0)
        {
            search.ReadInlinedIn(units);
            search.ReadInlinedElsewhere(units);
        }

        return search._found;
    }

    private void ReadInlinedIn(SortedSet<int> units)
    {
        foreach (var offset in units)
        {
            try
            {
                _unit.Load(offset);
                if (_unit.HasChildren)
                {
                    ReadInlined();
                }
            }
            catch (MalformedFileException)
            {
                // Damage costs this unit's instances.
            }

            _sections.Info.Release(_unit.Header.Offset, _unit.Header.End - _unit.Header.Offset);
            if (_found.Count > _limit)
            {
                return;
            }
        }
    }

    /// <summary>With link-time optimisation a call may be in another unit than the function; then origins are section offsets (DW_FORM_ref_addr).</summary>
    private void ReadInlinedElsewhere(SortedSet<int> own)
    {
        ReadOnlySpan<byte> crossUnitOrigin = [(byte)DwAt.AbstractOrigin, (byte)DwForm.RefAddr];
        if (_abstract.Count > MaximumPatterns || _sections.Abbrev.Span.IndexOf(crossUnitOrigin) < 0)
        {
            return;
        }

        new DieSearch(_sections, _symbolizer.Units).Find([.. _abstract.Keys.Select(entry => BitConverter.GetBytes((uint)entry))], insideFunctions: true, (in FoundDie die) =>
        {
            if (die.Tag == DwTag.InlinedSubroutine && !own.Contains(die.Unit.Header.Offset))
            {
                _unit = die.Unit;
                ReadInlinedAt(die.Entry);
            }

            return _found.Count > _limit;
        });
    }

    private unsafe bool ReadAbstract(in FoundDie die)
    {
        fixed (byte* bytes = _sections.Info.Span)
        {
            var reader = new DieReader(die.Unit, bytes, die.Entry);
            if (!reader.ReadEntry())
            {
                return false;
            }

            var isInline = false;
            var (file, line) = (-1, 0);
            for (var i = 0; i < reader.AttributeCount; i++)
            {
                ref readonly var attribute = ref reader.Attribute(i);
                switch (attribute.Name)
                {
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
                    default:
                        reader.Skip(in attribute);
                        break;
                }
            }

            if (isInline)
            {
                _abstract[die.Entry] = DeclarationOf(die.Unit, file, line);
            }

            return isInline;
        }
    }

    private static SourceLine? DeclarationOf(Unit unit, int file, int line)
    {
        if (file < 0 || unit.LineOffset < 0)
        {
            return null;
        }

        try
        {
            var header = new LineProgramHeader();
            header.Load(unit);
            return new SourceLine(header.Path(file, shortForm: true), line);
        }
        catch (MalformedFileException)
        {
            return null;
        }
    }

    private unsafe void ReadInlinedAt(int entry)
    {
        fixed (byte* bytes = _sections.Info.Span)
        {
            var reader = new DieReader(_unit, bytes, entry);
            if (reader.ReadEntry())
            {
                ReadInlined(ref reader, _unit.Name.IsNone ? null : _sections.Text(_unit.Name));
            }
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
        ulong? low = null, high = null, entryPc = null, entryOffset = null;
        var highIsAddress = false;
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
                case DwAt.HighPc:
                    highIsAddress = AttributeForm.IsAddress(attribute.Form);
                    high = reader.ReadNumber(in attribute);
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

        if (high is { } end && low is { } begin)
        {
            end = highIsAddress ? end : begin + end;
            if (end > begin)
            {
                _ranges.Add(new AddressRange(begin, end));
            }
        }

        var start = low ?? (_ranges.Count > 0 ? _ranges[0].Low : null);
        var address = EntryIn(entryPc ?? (entryOffset is { } offset && start is { } from ? from + offset : null)) ?? start;
        if (address is { } found && _symbolizer.IsCode(found))
        {
            _found.Add(new InlineInstance(found, _abstract[origin], compiled));
        }
    }

    /// <summary>The entry, or where the body goes on behind it; null when nothing of the body is there.</summary>
    private ulong? EntryIn(ulong? entry)
    {
        ulong? next = null;
        for (var i = 0; i < _ranges.Count && entry is { } at; i++)
        {
            if (_ranges[i].Contains(at))
            {
                return at;
            }

            if (_ranges[i].Low > at && _ranges[i].Low - at <= MaximumGap && (next is null || _ranges[i].Low < next))
            {
                next = _ranges[i].Low;
            }
        }

        return next;
    }
}
