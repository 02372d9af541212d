// A compilation unit: DWARF 5, section 3.1. GCC gives a unit that has code in several sections DW_AT_ranges and a DW_AT_low_pc of 0 as the
// base of its range lists; GAS gives each assembly file a unit with names only for symbols of type function.
using System.Buffers.Binary;

namespace KTrace.Symbols.Dwarf;

/// <summary>A unit's header, its root DIE's attributes and its abbreviations. One object may be filled with one unit after another.</summary>
internal sealed class Unit
{
    // GCC nests origins two deep (inlined call → concrete → abstract); more than this is a cycle.
    private const int MaximumOrigins = 32;

    private readonly Func<int, Unit?>? _findUnit;
    private ulong _strOffsetsBase, _addrBase, _rnglistsBase, _loclistsBase;
    private long _rangeBudget;

    /// <param name="sections">The object's sections.</param>
    /// <param name="findUnit">Gives the unit that holds a .debug_info offset, for references into other units (LTO, dwz); null where there are none.</param>
    public Unit(DwarfSections sections, Func<int, Unit?>? findUnit = null)
    {
        Sections = sections;
        _findUnit = findUnit;
    }

    public DwarfSections Sections { get; }

    public UnitHeader Header { get; private set; }

    public AbbreviationTable Abbreviations { get; } = new();

    /// <summary>Type units are read too. Who looks for code has no use for them.</summary>
    public bool ReadsTypeUnits { get; init; }

    /// <summary>DW_TAG_compile_unit or DW_TAG_partial_unit.</summary>
    public ushort Tag { get; private set; }

    public StringReference Name { get; private set; }

    public StringReference CompDir { get; private set; }

    /// <summary>DW_AT_stmt_list, or -1.</summary>
    public int LineOffset { get; private set; }

    /// <summary>DW_AT_low_pc: the base of the unit's range lists.</summary>
    public ulong LowPc { get; private set; }

    /// <summary>DW_LANG_*.</summary>
    public int Language { get; private set; }

    /// <summary>Where the root DIE's first child starts.</summary>
    public int FirstChild { get; private set; }

    public bool HasChildren { get; private set; }

    /// <summary>DW_AT_str_offsets_base: where the unit's table in .debug_str_offsets begins.</summary>
    public ulong StrOffsetsBase => _strOffsetsBase;

    public MalformedFileException Malformed(long offset, string what) => Sections.Info.Malformed(offset, what);

    /// <summary>Reads the unit whose header is at <paramref name="offset"/>.</summary>
    public void Load(int offset) => Load(offset, null);

    /// <summary>The same, and adds the addresses that the root DIE claims to <paramref name="ranges"/>.</summary>
    public unsafe void Load(int offset, GrowingArray<AddressRange>? ranges)
    {
        Header = UnitHeader.Read(Sections.Info, offset);
        Name = CompDir = default;
        LineOffset = -1;
        LowPc = 0;
        Language = 0;
        Tag = 0;
        HasChildren = false;
        FirstChild = Header.FirstEntry;
        // A list costs at least a byte an entry, and producers do not share lists: more than this many entries is an attack on our time.
        _rangeBudget = Sections.Rnglists.Length + (Sections.Ranges.Length / 4) + 4096L;
        var offsetSize = Header.OffsetSize;
        // Without a base attribute the section is one table behind its header (DWARF 5, sections 7.26 to 7.28).
        _strOffsetsBase = offsetSize == 4 ? 8u : 16u;
        _addrBase = _strOffsetsBase;
        _rnglistsBase = offsetSize == 4 ? 12u : 20u;
        _loclistsBase = _rnglistsBase;
        if ((Header.IsTypeUnit && !ReadsTypeUnits) || Header.FirstEntry >= Header.End)
        {
            return;
        }

        Abbreviations.Load(Sections.Abbrev, Header.AbbreviationOffset, Header.AddressSize, offsetSize, Header.Version);
        fixed (byte* bytes = Sections.Info.Span)
        {
            // Bases may stand behind the attributes that need them, so they are read first.
            var reader = new DieReader(this, bytes, Header.FirstEntry);
            if (!reader.ReadEntry())
            {
                return;
            }

            Tag = reader.Entry.Tag;
            HasChildren = reader.Entry.HasChildren;
            ReadBases(ref reader);
            FirstChild = reader.Position;
            reader = new DieReader(this, bytes, Header.FirstEntry);
            reader.ReadEntry();
            ReadRoot(ref reader, ranges);
        }
    }

