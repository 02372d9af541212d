using System.Text;
using KTrace.Tui.Terminal;

namespace KTrace.Tests.Tui.Terminal;

public sealed class InputDecoderTests
{
    /// <summary>What terminals send, and what it means. Every row ends by itself: no pause is needed to know what it is.</summary>
    public static TheoryData<string, string> Table => new()
    {
        // Characters.
        { "a", "a" },
        { "aZ /~", "a Z Space / ~" },
        { "é€𝄞", "é € 𝄞" },

        // Control keys.
        { "\r", "Enter" },
        { "\n", "Enter" },
        { "\t", "Tab" },
        { "\x7f", "Backspace" },
        { "\b", "Backspace" },
        { "\0", "C-Space" },
        { "\x01\x03\x1a", "C-a C-c C-z" },
        { "\x1c\x1d\x1e\x1f", "C-\\ C-] C-^ C-_" },

        // Alt as a prefix.
        { "\ea", "A-a" },
        { "\eA", "A-A" },
        { "\eé", "A-é" },
        { "\e\r", "A-Enter" },
        { "\e\x7f", "A-Backspace" },
        { "\e\x06", "C-A-f" },
        { "\e\ea", "Escape A-a" },

        // Arrows and the like: xterm, application mode, modifiers.
        { "\e[A\e[B\e[C\e[D\e[H\e[F", "Up Down Right Left Home End" },
        { "\eOA\eOB\eOC\eOD\eOH\eOF", "Up Down Right Left Home End" },
        { "\e[1;2A", "S-Up" },
        { "\e[1;3A", "A-Up" },
        { "\e[1;5C", "C-Right" },
        { "\e[1;8D", "C-A-S-Left" },
        { "\e[1;9H", "A-Home" },
        { "\e\e[A", "A-Up" },
        { "\e\eOC", "A-Right" },
        { "\eO5C", "C-Right" },
        { "\eO1;5C", "C-Right" },

        // The keys with numbers.
        { "\e[1~\e[2~\e[3~\e[4~\e[5~\e[6~\e[7~\e[8~", "Home Insert Delete End PageUp PageDown Home End" },
        { "\e[3;5~", "C-Delete" },
        { "\e[5;3~", "A-PageUp" },
        { "\e[Z", "S-Tab" },

        // Function keys: xterm, VT220, with modifiers, the Linux console.
        { "\eOP\eOQ\eOR\eOS", "F1 F2 F3 F4" },
        { "\e[11~\e[12~\e[13~\e[14~\e[15~\e[17~\e[18~\e[19~\e[20~\e[21~\e[23~\e[24~", "F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12" },
        { "\e[1;2P\e[1;5R\e[15;5~", "S-F1 C-F3 C-F5" },
        { "\e[[A\e[[B\e[[C\e[[D\e[[E", "F1 F2 F3 F4 F5" },

        // rxvt.
        { "\e[3$\e[3^\e[3@", "S-Delete C-Delete C-S-Delete" },
        { "\e[a\e[b\e[c\e[d", "S-Up S-Down S-Right S-Left" },
        { "\eOa\eOd", "C-Up C-Left" },

        // The application keypad.
        { "\eOM\eOp\eOy\eOk\eOj\eOo\eOX", "Enter 0 9 + * / =" },

        // modifyOtherKeys and kitty.
        { "\e[27;5;13~", "C-Enter" },
        { "\e[27;2;65~", "A" },
        { "\e[97;5u", "C-a" },
        { "\e[99;6u", "C-S-c" },
        { "\e[97;2u", "A" },
        { "\e[97;4u", "A-A" },
        { "\e[49:33;2u", "!" },
        { "\e[27u", "Escape" },
        { "\e[13;2u", "S-Enter" },
        { "\e[9;5u", "C-Tab" },
        { "\e[127;3u", "A-Backspace" },
        { "\e[97;5:1u\e[97;5:3u", "C-a" },
        { "\e[1;5:3A", "" },
        { "\e[57399u\e[57414u\e[57419u", "0 Enter Up" },
        { "\e[57441;2u", "" },
        { "\e[32;5u", "C-Space" },

        // The mouse: SGR, its modifiers, drags, wheel; the old forms.
        { "\e[<0;1;1M\e[<0;1;1m", "Press0@0,0 Release0@0,0" },
        { "\e[<2;200;50M", "Press2@199,49" },
        { "\e[<32;5;6M", "Drag0@4,5" },
        { "\e[<64;5;6M\e[<65;5;6M", "WheelUp0@4,5 WheelDown0@4,5" },
        { "\e[<66;5;6M\e[<67;5;6M", "" },
        { "\e[<28;5;6M", "C-A-S-Press0@4,5" },
        { "\e[<35;5;6M", "" },
        { "\e[<128;5;6M\e[<0;0;6M", "" },
        { "\e[M !!\e[M#!!", "Press0@0,0 Release0@0,0" },
        { "\e[M`!\"", "WheelUp0@0,1" },
        { "\e[32;5;6M\e[35;5;6M", "Press0@4,5 Release0@4,5" },

        // Pastes hold anything but their end.
        { "\e[200~hello\e[201~x", "Paste(hello) x" },
        { "\e[200~\e[A\e\e[20\u0003\e[201~", "Paste(\e[A\e\e[20\u0003)" },
        { "\e[200~a\r\nb\rc\e[201~", "Paste(a\nb\nc)" },
        { "\e[200~é\e[201~", "Paste(é)" },
        { "\e[201~x", "x" },

        // Not keys: focus, answers that nobody asked for, sequences that mean nothing here.
        { "\e[I\e[Ox", "x" },
        { "\e[>0;276;0cx", "x" },
        { "\e[12;40Rx", "x" },
        { "\e[0nx", "x" },
        { "\e[?1;2$yx", "Mode { Number = 1, Setting = 2 } x" },
        { "\eP>|XTerm(379)\e\\x", "x" },
        { "\e]10;rgb:ffff/ffff/ffff\ax", "x" },
        { "\e[99~\e[1;5Xx", "x" },

        // A sequence that is cut short by another, or by a control key.
        { "\e[1;\e[A", "Up" },
        { "\e[1;\rx", "Enter x" },
        { "\e]11;rg\e[A", "Up" },
        { "\e]11;rg\x18x", "x" },

        // Answers that were asked for.
        { "\e[?62;22c", "Attributes { }" },
        { "\e[?2026;2$y", "Mode { Number = 2026, Setting = 2 }" },
        { "\e]11;rgb:ffff/8080/0000\e\\", "Background { Red = 1, Green = 0.5019607843137255, Blue = 0 }" },
        { "\e]11;rgba:ff/00/00/ff\a", "Background { Red = 1, Green = 0, Blue = 0 }" },
        { "\e]11;#ff0000\a", "Background { Red = 1, Green = 0, Blue = 0 }" },
        { "\e]11;rgb:zz/00/00\a\e]11;rgb:\a\e]11;#ff\a", "" },
    };

