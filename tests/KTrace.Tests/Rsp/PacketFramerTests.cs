using System.Text;
using KTrace.Rsp;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp;

public sealed class PacketFramerTests
{
    /// <summary>Wire bytes → what must be found in them.</summary>
    public static TheoryData<string, string> Framings => new()
    {
        { "$OK#9a", "packet OK" },
        { "$#00", "packet " },
        { "+$OK#9a", "ack; packet OK" },
        { "-+", "nack; ack" },
        { "\x03", "interrupt" },
        { "\x03$OK#9a\x03", "interrupt; packet OK; interrupt" },
        { "$OK#9A$OK#9a", "packet OK; packet OK" },
        { "%Stop:T05#99", "notification Stop:T05" },
        { "$0* #7a", "packet 0000" },
        { "$0*~#d8", "packet " + new string('0', 98) },
        { "$a}\x03}\x04}]}\x0a#c3", "packet a#$}*" },
        { "$}]*!#25", "packet }]]]]" },
        { "garbage\r\n$OK#9a", "packet OK" },
        { "$half$OK#9a", "packet OK" },
        { "$OK#99", "bad its checksum is `99`, the bytes make 9a" },
        { "$OK#9g$OK#9a", "bad its checksum is `9g`, the bytes make 9a; packet OK" },
        { "$*!#4b", "bad a run begins with nothing before it" },
        { "$a*\x1f#aa", "bad a run has the length byte 0x1f" },
        { "$a}#f2", "bad `#` follows the escape character; nothing" },
    };

    [Theory]
    [MemberData(nameof(Framings))]
    public void Each_framing_gives_its_events_whole_byte_by_byte_and_split_at_every_offset(string wire, string expected)
    {
        var bytes = Encoding.Latin1.GetBytes(wire);
        expected = expected.Replace("; nothing", "", StringComparison.Ordinal);
        Assert.Equal(expected, Events([bytes]));
        Assert.Equal(expected, Events([.. bytes.Select(b => new[] { b })]));
        for (var i = 0; i <= bytes.Length; i++)
        {
            Assert.Equal(expected, Events([bytes[..i], bytes[i..]]));
        }
    }

    [Fact]
    public void A_packet_of_the_longest_size_is_taken_and_one_byte_more_is_too_large()
    {
        var longest = FakeStub.Frame(new string('x', 10_000));
        Assert.Equal("packet " + new string('x', 10_000), Events([longest], 10_000));
        Assert.StartsWith("too large", Events([longest], 9_999), StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_cannot_grow_a_packet_beyond_the_limit() =>
        Assert.StartsWith("too large", Events([Encoding.ASCII.GetBytes("$x*~*~*~*~*~#00")], 200), StringComparison.Ordinal);

    [Fact]
    public void What_arrived_of_an_unfinished_packet_can_be_seen()
    {
        var framer = new PacketFramer(100);
        ReadOnlySpan<byte> input = "$T05thr"u8;
        Assert.Equal(FramerEvent.NeedMore, framer.Read(ref input));
        Assert.True(framer.InPacket);
        Assert.Equal("T05thr"u8, framer.Payload);
    }

    [Fact]
    public void The_vector_sum_is_the_sum_of_the_bytes()
    {
        var random = new Random(1);
        for (var length = 0; length < 200; length++)
        {
            var bytes = new byte[length];
            random.NextBytes(bytes);
            Assert.Equal((byte)bytes.Sum(b => b), PacketFramer.Sum(bytes));
        }
    }

    [Fact]
    public void Mutated_streams_never_throw_and_their_events_do_not_depend_on_the_chunks()
    {
        var random = new Random(20);
        var seeds = Framings.Select(row => Encoding.Latin1.GetBytes((string)row[0])).ToArray();
        for (var round = 0; round < 5_000; round++)
        {
            var bytes = Mutation.OfText([.. seeds[random.Next(seeds.Length)], .. seeds[random.Next(seeds.Length)]], random);
            var whole = Trusted(Events([bytes], 300));
            var cut = random.Next(bytes.Length + 1);
            Assert.Equal(whole, Trusted(Events([bytes[..cut], bytes[cut..]], 300)));
        }

        // Behind a packet that is too large the stream is given up.
        static string Trusted(string events) => events.Split("too large")[0];
    }

    [Fact]
    public void What_the_writer_writes_the_framer_reads_back()
    {
        var random = new Random(3);
        for (var round = 0; round < 500; round++)
        {
            var bytes = new byte[random.Next(300)];
            random.NextBytes(bytes);
            var writer = new PacketWriter();
            writer.BeginPacket();
            writer.Binary(bytes);
            writer.EndPacket();
            var framer = new PacketFramer(1000);
            var input = writer.Written.Span;
            Assert.Equal(FramerEvent.Packet, framer.Read(ref input));
            Assert.Equal(bytes, framer.Payload);
        }
    }

    [Fact]
    public void A_packet_that_the_stub_cannot_take_is_refused_and_taken_back()
    {
        var writer = new PacketWriter { MaxPayload = 5 };
        writer.BeginPacket();
        writer.Text("12345"u8);
        writer.EndPacket();
        var before = writer.Written.ToArray();
        writer.BeginPacket();
        writer.Text("123456"u8);
        Assert.Equal(RspErrorKind.Unsupported, Assert.Throws<RspException>(writer.EndPacket).Kind);
        Assert.Equal(before, writer.Written.ToArray());
    }

    private static string Events(byte[][] chunks, int maxPayload = 1000)
    {
        var framer = new PacketFramer(maxPayload);
        var events = new List<string>();
        foreach (var chunk in chunks)
        {
            ReadOnlySpan<byte> input = chunk;
            while (framer.Read(ref input) is not FramerEvent.NeedMore and var found)
            {
                var text = Encoding.Latin1.GetString(framer.Payload);
                events.Add(found switch
                {
                    FramerEvent.Packet => "packet " + text,
                    FramerEvent.Notification => "notification " + text,
                    FramerEvent.BadPacket => "bad " + framer.Fault,
                    FramerEvent.TooLarge => "too large",
                    _ => found.ToString().ToLowerInvariant(),
                });
            }
        }

        return string.Join("; ", events);
    }
}
