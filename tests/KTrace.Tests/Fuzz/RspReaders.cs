using System.Text;
using KTrace.Debugger.Interrupts;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Tests.Debugger.Interrupts;
using KTrace.Tests.Rsp;
using KTrace.Tests.Support;

namespace KTrace.Tests.Fuzz;

/// <summary>What a stub says.</summary>
internal static class RspReaders
{
    private static readonly ThreadId s_cpu = new(1, 1);

    private static readonly (string Reply, Action<byte[]> Read)[] s_answers =
    [
        ("00112233", reply => new ReadMemory(0, new byte[4]).Read(reply)),
        ("b\u0001\u0002}\u0003", reply => new ReadMemoryBinary(0, new byte[4]).Read(reply)),
        ("QCp01.01", reply => new QueryCurrentThread().Read(reply)),
        ("mp01.01,p01.02", reply => new QueryThreads(true).Read(reply)),
        ("435055", reply => new QueryThreadExtra(s_cpu).Read(reply)),
        ("ENABLE=1,NOIRQ=2,NOTIMER=4", reply => new QueryStepBits().Read(reply)),
        ("0x7", reply => new QueryStepMask().Read(reply)),
        ("vCont;c;C;s;S", reply => new QueryVContActions().Read(reply)),
        ("PacketSize=1000;qXfer:features:read+;a=b", reply => StubFeatures.Parse(reply)),
        ("O616263", reply => new MonitorCommand("x", 5).Read(reply)),
    ];

    public static IEnumerable<FuzzReader> All =>
    [
        new("rsp-packets", 5, Packets, [Mutation.OfText, Mutation.OfBytes], Packet, FuzzReader.Protocol),
        new("rsp-stops", 4, Stops, [Mutation.OfText], Stop, FuzzReader.Protocol),
        new("rsp-answers", 5, Answers, [Mutation.OfText, Mutation.OfBytes], Answer, FuzzReader.Protocol),
        new("rsp-target-xml", 5, Descriptions, [Mutation.OfText, Mutation.OfBytes], Description, FuzzReader.Protocol),
        new("monitor-controllers", 3, Controllers, [Mutation.OfText, Mutation.OfBytes], Controller, _ => "is not declared"),
        new("rsp-transcripts", 2, Transcripts, [Mutation.OfText], Transcript, e => e is FormatException { Message.Length: > 0 } ? null : "is not declared"),
    ];

    private static IReadOnlyList<FuzzSeed> Packets(ScratchFolder folder) =>
        [.. new[] { "+$OK#9a$m0* #f7", "$T05thread:01;#07+-$#00", "%Stop:T05#1c$abc}\u0003#00", "$0*,#56$" + new string('a', 200) + "#00" }.Select(s => FuzzSeed.OfFile(s[..4], Encoding.Latin1.GetBytes(s)))];

    private static void Packet(FuzzCase c)
    {
        // What is found must not depend on how the bytes arrive.
        var whole = Events([c.Bytes]);
        var cut = c.Random.Next(c.Bytes.Length + 1);
        Assert.Equal(whole, Events([c.Bytes[..cut], c.Bytes[cut..]]));
        c.Ask(() => { });
    }

    private static string Events(byte[][] chunks)
    {
        var framer = new PacketFramer(300);
        var events = new StringBuilder();
        foreach (var chunk in chunks)
        {
            ReadOnlySpan<byte> input = chunk;
            while (framer.Read(ref input) is not FramerEvent.NeedMore and var found)
            {
                events.Append(found).Append(' ')
                    .Append(found is FramerEvent.Packet or FramerEvent.Notification ? Encoding.Latin1.GetString(framer.Payload) : found is FramerEvent.BadPacket ? framer.Fault : "").Append(';');
                if (found is FramerEvent.TooLarge)
                {
                    // Nothing behind it is to be trusted, and the connection ends there.
                    return events.ToString();
                }
            }
        }

        return events.ToString();
    }

    private static IReadOnlyList<FuzzSeed> Stops(ScratchFolder folder) => [.. StopReplyTests.Replies.Select(row => FuzzSeed.OfText((string)row[0], (string)row[0]))];

    private static void Stop(FuzzCase c)
    {
        c.Ask(() => StopReply.Parse(c.Bytes));
        c.Ask(() => ThreadId.TryParse(c.Bytes, out _));
    }

    private static IReadOnlyList<FuzzSeed> Answers(ScratchFolder folder) =>
        [.. s_answers.Select(a => FuzzSeed.OfFile(a.Reply, Encoding.Latin1.GetBytes(a.Reply), a.Read))];

    private static void Answer(FuzzCase c)
    {
        if (c.Bytes.Length > 0)
        {
            c.Ask(() => ((Action<byte[]>)c.Seed.Context!)(c.Bytes));
        }
    }

    private static IReadOnlyList<FuzzSeed> Descriptions(ScratchFolder folder) =>
        [FuzzSeed.OfText("qemu", FakeStub.TargetXml.Replace("""<xi:include href="core.xml"/>""", FakeStub.CoreXml[21..], StringComparison.Ordinal)), FuzzSeed.OfText("includes", FakeStub.TargetXml)];

    private static void Description(FuzzCase c)
    {
        c.Ask(() =>
        {
            var description = TargetDescription.LoadAsync((file, _) => new(file == "target.xml" ? c.Bytes : Encoding.UTF8.GetBytes(FakeStub.CoreXml))).AsTask().GetAwaiter().GetResult();
            var block = new RegisterBlock(description.Layout);
            block.TryFill("8877665544332211efcdab8967452301"u8);
            foreach (var register in description.Layout.Registers)
            {
                block.TryGetValue(register, out _);
            }
        });
    }

    private static IReadOnlyList<FuzzSeed> Controllers(ScratchFolder folder) =>
        [FuzzSeed.OfText("lapic", ControllerTextTests.BusyLocalApic), FuzzSeed.OfText("pic", ControllerTextTests.Controllers)];

    private static void Controller(FuzzCase c)
    {
        c.Ask(() => ControllerText.ParseLocalApic(c.Text, 0));
        c.Ask(() => ControllerText.ParsePic(c.Text));
    }

    private static IReadOnlyList<FuzzSeed> Transcripts(ScratchFolder folder)
    {
        const string Transcript = "# ktrace rsp transcript 1\n> g\n< 00112233\\x1b\n! interrupt\n% Stop:T05\n";
        return [FuzzSeed.OfText("transcript", Transcript)];
    }

    private static void Transcript(FuzzCase c) => c.Ask(() => RspTranscript.Read(new StringReader(c.Text)).Count().ToString());
}
