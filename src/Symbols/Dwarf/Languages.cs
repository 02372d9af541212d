// DW_LANG_*: DWARF 5, table 7.17, with the codes that were assigned since (dwarfstd.org/languages.html).
namespace KTrace.Symbols.Dwarf;

internal static class Languages
{
    private const int C89 = 0x01, C = 0x02, Cobol74 = 0x05, Cobol85 = 0x06, Fortran77 = 0x07, Pascal83 = 0x09, C99 = 0x0c, Pli = 0x0f, Upc = 0x12, C11 = 0x1d;
    private const int C17 = 0x2c;

    /// <summary>What GAS writes, whatever it assembles for.</summary>
    public const int MipsAssembler = 0x8001;

    /// <summary>DW_AT_name is what the symbol table says: C and assembly, where nothing is mangled.</summary>
    public static bool NamesAreLinkageNames(int language) =>
        language is C89 or C or Cobol74 or Cobol85 or Fortran77 or Pascal83 or C99 or Pli or Upc or C11 or C17 or MipsAssembler;
}
