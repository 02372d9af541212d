// Hexadecimal as the protocol writes it: big-endian digits for numbers, two digits a byte in memory order for contents.
// Producers differ in letter case (this client writes lower case, reads both).
using System.Buffers;
using System.Buffers.Text;

namespace KTrace.Rsp;

/// <summary>Hexadecimal digits of packets ⇄ numbers and bytes.</summary>
internal static class HexText
{
    public static int Digit(byte b) => b switch
    {
        >= (byte)'0' and <= (byte)'9' => b - '0',
        >= (byte)'a' and <= (byte)'f' => b - 'a' + 10,
        >= (byte)'A' and <= (byte)'F' => b - 'A' + 10,
        _ => -1,
    };

    /// <summary>The whole text as a number of at most 64 bits.</summary>
    public static bool TryParse(ReadOnlySpan<byte> text, out ulong value)
    {
        value = 0;
        return text.Length is > 0 and <= 16 && Utf8Parser.TryParse(text, out value, out var used, 'X') && used == text.Length;
    }

    /// <summary>Two digits; -1 when they are none.</summary>
    public static int ParseByte(ReadOnlySpan<byte> text) =>
        text.Length == 2 && Digit(text[0]) >= 0 && Digit(text[1]) >= 0 ? (Digit(text[0]) << 4) | Digit(text[1]) : -1;

    /// <summary>Decodes the digit pairs into <paramref name="destination"/>; false at an odd digit, a bad one, or too many.</summary>
    public static bool TryDecode(ReadOnlySpan<byte> hex, Span<byte> destination, out int written)
    {
        written = 0;
        return hex.Length % 2 == 0 && hex.Length / 2 <= destination.Length
            && Convert.FromHexString(hex, destination, out _, out written) == OperationStatus.Done;
    }
}
