using System.Text;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>For terminals without Unicode: every line in ASCII, as wide as before.</summary>
internal static class AsciiText
{
    public static TextLine Of(TextLine line)
    {
        var ascii = new TextLine();
        foreach (var (text, role) in line.Spans)
        {
            ascii.Add(Of(text), role);
        }

        return ascii;
    }

    private static string Of(string text)
    {
        if (Ascii.IsValid(text))
        {
            return text;
        }

        var result = new StringBuilder(text.Length);
        foreach (var rune in text.EnumerateRunes())
        {
            if (rune.IsAscii)
            {
                result.Append(rune);
                continue;
            }

            result.Append(rune.Value switch
            {
                '─' => '-',
                '━' => '=',
                '│' => '|',
                '┬' or '┼' or '┤' or '├' or '┐' or '┌' => '+',
                '▸' or '▹' or '►' or '▶' or '→' => '>',
                '▾' => 'v',
                '●' => '*',
                '○' => 'o',
                '■' => '#',
                '◆' => '@',
                '…' => '~',
                _ => '?',
            }, TerminalText.Width(rune.ToString()));
        }

        return result.ToString();
    }
}
