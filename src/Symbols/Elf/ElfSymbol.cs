namespace KTrace.Symbols.Elf;

/// <summary>One entry of .symtab.</summary>
/// <param name="Value">st_value: an address in linked files, an offset into the section in relocatable ones.</param>
/// <param name="Size">st_size in bytes; 0 for most assembly labels.</param>
/// <param name="SectionIndex">st_shndx, with SHN_XINDEX resolved.</param>
/// <param name="Type">ELF32_ST_TYPE: 0 NOTYPE, 1 OBJECT, 2 FUNC, 3 SECTION, 4 FILE.</param>
/// <param name="Binding">ELF32_ST_BIND: 0 LOCAL, 1 GLOBAL, 2 WEAK.</param>
public readonly record struct ElfSymbol(string Name, ulong Value, ulong Size, int SectionIndex, byte Type, byte Binding)
{
    public const byte TypeNone = 0;
    public const byte TypeObject = 1;
    public const byte TypeFunction = 2;
    public const byte TypeSection = 3;
    public const byte TypeFile = 4;
    public const byte BindingLocal = 0;
    public const byte BindingGlobal = 1;
    public const byte BindingWeak = 2;
    public const int SectionUndefined = 0;
    public const int SectionAbsolute = 0xfff1;

    public bool IsFunction => Type == TypeFunction;
}