    public static TheoryData<string, string> PauseTable => new()
    {
        { "\e", "Escape" },
        { "\e\e", "Escape Escape" },
        { "\e[", "A-[" },
        { "\eO", "A-O" },
        { "\e]", "A-]" },
        { "\eP", "A-P" },
        { "\e[1;5", "" },
        { "\e]11;rgb:", "" },
        { "\e[M !", "" },
        { "\e[200~half", "Paste(half)" },
        { "\e[200~half\e[20", "Paste(half)" },
        { "a", "a" },
    };

    [Theory]
    [MemberData(nameof(Table))]
    public void What_a_terminal_sends_is_what_was_pressed(string bytes, string expected) => Assert.Equal(expected, Decode([Encoding.UTF8.GetBytes(bytes)]));

    [Theory]
    [MemberData(nameof(Table))]
    public void It_is_the_same_in_two_pieces_whatever_they_are(string text, string expected)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        for (int at = 0; at <= bytes.Length; at++)
        {
            Assert.Equal(expected, Decode([bytes[..at], bytes[at..]]));
        }
    }

    [Fact]
    public void Rows_after_each_other_mean_what_they_mean_alone()
    {
        string all = string.Concat(Table.Select(row => (string)row[0]));
        string expected = string.Join(' ', Table.Select(row => (string)row[1]).Where(text => text.Length > 0));
        Assert.Equal(expected, Decode([Encoding.UTF8.GetBytes(all)]));
    }

    [Theory]
    [MemberData(nameof(PauseTable))]
    public void A_pause_ends_what_has_begun(string bytes, string expected) => Assert.Equal(expected, Decode([Encoding.UTF8.GetBytes(bytes)], pause: true));

    [Fact]
    public void Bytes_that_are_no_characters_are_dropped_and_the_next_key_is_itself()
    {
        Assert.Equal("x", Decode([[0xff, 0x80, 0xc0, 0xaf, (byte)'x']]));
        Assert.Equal("x", Decode([[0xe2, 0x82, (byte)'x']]));
        Assert.Equal("Up", Decode([[0xf0, 0x9f, 0x1b, (byte)'[', (byte)'A']]));
    }

    [Fact]
    public void Only_what_has_begun_is_waited_for_and_a_paste_longer_than_a_key()
    {
        var decoder = new InputDecoder(_ => { }, _ => { });
        Assert.Null(decoder.Patience);
        decoder.Feed("\e"u8);
        TimeSpan key = decoder.Patience!.Value;
        decoder.Feed("[200~"u8);
        Assert.True(decoder.Patience > key);
        decoder.Feed("\e[201~"u8);
        Assert.Null(decoder.Patience);
    }

    [Fact]
    public void A_paste_is_bounded_and_what_comes_behind_it_is_not_lost()
    {
        string text = Decode([Encoding.ASCII.GetBytes("\e[200~" + new string('p', 3 * InputDecoder.PasteLimit) + "\e[201~x")]);
        Assert.Equal(InputDecoder.PasteLimit + "Paste() x".Length, text.Length);
        Assert.EndsWith(") x", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\e[")]
    [InlineData("\e]")]
    [InlineData("\eP")]
    [InlineData("\eO")]
    public void A_sequence_that_never_ends_is_given_up(string begin)
    {
        var events = new List<object>();
        var decoder = new InputDecoder(events.Add, events.Add);
        decoder.Feed(Encoding.ASCII.GetBytes(begin + new string('1', 1 << 16)));
        events.Clear();
        decoder.Pause();
        decoder.Feed("x"u8);
        Assert.Equal("x", InputText.Of(events));
    }

    [Fact]
    public void Garbage_never_throws_and_after_a_pause_a_key_is_a_key()
    {
        var random = new Random(6);
        byte[] likely = "\e\e\e[[O]P<;:?0123456789~AMmuycR$\a\\\x18"u8.ToArray();
        for (int round = 0; round < 20_000; round++)
        {
            var events = new List<object>();
            var decoder = new InputDecoder(events.Add, events.Add);
            byte[] bytes = new byte[random.Next(1, 40)];
            for (int i = 0; i < bytes.Length; i++)
            {
                bytes[i] = random.Next(4) > 0 ? likely[random.Next(likely.Length)] : (byte)random.Next(256);
            }

            decoder.Feed(bytes);
            decoder.Pause();
            Assert.Null(decoder.Patience);
            Assert.True(events.Count <= bytes.Length + 1);
            events.Clear();
            decoder.Feed("x"u8);
            Assert.Equal("x", InputText.Of(events));
        }
    }

    private static string Decode(IEnumerable<byte[]> pieces, bool pause = false)
    {
        var events = new List<object>();
        var decoder = new InputDecoder(events.Add, events.Add);
        foreach (byte[] piece in pieces)
        {
            decoder.Feed(piece);
        }

        if (pause)
        {
            decoder.Pause();
        }

        Assert.Null(decoder.Patience);
        return InputText.Of(events);
    }
}
