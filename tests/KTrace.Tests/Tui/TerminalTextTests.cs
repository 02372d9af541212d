using System.Text.Json;
using KTrace.Tui.Views;

namespace KTrace.Tests.Tui;

public class TerminalTextTests
{
    [Theory]
    [InlineData("plain [e1000e] text", "plain [e1000e] text")]
    [InlineData("", "")]
    [InlineData("\u001b[31mred\u001b[0m", @"\x1b[31mred\x1b[0m")]
    [InlineData("\u009b31m", @"\x9b31m")]
    [InlineData("bell\a back\b tab\t nul\0 del\u007f", @"bell\x07 back\x08 tab\x09 nul\x00 del\x7f")]
    [InlineData("a\r\nb", @"a\x0d\x0ab")]
    [InlineData("\u202egpj.exe\u2066", @"\u202egpj.exe\u2066")]
    [InlineData("zero\u200bwidth\ufeff", @"zero\u200bwidth\ufeff")]
    [InlineData("line\u2028paragraph\u2029", @"line\u2028paragraph\u2029")]
    [InlineData("private\ue000", @"private\ue000")]
    [InlineData("tag\U000e0041", @"tag\U000e0041")]
    [InlineData("漢字 é 😀 ümläut", "漢字 é 😀 ümläut")]
    public void What_a_terminal_would_obey_becomes_readable(string text, string safe) => Assert.Equal(safe, TerminalText.Sanitize(text));

    [Fact]
    public void Every_character_below_U_10000_is_safe_after_sanitizing()
    {
        for (int c = 0; c <= 0xffff; c++)
        {
            string safe = TerminalText.Sanitize(((char)c).ToString());
            Assert.All(safe, s => Assert.False(char.IsControl(s) || char.IsSurrogate(s) || char.GetUnicodeCategory(s) == System.Globalization.UnicodeCategory.Format, $"U+{c:x4}"));
        }
    }

    [Fact]
    public void Half_a_surrogate_pair_is_replaced() => Assert.Equal("half\ufffd", TerminalText.Sanitize("half\ud800"));

    [Fact]
    public void Bytes_that_are_no_UTF_8_are_replaced() => Assert.Equal("a\ufffdb", TerminalText.Sanitize([0x61, 0xff, 0x62]));

    [Fact]
    public void Long_text_is_cut()
    {
        Assert.Equal(new string('a', 10) + "…", TerminalText.Sanitize(new string('a', 100), 10));
        Assert.InRange(TerminalText.Sanitize(new string('\u001b', 1_000_000)).Length, 4096, 4104);
    }

    [Fact]
    public void Markup_stays_text() => Assert.Equal(@"[[red]]\x1b[[/]]", TerminalText.SanitizeMarkup("[red]\u001b[/]"));

    [Theory]
    [InlineData("ascii", 5)]
    [InlineData("漢字", 4)]
    [InlineData("한글", 4)]
    [InlineData("ｆｕｌｌ", 8)]
    [InlineData("😀", 2)]
    [InlineData("e\u0301", 1)]
    [InlineData("é…│", 3)]
    [InlineData("𝐀", 1)]
    public void Width_is_counted_in_cells(string text, int cells) => Assert.Equal(cells, TerminalText.Width(text));

    [Theory]
    [InlineData("abcdef", 6, "abcdef", "abcdef")]
    [InlineData("abcdef", 4, "abc…", "…def")]
    [InlineData("漢字漢字", 4, "漢…", "…字")]
    [InlineData("漢字漢字", 5, "漢字…", "…漢字")]
    [InlineData("abc", 1, "…", "…")]
    [InlineData("abc", 0, "", "")]
    [InlineData("abcde\u0301", 2, "a…", "…e\u0301")]
    public void Text_is_cut_by_cells(string text, int cells, string start, string end)
    {
        Assert.Equal(start, TerminalText.KeepStart(text, cells));
        Assert.Equal(end, TerminalText.KeepEnd(text, cells));
    }

    [Fact]
    public void JSON_for_a_terminal_has_the_same_value()
    {
        const string Json = "{\"a\":\"\u007f\u009b \u202e é漢😀 \U000e0041\"}";

        string escaped = TerminalText.EscapeJson(Json);

        Assert.DoesNotMatch(@"[\u0000-\u001f\u007f-\u009f\u202e]", escaped);
        Assert.Equal(JsonDocument.Parse(Json).RootElement.GetProperty("a").GetString(), JsonDocument.Parse(escaped).RootElement.GetProperty("a").GetString());
    }
}
