using KTrace.Tui.State;

namespace KTrace.Tests.Tui.State;

/// <summary>The guest's serial line as lines.</summary>
public class ScrollbackTests
{
    [Theory]
    [InlineData("a\r\nb\n", "a|b|")]
    [InlineData("10%\r20%\r30%\n", "30%|")]
    [InlineData("abc\b\bX\n", "aXc|")]
    [InlineData("abc\b \b\n", "ab |")]
    [InlineData("a\tb\n", "a       b|")]
    [InlineData("\u001b[1;31mred\u001b[0m\n", "red|")]
    [InlineData("\u001b]0;title\u0007after\n", "after|")]
    [InlineData("\u001b]0;title\u001b\\after\n", "after|")]
    [InlineData("\u001b(Bafter\n", "after|")]
    [InlineData("old text\r\u001b[Knew\n", "new|")]
    [InlineData("bell\a and nul\0\n", "bell and nul|")]
    [InlineData("\u001b]0;never ends\nnext line\n", "next line|")]
    [InlineData("open", "open")]
    public void Text_becomes_the_lines_that_a_terminal_would_show(string text, string lines)
    {
        Assert.Equal(lines, Lines(Scrollback.Empty.Append(text)));

        // However it arrives.
        var console = Scrollback.Empty;
        foreach (var c in text)
        {
            console = console.Append(c.ToString());
        }

        Assert.Equal(lines, Lines(console));
    }

    [Fact]
    public void Old_lines_are_forgotten_and_counted()
    {
        var console = Scrollback.Empty;
        for (var i = 0; i < 7; i++)
        {
            console = console.Append(string.Concat(Enumerable.Range(0, 10_000).Select(n => $"{i}:{n}\n")));
        }

        Assert.Equal(Scrollback.Limit, console.Lines.Count);
        Assert.Equal(20_000, console.Forgotten);
        Assert.Equal("2:0", console[0]);
        Assert.Equal("6:9999", console[Scrollback.Limit - 1]);
    }

    [Fact]
    public void A_line_without_an_end_does_not_grow_for_ever()
    {
        var console = Scrollback.Empty;
        for (var i = 0; i < 1000; i++)
        {
            console = console.Append(new string('x', 1000));
        }

        Assert.InRange(console.Open.Length, 1, 5000);
    }

    [Fact]
    public void Appending_leaves_the_list_before_as_it_was()
    {
        var one = AppendOnlyList<int>.Empty.Append([1, 2, 3]);
        var left = one.Append([4]);
        var right = one.Append([5]);
        Assert.Equal([1, 2, 3], one);
        Assert.Equal([1, 2, 3, 4], left);
        Assert.Equal([1, 2, 3, 5], right);
        Assert.Equal([3, 4, 6], left.Append([6], limit: 3));
        Assert.Equal([8, 9], left.Append([7, 8, 9], limit: 2));
    }

    private static string Lines(Scrollback console) => string.Join('|', Enumerable.Range(0, console.Count).Select(i => console[i]));
}
