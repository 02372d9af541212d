// Packets as people read them: in exceptions (bounded) and in transcripts (whole, and readable back).
using System.Globalization;
using System.Text;

namespace KTrace.Rsp;

/// <summary>Bytes of a packet as printable ASCII: other bytes and the backslash become `\xNN`.</summary>
internal static class PacketText
{
    private const int BriefLength = 80;

    /// <summary>The payload in backquotes, cut after 80 bytes with the whole length named.</summary>
    public static string Brief(ReadOnlySpan<byte> payload) => payload.Length <= BriefLength
        ? $"`{Escape(payload)}`"
        : $"`{Escape(payload[..BriefLength])}…` ({payload.Length} bytes)";

    public static string Escape(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder(bytes.Length + 8);
        foreach (var b in bytes)
        {
            if (b is >= 0x20 and < 0x7f and not (byte)'\\')
            {
                text.Append((char)b);
            }
            else
            {
                text.Append(CultureInfo.InvariantCulture, $"\\x{b:x2}");
            }
        }

        return text.ToString();
    }

    /// <summary>The reverse of <see cref="Escape"/>; false when the text is not of that form.</summary>
    public static bool TryUnescape(ReadOnlySpan<char> text, out byte[] bytes)
    {
        var result = new List<byte>(text.Length);
        bytes = [];
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] is < ' ' or > '~')
            {
                return false;
            }

            if (text[i] != '\\')
            {
                result.Add((byte)text[i]);
                continue;
            }

            if (i + 3 >= text.Length || text[i + 1] != 'x'
                || !byte.TryParse(text.Slice(i + 2, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var value))
            {
                return false;
            }

            result.Add(value);
            i += 3;
        }

        bytes = [.. result];
        return true;
    }
}
