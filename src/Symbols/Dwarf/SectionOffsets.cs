// An offset into one section is not an offset into another, and none of them is an address: each has a type of its own.
namespace KTrace.Symbols.Dwarf;

/// <summary>Bytes from the start of .debug_info.</summary>
public readonly record struct DebugInfoOffset(int Value)
{
    public override string ToString() => $".debug_info+0x{Value:x}";
}

/// <summary>Bytes from the start of .debug_abbrev.</summary>
public readonly record struct DebugAbbrevOffset(int Value)
{
    public override string ToString() => $".debug_abbrev+0x{Value:x}";
}

/// <summary>Bytes from the start of .debug_line.</summary>
public readonly record struct DebugLineOffset(int Value)
{
    public override string ToString() => $".debug_line+0x{Value:x}";
}

/// <summary>Where a string of the debug information stands.</summary>
internal enum StringSection : byte
{
    /// <summary>There is no string, or it is in a supplementary file (DW_FORM_GNU_strp_alt), which KTrace does not open.</summary>
    None,

    /// <summary>.debug_info itself (DW_FORM_string).</summary>
    Info,

    /// <summary>.debug_str.</summary>
    Str,

    /// <summary>.debug_line_str.</summary>
    LineStr,

    /// <summary>.debug_line (file tables before DWARF 5).</summary>
    Line,

    /// <summary>.strtab, for names that come from a symbol.</summary>
    SymbolNames,
}

/// <summary>A NUL-terminated string where it stands; nothing is decoded until somebody wants to see it.</summary>
internal readonly record struct StringReference(StringSection Section, int Offset)
{
    public bool IsNone => Section == StringSection.None;
}

/// <summary>Addresses [Low, High).</summary>
internal readonly record struct AddressRange(ulong Low, ulong High)
{
    public bool Contains(ulong address) => address >= Low && address < High;
}
