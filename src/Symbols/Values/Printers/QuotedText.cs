using System.Globalization;
using System.Text;

namespace KTrace.Symbols.Values.Printers;

/// <summary>Text of the guest in quotes, as C would write it. What a terminal might obey or hide is written as octal bytes (<c>\033</c>), as gdb does.</summary>
internal static class QuotedText
{
    public static string Quote(ReadOnlySpan<byte> bytes, bool isCut) => $"\"{Escape(bytes, '"')}\"{(isCut ? "…" : "")}";

    public static string Character(byte value) => $"'{Escape([value], '\'')}'";

    /// <summary>Whether it looks like a name that somebody gave, and not like memory of something else.</summary>
    public static bool IsPlausibleName(ReadOnlySpan<byte> bytes)
    {
        foreach (var b in bytes)
        {
            if (b is < 0x20 or > 0x7e)
            {
                return false;
            }
        }

        return bytes.Length > 0;
    }

    /// <summary>A character that shows what it is: no control, no direction override, nothing unassigned.</summary>
    public static bool IsSafe(Rune rune) => Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate
        or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator);

    private static string Escape(ReadOnlySpan<byte> bytes, char quote)
    {
        var text = new StringBuilder(bytes.Length + 2);
        while (!bytes.IsEmpty)
        {
            var status = Rune.DecodeFromUtf8(bytes, out var rune, out var consumed);
            if (status == System.Buffers.OperationStatus.Done && IsSafe(rune))
            {
                if (rune.Value == quote || rune.Value == '\\')
                {
                    text.Append('\\');
                }

                text.Append(rune.ToString());
            }
            else
            {
                foreach (var b in bytes[..consumed])
                {
                    text.Append(b switch
                    {
                        (byte)'\n' => "\\n",
                        (byte)'\t' => "\\t",
                        (byte)'\r' => "\\r",
                        0 => "\\000",
                        _ => "\\" + Convert.ToString(b, 8).PadLeft(3, '0'),
                    });
                }
            }

            bytes = bytes[consumed..];
        }

        return text.ToString();
    }
}
