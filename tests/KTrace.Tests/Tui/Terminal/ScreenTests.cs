using System.Text;
using KTrace.Tui.State;
using KTrace.Tui.Terminal;
using KTrace.Tui.Views;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace KTrace.Tests.Tui.Terminal;

public sealed class ScreenTests
{
    private static readonly TerminalLooks Colourful = new(ColourDepth.Sixteen, true, false, false, false);

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(2, 2, 3)]
    [InlineData(3, 17, 5)]
    [InlineData(4, 80, 24)]
    [InlineData(5, 200, 50)]
    public void The_terminal_shows_the_picture_after_any_pictures_before_it(int seed, int columns, int rows)
    {
        var random = new Random(seed);
        var size = new TerminalSize(columns, rows);
        var screen = new Screen(Colourful) { HasSynchronisedOutput = seed % 2 == 0 };
        var terminal = new TerminalEmulator(size);
        TestPicture picture = TestPicture.Random(size, random);
        for (int round = 0; round < 200; round++)
        {
            (int, int)? cursor = random.Next(2) == 0 ? null : (random.Next(columns), random.Next(rows));
            terminal.Apply(screen.Paint(picture, size, cursor));
            picture.AssertShown(terminal);
            Assert.Equal(cursor is not null, terminal.IsCursorShown);
            Assert.Equal(cursor ?? terminal.Cursor, terminal.Cursor);
            Assert.False(terminal.IsSynchronised);
            picture = random.Next(10) == 0 ? TestPicture.Random(size, random) : picture.Changed(random);
        }

        Assert.Equal(1, terminal.Clears);
    }

    [Fact]
    public void The_same_picture_again_writes_nothing()
    {
        var size = new TerminalSize(80, 24);
        var screen = new Screen(Colourful);
        TestPicture picture = TestPicture.Random(size, new Random(1));
        Assert.NotEqual(0, screen.Paint(picture, size, (3, 4)).Length);
        Assert.Equal(0, screen.Paint(picture, size, (3, 4)).Length);
        Assert.Equal("\e[?25l", Encoding.ASCII.GetString(screen.Paint(picture, size, null)));
        Assert.Equal("\e[2;6H\e[?25h", Encoding.ASCII.GetString(screen.Paint(picture, size, (5, 1))));
    }

    [Fact]
    public void One_changed_character_is_a_move_and_that_character()
    {
        var screen = new Screen(Colourful);
        var size = new TerminalSize(20, 3);
        screen.Paint(Lines("first", "second", "third"), size, null);
        Assert.Equal("\e[2;3HC", Encoding.ASCII.GetString(screen.Paint(Lines("first", "seCond", "third"), size, null)));
Assert.Equal("\e[1;2HXrX", Encoding.ASCII.GetString(screen.Paint(Lines("fXrXt", "seCond", "third"), size, null)));
        Assert.Equal("\e[1;2Hi\r\nS\e[3;5HD", Encoding.ASCII.GetString(screen.Paint(Lines("firXt", "SeCond", "thirD"), size, null)));
    }

    [Fact]
    public void The_rest_of_a_row_is_erased_in_one_sequence()
    {
        var screen = new Screen(Colourful);
        var size = new TerminalSize(100, 2);
        screen.Paint(Lines(new string('x', 100), "y"), size, null);
        Assert.Equal("\e[1;3H\e[K", Encoding.ASCII.GetString(screen.Paint(Lines("xx", "y"), size, null)));
    }

    [Fact]
    public void What_has_no_room_is_left_out()
    {
        var size = new TerminalSize(5, 2);
        var terminal = new TerminalEmulator(size);
        terminal.Apply(new Screen(Colourful).Paint(Lines("abcdefgh", "abcd漢", "third"), size, null));
        Assert.Equal(["abcde", "abcd"], terminal.Rows);
    }

    [Fact]
    public void Nothing_that_is_not_printed_reaches_the_terminal()
    {
        var size = new TerminalSize(60, 1);
        var terminal = new TerminalEmulator(size);
        terminal.Apply(new Screen(Colourful).Paint(new RawPicture([new Segment("a\e[31mb\u009bc\a\u202ed\u200be\tf\0g\ud800h\x7f")]), size, null));
        Assert.Equal("a\ufffd[31mb\ufffdc\ufffd\ufffdd\ufffde\ufffdf\ufffdg\ufffdh\ufffd", terminal.Rows[0]);
    }

    [Fact]
    public void Marks_that_combine_are_bounded_on_a_character_and_in_number()
    {
        var size = new TerminalSize(100, 50);
        var terminal = new TerminalEmulator(size);
        var screen = new Screen(Colourful);
        terminal.Apply(screen.Paint(Lines("Z" + string.Concat(Enumerable.Repeat("\u0301", 10_000)) + "x"), size, null));
        Assert.InRange(terminal[0, 0].Text.Length, 2, 40);
        Assert.Equal("x", terminal[0, 1].Text);
        for (int round = 0; round < 20; round++)
        {
            var lines = Enumerable.Range(0, 50).Select(row => string.Concat(Enumerable.Range(0, 100).Select(column => $"{(char)(0x4e00 + (round * 5000) + (row * 100) + column)}\u0301")));
            terminal.Apply(screen.Paint(Lines([.. lines]), size, null));
        }
    }

    [Fact]
    public void Without_unicode_everything_is_ascii_and_keeps_its_place()
    {
        var size = new TerminalSize(30, 2);
        var screen = new Screen(Colourful with { IsUnicode = false });
        ReadOnlySpan<byte> bytes = screen.Paint(Lines("┌─ é 漢 → … │x", "e\u0301y"), size, null);
        Assert.Equal(-1, bytes.IndexOfAnyExceptInRange((byte)0, (byte)0x7e));
        var terminal = new TerminalEmulator(size);
        terminal.Apply(bytes);
        Assert.Equal(["+- ? ?  > . |x", "ey"], terminal.Rows);
    }

    [Theory]
    [InlineData(ColourDepth.None, "1")]
    [InlineData(ColourDepth.Sixteen, "1;91;44")]
    [InlineData(ColourDepth.TwoHundredFiftySix, "1;38;5;203;44")]
    [InlineData(ColourDepth.True, "1;38;2;250;60;60;44")]
    public void Colours_are_those_that_the_terminal_has(ColourDepth depth, string expected)
    {
        var size = new TerminalSize(1, 1);
        var terminal = new TerminalEmulator(size);
        var style = new Style(new Color(250, 60, 60), Color.Navy, Decoration.Bold);
        terminal.Apply(new Screen(Colourful with { Colours = depth }).Paint(new RawPicture([new Segment("x", style)]), size, null));
        Assert.Equal(expected, terminal[0, 0].Style);
    }

    [Fact]
    public void A_frame_is_synchronised_where_the_terminal_can()
    {
        var size = new TerminalSize(10, 1);
        var screen = new Screen(Colourful);
        Assert.DoesNotContain("2026", Encoding.ASCII.GetString(screen.Paint(Lines("a"), size, (0, 0))), StringComparison.Ordinal);
        screen.HasSynchronisedOutput = true;
        Assert.Equal("\e[?2026h\e[Hb\e[H\e[?25h\e[?2026l", Encoding.ASCII.GetString(screen.Paint(Lines("b"), size, (0, 0))));
        Assert.Equal("\e[1;2H\e[?25h", Encoding.ASCII.GetString(screen.Paint(Lines("b"), size, (1, 0))));
    }

    [Fact]
    public void What_was_forgotten_is_written_again()
    {
        var size = new TerminalSize(10, 2);
        var screen = new Screen(Colourful);
        screen.Paint(Lines("one", "two"), size, null);
        var terminal = new TerminalEmulator(size);
        screen.Forget();
        terminal.Apply(screen.Paint(Lines("one", "two"), size, null));
        Assert.Equal(["one", "two"], terminal.Rows);
        Assert.False(terminal.IsCursorShown);
    }

    [Fact]
    public void Any_sizes_in_any_order_show_the_picture()
    {
        var random = new Random(8);
        var screen = new Screen(Colourful);
        var terminal = new TerminalEmulator(new TerminalSize(1, 1));
        for (int round = 0; round < 100; round++)
        {
            var size = new TerminalSize(random.Next(1, 120), random.Next(1, 60));
            if (size != terminal.Size)
            {
                terminal.Resize(size);
            }

            TestPicture picture = TestPicture.Random(size, random);
            terminal.Apply(screen.Paint(picture, size, null));
            picture.AssertShown(terminal);
        }
    }

    private static RawPicture Lines(params string[] lines) => new([.. lines.SelectMany(line => new[] { new Segment(line), Segment.LineBreak })]);

    private sealed record RawPicture(IReadOnlyList<Segment> Segments) : IRenderable
    {
        public Measurement Measure(RenderOptions options, int maxWidth) => new(0, maxWidth);

        public IEnumerable<Segment> Render(RenderOptions options, int maxWidth) => Segments;
    }
}
