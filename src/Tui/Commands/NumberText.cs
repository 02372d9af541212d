using System.Globalization;

namespace KTrace.Tui.Commands;

/// <summary>Numbers in gdb's formats (gdb manual, "Output Formats").</summary>
internal static class NumberText
{
    /// <param name="size">Bytes of the unit.</param>
    public static string Of(ulong value, int size, char format)
    {
        var bits = size * 8;
        var unsigned = bits == 64 ? value : value & ((1UL << bits) - 1);
        return format switch
        {
            'd' => (bits == 64 ? (long)value : (long)(value << (64 - bits)) >> (64 - bits)).ToString(CultureInfo.InvariantCulture),
            'u' => unsigned.ToString(CultureInfo.InvariantCulture),
            'o' => "0" + Convert.ToString((long)unsigned, 8),
            't' => Convert.ToString((long)unsigned, 2),
            'c' => unsigned is >= 0x20 and < 0x7f ? string.Create(CultureInfo.InvariantCulture, $"{unsigned} '{(char)unsigned}'") : unsigned.ToString(CultureInfo.InvariantCulture),
            _ => "0x" + unsigned.ToString("x" + (format == 'x' ? (size * 2).ToString(CultureInfo.InvariantCulture) : ""), CultureInfo.InvariantCulture),
        };
    }
}
