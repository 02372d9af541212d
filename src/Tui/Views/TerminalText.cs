// Text of guests and files on a terminal. A comm, a console line or a symbol's name can hold anything: escape sequences that change the
// terminal, controls that move the cursor, bidirectional overrides that show something else than what is there. Nothing of that passes.
// Widths: Unicode 15 EastAsianWidth W and F count two cells, marks that combine count none (as in Markus Kuhn's wcwidth).
using System.Globalization;
using System.Text;
using Spectre.Console;

namespace KTrace.Tui.Views;

/// <summary>Makes text safe for a terminal, and measures it in cells.</summary>
public static class TerminalText
{
    /// <summary>Characters that <see cref="Sanitize"/> lets through when nothing else is said.</summary>
    public const int DefaultLimit = 4096;

    private const char Ellipsis = '…';

    // First and last code point of what is two cells wide.
    private static readonly (int First, int Last)[] Wide =
    [
        (0x1100, 0x115f), (0x231a, 0x231b), (0x2329, 0x232a), (0x23e9, 0x23ec), (0x23f0, 0x23f0), (0x23f3, 0x23f3), (0x25fd, 0x25fe),
        (0x2614, 0x2615), (0x2648, 0x2653), (0x267f, 0x267f), (0x2693, 0x2693), (0x26a1, 0x26a1), (0x26aa, 0x26ab), (0x26bd, 0x26be),
        (0x26c4, 0x26c5), (0x26ce, 0x26ce), (0x26d4, 0x26d4), (0x26ea, 0x26ea), (0x26f2, 0x26f3), (0x26f5, 0x26f5), (0x26fa, 0x26fa),
        (0x26fd, 0x26fd), (0x2705, 0x2705), (0x270a, 0x270b), (0x2728, 0x2728), (0x274c, 0x274c), (0x274e, 0x274e), (0x2753, 0x2755),
        (0x2757, 0x2757), (0x2795, 0x2797), (0x27b0, 0x27b0), (0x27bf, 0x27bf), (0x2b1b, 0x2b1c), (0x2b50, 0x2b50), (0x2b55, 0x2b55),
        (0x2e80, 0x303e), (0x3041, 0x33ff), (0x3400, 0x4dbf), (0x4e00, 0xa4cf), (0xa960, 0xa97f), (0xac00, 0xd7a3), (0xf900, 0xfaff),
        (0xfe10, 0xfe19), (0xfe30, 0xfe6f), (0xff00, 0xff60), (0xffe0, 0xffe6), (0x16fe0, 0x18aff), (0x1b000, 0x1b2ff),
        (0x1f004, 0x1f004), (0x1f0cf, 0x1f0cf), (0x1f18e, 0x1f18e), (0x1f191, 0x1f19a), (0x1f200, 0x1f265), (0x1f300, 0x1f320),
        (0x1f32d, 0x1f335), (0x1f337, 0x1f37c), (0x1f37e, 0x1f393), (0x1f3a0, 0x1f3ca), (0x1f3cf, 0x1f3d3), (0x1f3e0, 0x1f3f0),
        (0x1f3f4, 0x1f3f4), (0x1f3f8, 0x1f43e), (0x1f440, 0x1f440), (0x1f442, 0x1f4fc), (0x1f4ff, 0x1f53d), (0x1f54b, 0x1f54e),
        (0x1f550, 0x1f567), (0x1f57a, 0x1f57a), (0x1f595, 0x1f596), (0x1f5a4, 0x1f5a4), (0x1f5fb, 0x1f64f), (0x1f680, 0x1f6c5),
        (0x1f6cc, 0x1f6cc), (0x1f6d0, 0x1f6d2), (0x1f6d5, 0x1f6d7), (0x1f6dc, 0x1f6df), (0x1f6eb, 0x1f6ec), (0x1f6f4, 0x1f6fc),
        (0x1f7e0, 0x1f7eb), (0x1f7f0, 0x1f7f0), (0x1f90c, 0x1f93a), (0x1f93c, 0x1f945), (0x1f947, 0x1f9ff), (0x1fa70, 0x1faff),
        (0x20000, 0x3fffd),
    ];

