using System.Globalization;

namespace KTrace.Tracing;

/// <summary>How a trace writes addresses and 64-bit values: <c>0x</c> and lower-case digits without leading zeros.</summary>
public static class TraceHex
{
    public static string Format(ulong value) => string.Create(CultureInfo.InvariantCulture, $"0x{value:x}");

    public static bool TryParse(ReadOnlySpan<char> text, out ulong value)
    {
        value = 0;
        return text.Length is > 2 and <= 18
            && text[0] == '0'
            && text[1] is ('x' or 'X')
            && ulong.TryParse(text[2..], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }
}