    /// <summary>Adds the list that a DW_AT_ranges names. Bounded over the unit's life: see <see cref="Load(int)"/>.</summary>
    public void ReadRanges(ref DieReader reader, in AttributeSpecification attribute, GrowingArray<AddressRange> into)
    {
        var value = reader.ReadNumber(in attribute);
        var before = into.Count;
        if (Header.Version >= 5)
        {
            var isIndex = attribute.Form == DwForm.Rnglistx;
            RangeLists.Read(this, isIndex ? RangeLists.OffsetAt(this, _rnglistsBase, value) : value, _rangeBudget, into);
        }
        else
        {
            RangeLists.ReadBeforeVersion5(this, value, _rangeBudget, into);
        }

        _rangeBudget -= into.Count - before;
    }

    /// <summary>DW_AT_loclists_base: where the offsets that DW_FORM_loclistx counts stand in .debug_loclists.</summary>
    public ulong LoclistsBase => _loclistsBase;

    /// <summary>Entry <paramref name="index"/> of the unit's table in .debug_addr (DWARF 5, section 7.27).</summary>
    public ulong AddressAt(ulong index)
    {
        var section = Sections.Addr;
        var size = Header.AddressSize;
        if (index > int.MaxValue || _addrBase > int.MaxValue || _addrBase + ((index + 1) * size) > (ulong)section.Length)
        {
            throw section.Malformed((long)Math.Min(_addrBase, int.MaxValue), $"address index {index}, outside the section (size 0x{section.Length:x})");
        }

        var at = section.Span[(int)(_addrBase + (index * size))..];
        return size == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(at) : BinaryPrimitives.ReadUInt32LittleEndian(at);
    }

    /// <summary>Entry <paramref name="index"/> of the unit's table in .debug_str_offsets (DWARF 5, section 7.26).</summary>
    public StringReference StringAt(ulong index)
    {
        var section = Sections.StrOffsets;
        var size = Header.OffsetSize;
        if (index > int.MaxValue || _strOffsetsBase > int.MaxValue || _strOffsetsBase + ((index + 1) * size) > (ulong)section.Length)
        {
            throw section.Malformed((long)Math.Min(_strOffsetsBase, int.MaxValue), $"string index {index}, outside the section (size 0x{section.Length:x})");
        }

        var at = section.Span[(int)(_strOffsetsBase + (index * size))..];
        var offset = size == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(at) : BinaryPrimitives.ReadUInt32LittleEndian(at);
        return offset > int.MaxValue ? default : new StringReference(StringSection.Str, (int)offset);
    }

    /// <summary>
    /// A function's name: of the DIE itself, or of what its DW_AT_abstract_origin or DW_AT_specification leads to. The linkage name wins, as the
    /// symbol table has that one (C has none). "None" when there is no name, or the chain is a cycle, or leaves the file.
    /// </summary>
    public StringReference FunctionName(long entry) => FunctionName(entry, 0);

    /// <summary>The unit that holds a .debug_info offset: this one, mostly.</summary>
    public Unit? Holding(long offset)
    {
        if (offset >= Header.FirstEntry && offset < Header.End)
        {
            return this;
        }

        return offset is < 0 or > int.MaxValue ? null : _findUnit?.Invoke((int)offset);
    }