    /// <summary>
    /// Replaces what is not to reach a terminal by what can be read: <c>\x1b</c> for controls, <c>\u202e</c> for format characters and for
    /// code points without meaning, U+FFFD for halves of surrogate pairs. Cuts text that is longer than <paramref name="limit"/>.
    /// </summary>
    /// <param name="text">Any text.</param>
    /// <param name="limit">Characters of the result, about.</param>
    public static string Sanitize(string text, int limit = DefaultLimit)
    {
        if (text.Length <= limit && text.AsSpan().IndexOfAnyExceptInRange(' ', '~') < 0)
        {
            return text;
        }

        var result = new StringBuilder();
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (result.Length >= limit)
            {
                result.Append(Ellipsis);
                break;
            }

            if (IsHarmless(rune))
            {
                result.Append(rune);
            }
            else
            {
                result.Append(rune.Value switch
                {
                    <= 0xff => $"\\x{rune.Value:x2}",
                    <= 0xffff => $"\\u{rune.Value:x4}",
                    _ => $"\\U{rune.Value:x8}",
                });
            }
        }

        return result.ToString();
    }

    /// <summary>As <see cref="Sanitize(string, int)"/> for bytes that should be UTF-8; what is not becomes U+FFFD.</summary>
    public static string Sanitize(ReadOnlySpan<byte> utf8, int limit = DefaultLimit) => Sanitize(Encoding.UTF8.GetString(utf8), limit);

    /// <summary>As <see cref="Sanitize(string, int)"/>, and brackets doubled: for text that becomes part of Spectre.Console markup.</summary>
    public static string SanitizeMarkup(string text, int limit = DefaultLimit) => Sanitize(text, limit).EscapeMarkup();

    /// <summary>
    /// JSON for a terminal: the same value, with everything that <see cref="Sanitize(string, int)"/> would replace written as JSON's own escape.
    /// Outside of strings JSON has no such character, apart from line feeds and tabs, which stay.
    /// </summary>
    public static string EscapeJson(string json)
    {
        if (json.AsSpan().IndexOfAnyExceptInRange(' ', '~') < 0)
        {
            return json;
        }

        var result = new StringBuilder(json.Length);
        Span<char> pair = stackalloc char[2];
        foreach (Rune rune in json.EnumerateRunes())
        {
            if (IsHarmless(rune) || rune.Value is '\n' or '\t')
            {
                result.Append(rune);
                continue;
            }

            foreach (char unit in pair[..rune.EncodeToUtf16(pair)])
            {
                result.Append($"\\u{(int)unit:x4}");
            }
        }

        return result.ToString();
    }

    /// <summary>Cells that a text takes on a terminal.</summary>
    public static int Width(string text)
    {
        if (text.AsSpan().IndexOfAnyExceptInRange(' ', '~') < 0)
        {
            return text.Length;
        }

        int width = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            width += Width(rune);
        }

        return width;
    }

    /// <summary>The beginning of a text in at most <paramref name="cells"/> cells, with an ellipsis where something is missing.</summary>
    public static string KeepStart(string text, int cells)
    {
        if (Width(text) <= cells)
        {
            return text;
        }

        var result = new StringBuilder();
        int width = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            width += Width(rune);
            if (width > cells - 1)
            {
                break;
            }

            result.Append(rune);
        }

        return cells > 0 ? result.Append(Ellipsis).ToString() : "";
    }

    /// <summary>The end of a text in at most <paramref name="cells"/> cells: of a path, the file's name is worth more than the folder's.</summary>
    public static string KeepEnd(string text, int cells)
    {
        if (Width(text) <= cells)
        {
            return text;
        }

        Rune[] runes = [.. text.EnumerateRunes()];
        int first = runes.Length;
        int width = 0;
        while (first > 0 && width + Width(runes[first - 1]) <= cells - 1)
        {
            width += Width(runes[--first]);
        }

        // A mark that combines needs what it stands on.
        while (first < runes.Length && Width(runes[first]) == 0)
        {
            first++;
        }

        return cells > 0 ? Ellipsis + string.Concat(runes[first..]) : "";
    }

    /// <summary>False for what is not to reach a terminal.</summary>
    internal static bool IsHarmless(Rune rune) => Rune.GetUnicodeCategory(rune) switch
    {
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
            or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned or UnicodeCategory.Surrogate => false,
        _ => true,
    };

    /// <summary>Cells of one character: 0 for a mark that combines, otherwise 1 or 2.</summary>
    internal static int Width(Rune rune)
    {
        if (rune.Value < 0x300)
        {
            return 1;
        }

        if (Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark or UnicodeCategory.Format)
        {
            return 0;
        }

        int low = 0, high = Wide.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            if (rune.Value > Wide[middle].Last)
            {
                low = middle + 1;
            }
            else if (rune.Value < Wide[middle].First)
            {
                high = middle - 1;
            }
            else
            {
                return 2;
            }
        }

        return 1;
    }
}
