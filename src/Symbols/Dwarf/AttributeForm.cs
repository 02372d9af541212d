// Attribute forms: DWARF 5, section 7.5.6 and table 7.6.
namespace KTrace.Symbols.Dwarf;

/// <summary>What of a form is known without looking at the data.</summary>
internal static class AttributeForm
{
    /// <summary>The size depends on the data.</summary>
    public const int Variable = -1;

    /// <summary>No form of DWARF 2 to 5 and none of GNU's.</summary>
    public const int Unknown = -2;

    private const sbyte A = 100; // an address
    private const sbyte O = 101; // a section offset: 4 or 8 bytes by the DWARF format
    private const sbyte R = 102; // DW_FORM_ref_addr: an address in DWARF 2, an offset since
    private const sbyte V = Variable;
    private const sbyte U = Unknown;

    private static ReadOnlySpan<sbyte> Sizes =>
    [
        U, A, U, V, V, 2, 4, 8, V, V, V, 1, 1, V, O, V, // 00 addr … udata
        R, 1, 2, 4, 8, V, V, O, V, 0, V, V, 4, O, 16, O, // 10 ref_addr … line_strp
        8, 0, V, V, 8, 1, 2, 3, 4, 1, 2, 3, 4, // 20 ref_sig8 … addrx4
    ];

    /// <summary>Bytes that the form takes in .debug_info, or <see cref="Variable"/>, or <see cref="Unknown"/>.</summary>
    public static int FixedSize(ulong form, int addressSize, int offsetSize, int version)
    {
        if (form < (ulong)Sizes.Length)
        {
            return Sizes[(int)form] switch
            {
                A => addressSize,
                O => offsetSize,
                R => version <= 2 ? addressSize : offsetSize,
                var size => size,
            };
        }

        return form switch
        {
            DwForm.GnuAddrIndex or DwForm.GnuStrIndex => Variable,
            DwForm.GnuRefAlt or DwForm.GnuStrpAlt => offsetSize,
            _ => Unknown,
        };
    }

    /// <summary>The value is a constant, a section offset or a flag, so that it may be read as a number.</summary>
    public static bool IsConstant(ushort form) => form is DwForm.Data1 or DwForm.Data2 or DwForm.Data4 or DwForm.Data8
        or DwForm.Udata or DwForm.Sdata or DwForm.ImplicitConst or DwForm.SecOffset or DwForm.Flag or DwForm.FlagPresent;

    /// <summary>DW_FORM_addr, or an index into .debug_addr.</summary>
    public static bool IsAddress(ushort form) =>
        form is DwForm.Addr or DwForm.Addrx or DwForm.Addrx1 or DwForm.Addrx2 or DwForm.Addrx3 or DwForm.Addrx4 or DwForm.GnuAddrIndex;

    /// <summary>A reference to another DIE of this file.</summary>
    public static bool IsReference(ushort form) =>
        form is DwForm.Ref1 or DwForm.Ref2 or DwForm.Ref4 or DwForm.Ref8 or DwForm.RefUdata or DwForm.RefAddr;

    public static bool IsBlock(ushort form) =>
        form is DwForm.Exprloc or DwForm.Block or DwForm.Block1 or DwForm.Block2 or DwForm.Block4;
}
