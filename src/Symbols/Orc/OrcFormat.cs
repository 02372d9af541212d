// Which layout the bit fields of struct orc_entry have (arch/x86/include/asm/orc_types.h). The kernel does not number its
// formats; drgn's numbers are used here.
//   1  4.14: sp_reg:4 bp_reg:4 type:2 (CALL 0, REGS 1, REGS_IRET/PARTIAL 2); end:1 since 4.18 (d31a580266ee)
//   2  6.3 (ffb1b4a41016): type:2 signal:1 end:1
//   3  6.4 (fb799447ae29): type:3 (UNDEFINED 0, END_OF_STACK 1, CALL 2, REGS 3, REGS_PARTIAL 4) signal:1
// Since 6.4 (b9f174c811e3, also in 6.3.10) .orc_header holds a hash of the header file; before, only the release tells.
// The hash is that of the ORC_REG_ and ORC_TYPE_ constants and of struct orc_entry alone (scripts/orc_hash.sh), so edits around them leave it
// as it is: 6.4 to 6.12 have one hash. LoongArch's ORC (6.9) has a layout of its own and is not read.
// Apart from the layout, ORC_REG_SP_INDIRECT meant [sp + offset] until 5.12 (87ccc826bf1c) and [sp] + offset since.
using System.Globalization;

namespace KTrace.Symbols.Orc;

/// <summary>A layout of ORC entries.</summary>
/// <param name="Version">1, 2 or 3.</param>
/// <param name="AddsAfterDereference">ORC_REG_SP_INDIRECT is [sp] + offset (5.12 and newer).</param>
public readonly record struct OrcFormat(int Version, bool AddsAfterDereference)
{
    private static ReadOnlySpan<byte> Hash63 =>
    [
        0xdb, 0x84, 0xae, 0xd4, 0x10, 0x3b, 0x31, 0xdd, 0x51, 0xe0, 0x17, 0xf8, 0xf7, 0x97, 0x83, 0xca, 0x98, 0x5c, 0x2c, 0x51,
    ];

    private static ReadOnlySpan<byte> Hash64 =>
    [
        0xfe, 0x5d, 0x32, 0xbf, 0x58, 0x1b, 0xd6, 0x3b, 0x2c, 0xa9, 0xa5, 0xc6, 0x5b, 0xa5, 0xa6, 0x25, 0xea, 0xb3, 0xfe, 0x24,
    ];

    /// <summary>By the contents of .orc_header; null when it is absent or holds a hash that is not known.</summary>
    public static OrcFormat? FromHeader(ReadOnlySpan<byte> header) =>
        header.Length < 20 ? null
        : header[..20].SequenceEqual(Hash64) ? new OrcFormat(3, true)
        : header[..20].SequenceEqual(Hash63) ? new OrcFormat(2, true)
        : null;

    /// <summary>By the kernel's release (<c>6.1.0-56-amd64</c>, <c>5.10.0</c>); null when that is no release.</summary>
    public static OrcFormat? FromRelease(string release)
    {
        var parts = release.Split('.', 3);
        if (parts.Length < 2 || !int.TryParse(parts[0], CultureInfo.InvariantCulture, out var major))
        {
            return null;
        }

        var digits = parts[1].AsSpan();
        var length = 0;
        while (length < digits.Length && char.IsAsciiDigit(digits[length]))
        {
            length++;
        }

        if (!int.TryParse(digits[..length], CultureInfo.InvariantCulture, out var minor))
        {
            return null;
        }

        var version = (major, minor) switch
        {
            ( > 6, _) or (6, >= 4) => 3,
            (6, 3) => 2,
            _ => 1,
        };
        return new OrcFormat(version, major > 5 || (major == 5 && minor >= 12));
    }
}
