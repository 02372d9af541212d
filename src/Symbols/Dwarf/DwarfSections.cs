namespace KTrace.Symbols.Dwarf;

/// <summary>The debug sections of one object, each fetched (mapped, inflated, relocated) when first touched.</summary>
internal sealed class DwarfSections
{
    private readonly ISectionSource _source;
    private SectionData? _info, _abbrev, _line, _str, _lineStr, _strOffsets, _addr, _aranges, _ranges, _rnglists, _loc, _loclists, _symbolNames;

    public DwarfSections(ISectionSource source)
    {
        _source = source;
        AddressSize = source.AddressSize;
    }

    public string Path => _source.Path;

    /// <summary>Size of an address in bytes, as the ELF class says.</summary>
    public int AddressSize { get; }

    public SectionData Info => _info ??= _source.GetSection(".debug_info");

    public SectionData Abbrev => _abbrev ??= _source.GetSection(".debug_abbrev");

    public SectionData Line => _line ??= _source.GetSection(".debug_line");

    public SectionData Str => _str ??= _source.GetSection(".debug_str");

    public SectionData LineStr => _lineStr ??= _source.GetSection(".debug_line_str");

    public SectionData StrOffsets => _strOffsets ??= _source.GetSection(".debug_str_offsets");

    public SectionData Addr => _addr ??= _source.GetSection(".debug_addr");

    public SectionData Aranges => _aranges ??= _source.GetSection(".debug_aranges");

    public SectionData Ranges => _ranges ??= _source.GetSection(".debug_ranges");

    public SectionData Rnglists => _rnglists ??= _source.GetSection(".debug_rnglists");

    /// <summary>Location lists of DWARF 2 to 4.</summary>
    public SectionData Loc => _loc ??= _source.GetSection(".debug_loc");

    public SectionData Loclists => _loclists ??= _source.GetSection(".debug_loclists");

    public SectionData SymbolNames => _symbolNames ??= _source.GetSection(".strtab");

    /// <summary>The string's bytes without the NUL; empty for "none". Throws <see cref="MalformedFileException"/> for an offset outside.</summary>
    public ReadOnlySpan<byte> Bytes(StringReference reference)
    {
        if (SectionOf(reference) is not { } section)
        {
            return default;
        }

        if ((uint)reference.Offset >= (uint)section.Length)
        {
            throw section.Malformed(reference.Offset, $"a string outside the section (size 0x{section.Length:x})");
        }

        var rest = section.Span[reference.Offset..];
        var end = rest.IndexOf((byte)0);
        if (end < 0)
        {
            throw section.Malformed(reference.Offset, "a string without its terminating NUL");
        }

        return rest[..end];
    }

    /// <summary>
    /// The same reference, of which <see cref="Bytes"/> will not throw. Where names are resolved damage is expected; where they are written down, not.
    /// </summary>
    public StringReference Checked(StringReference reference)
    {
        if (SectionOf(reference) is { } section
            && ((uint)reference.Offset >= (uint)section.Length || section.Span[section.Length - 1] != 0))
        {
            Bytes(reference);
        }

        return reference;
    }

    /// <summary>The string as UTF-8 with bad bytes replaced; "" for "none".</summary>
    public string Text(StringReference reference) => System.Text.Encoding.UTF8.GetString(Bytes(reference));

    private SectionData? SectionOf(StringReference reference) => reference.Section switch
    {
        StringSection.None => null,
        StringSection.Info => Info,
        StringSection.Str => Str,
        StringSection.LineStr => LineStr,
        StringSection.Line => Line,
        _ => SymbolNames,
    };
}