    private unsafe StringReference FunctionName(long entry, int depth)
    {
        if (depth > MaximumOrigins || Holding(entry) is not { } unit)
        {
            return default;
        }

        if (unit != this)
        {
            return unit.FunctionName(entry, depth);
        }

        StringReference name = default;
        long origin = -1;
        fixed (byte* bytes = Sections.Info.Span)
        {
            var reader = new DieReader(this, bytes, (int)entry);
            if (!reader.ReadEntry())
            {
                return default;
            }

            for (var i = 0; i < reader.AttributeCount; i++)
            {
                ref readonly var attribute = ref reader.Attribute(i);
                switch (attribute.Name)
                {
                    case DwAt.Name:
                        name = reader.ReadString(in attribute);
                        if (Languages.NamesAreLinkageNames(Language))
                        {
                            return name;
                        }

                        break;
                    case DwAt.LinkageName or DwAt.MipsLinkageName:
                        return reader.ReadString(in attribute);
                    case DwAt.AbstractOrigin or DwAt.Specification:
                        origin = reader.ReadReference(in attribute);
                        break;
                    default:
                        reader.Skip(in attribute);
                        break;
                }
            }
        }

        if (origin >= 0 && FunctionName(origin, depth + 1) is { IsNone: false } original)
        {
            return original;
        }

        return name;
    }

    private void ReadBases(ref DieReader reader)
    {
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            ref readonly var attribute = ref reader.Attribute(i);
            switch (attribute.Name)
            {
                case DwAt.StrOffsetsBase:
                    _strOffsetsBase = reader.ReadNumber(in attribute);
                    break;
                case DwAt.AddrBase or DwAt.GnuAddrBase:
                    _addrBase = reader.ReadNumber(in attribute);
                    break;
                case DwAt.RnglistsBase:
                    _rnglistsBase = reader.ReadNumber(in attribute);
                    break;
                case DwAt.LoclistsBase:
                    _loclistsBase = reader.ReadNumber(in attribute);
                    break;
                default:
                    reader.Skip(in attribute);
                    break;
            }
        }
    }

    private void ReadRoot(ref DieReader reader, GrowingArray<AddressRange>? ranges)
    {
        ulong? high = null;
        var highIsAddress = false;
        AttributeSpecification rangesAttribute = default;
        var rangesPosition = -1;
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            ref readonly var attribute = ref reader.Attribute(i);
            switch (attribute.Name)
            {
                case DwAt.Name:
                    Name = reader.ReadString(in attribute);
                    break;
                case DwAt.CompDir:
                    CompDir = reader.ReadString(in attribute);
                    break;
                case DwAt.StmtList:
                    var line = reader.ReadNumber(in attribute);
                    LineOffset = line > int.MaxValue ? int.MaxValue : (int)line;
                    break;
                case DwAt.LowPc:
                    LowPc = reader.ReadNumber(in attribute);
                    break;
                case DwAt.HighPc:
                    highIsAddress = AttributeForm.IsAddress(attribute.Form);
                    high = reader.ReadNumber(in attribute);
                    break;
                case DwAt.Language:
                    Language = (int)reader.ReadNumber(in attribute);
                    break;
                case DwAt.Ranges when ranges is not null:
                    // The lists' base is DW_AT_low_pc, which may follow.
                    rangesAttribute = attribute;
                    rangesPosition = reader.Position;
                    reader.Skip(in attribute);
                    break;
                default:
                    reader.Skip(in attribute);
                    break;
            }
        }

        if (ranges is null)
        {
            return;
        }

        if (rangesPosition >= 0)
        {
            reader.Position = rangesPosition;
            ReadRanges(ref reader, in rangesAttribute, ranges);
        }

        if (high is { } end)
        {
            end = highIsAddress ? end : LowPc + end;
            if (end > LowPc)
            {
                ranges.Add(new AddressRange(LowPc, end));
            }
        }
    }
}
