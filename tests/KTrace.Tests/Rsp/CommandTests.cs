using System.Text;
using KTrace.Rsp;
using KTrace.Rsp.Commands;

namespace KTrace.Tests.Rsp;

public sealed class CommandTests
{
    private static readonly ThreadId s_cpu = new(1, 2);

    /// <summary>Request → its packet's payload (Latin-1).</summary>
    public static TheoryData<RspRequest, string> Payloads => new()
    {
        { new ReadMemory(0xffffffff81000000, new byte[0x800]), "mffffffff81000000,800" },
        { new ReadMemory(0, new byte[1]), "m0,1" },
        { new ReadMemoryBinary(0x10, new byte[16]), "x10,10" },
        { new WriteMemory(0x1000, new byte[] { 0, 0x7f, 0xff }), "M1000,3:007fff" },
        { new WriteMemoryBinary(0x1000, "a#$}*\0"u8.ToArray()), "X1000,6:a}\x03}\x04}]}\x0a\0" },
        { new WriteMemoryBinary(0x1000, default), "X1000,0:" },
        { new SelectThread(s_cpu), "Hgp1.2" },
        { new SelectThread(ThreadId.All), "Hg-1" },
        { new SelectResumeThread(ThreadId.Any), "Hc0" },
        { new InsertBreakpoint(BreakpointKind.Software, 0xffffffff8132bb10), "Z0,ffffffff8132bb10,1" },
        { new InsertBreakpoint(BreakpointKind.Hardware, 0x10), "Z1,10,1" },
        { new InsertBreakpoint(BreakpointKind.WriteWatchpoint, 0x10, 8), "Z2,10,8" },
        { new InsertBreakpoint(BreakpointKind.ReadWatchpoint, 0x10, 4), "Z3,10,4" },
        { new InsertBreakpoint(BreakpointKind.AccessWatchpoint, 0x10, 2), "Z4,10,2" },
        { new RemoveBreakpoint(BreakpointKind.Hardware, 0x10), "z1,10,1" },
        { new RemoveBreakpoint(BreakpointKind.AccessWatchpoint, 0x10, 2), "z4,10,2" },
        { new ContinueAll(), "vCont;c" },
        { new ContinueAll(11), "vCont;C0b" },
        { new ContinueThread(s_cpu), "vCont;c:p1.2" },
        { new StepThread(s_cpu), "vCont;s:p1.2" },
        { new StepThread(s_cpu, OthersRun: true), "vCont;s:p1.2;c" },
        { new StepThread(new ThreadId(null, 3), Signal: 5), "vCont;S05:3" },
        { new PlainContinue(), "c" },
        { new PlainContinue(2), "C02" },
        { new PlainStep(), "s" },
        { new PlainStep(2), "S02" },
        { new ReverseContinue(), "bc" },
        { new ReverseStep(), "bs" },
        { new QuerySupported("multiprocess+"), "qSupported:multiprocess+" },
        { new StartNoAckMode(), "QStartNoAckMode" },
        { new QueryHaltReason(), "?" },
        { new QueryVContActions(), "vCont?" },
        { new TransferObject("features", "target.xml", 0x7fd, 0xffb), "qXfer:features:read:target.xml:7fd,ffb" },
        { new QueryCurrentThread(), "qC" },
        { new QueryThreads(First: true), "qfThreadInfo" },
        { new QueryThreads(First: false), "qsThreadInfo" },
        { new QueryThreadExtra(s_cpu), "qThreadExtraInfo,p1.2" },
        { new QueryStepBits(), "qqemu.sstepbits" },
        { new QueryStepMask(), "qqemu.sstep" },
        { new SetStepMask(StepMask.Enable | StepMask.NoTimers), "Qqemu.sstep=5" },
        { new SetPhysicalMemoryMode(true), "Qqemu.PhyMemMode:1" },
        { new SetPhysicalMemoryMode(false), "Qqemu.PhyMemMode:0" },
        { new Detach(1), "D;1" },
        { new Detach(null), "D" },
        { new Kill(), "k" },
        { new MonitorCommand("info registers", 10), "qRcmd,696e666f20726567697374657273" },
    };

    [Theory]
    [MemberData(nameof(Payloads))]
    public void Each_request_has_its_bytes(RspRequest request, string payload) => Assert.Equal(payload, Payload(request));

    [Fact]
    public async Task Register_requests_use_the_targets_numbers()
    {
        var layout = (await TargetDescriptionTests.LoadAsync(
            """<target><reg name="a" bitsize="32"/><reg name="b" bitsize="16" regnum="17"/></target>""")).Layout;
        Assert.True(layout.TryFind("b", out var register));
        var block = new RegisterBlock(layout);
        block.SetValue(register, 0x1234);
        Assert.Equal("g", Payload(new ReadRegisters(block)));
        Assert.Equal("p11", Payload(new ReadRegister(register, block)));
        Assert.Equal("P11=3412", Payload(new WriteRegister(register, block)));
        Assert.Equal("G000000003412", Payload(new WriteRegisters(block)));
    }

    [Theory]
    [InlineData(1, "00")]
    [InlineData(4, "00fFaB12")]
    [InlineData(4, "00ff")]
    public void Memory_is_decoded_into_the_callers_buffer(int room, string reply)
    {
        var buffer = new byte[room];
        Assert.Equal(reply.Length / 2, new ReadMemory(0, buffer).Read(Encoding.ASCII.GetBytes(reply)));
        Assert.Equal(Convert.FromHexString(reply), buffer[..(reply.Length / 2)]);
    }

    [Theory]
    [InlineData(1, "0000")]
    [InlineData(4, "0")]
    [InlineData(4, "0g")]
    public void Memory_that_is_malformed_or_too_much_is_a_protocol_error(int room, string reply)
    {
        var request = new ReadMemory(0x10, new byte[room]);
        var e = Assert.Throws<RspException>(() => request.Read(Encoding.ASCII.GetBytes(reply)));
        Assert.Equal(RspErrorKind.Protocol, e.Kind);
        Assert.Contains($"`m10,{room}`", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Binary_memory_is_taken_after_its_mark()
    {
        var buffer = new byte[3];
        Assert.Equal(2, new ReadMemoryBinary(0, buffer).Read([(byte)'b', 1, 255]));
        Assert.Equal(new byte[] { 1, 255, 0 }, buffer);
        Assert.Throws<RspException>(() => new ReadMemoryBinary(0, buffer).Read("b1234"u8));
        Assert.Throws<RspException>(() => new ReadMemoryBinary(0, buffer).Read("12"u8));
    }

    [Fact]
    public void Answers_of_queries_are_read()
    {
        Assert.Equal(new ThreadId(1, 1), new QueryCurrentThread().Read("QCp01.01"u8));
        Assert.Equal([new(1, 1), new(1, 2)], new QueryThreads(true).Read("mp01.01,p01.02"u8));
        Assert.Empty(new QueryThreads(true).Read("l"u8));
        Assert.Equal("CPU#0 [running]", new QueryThreadExtra(s_cpu).Read("4350552330205b72756e6e696e675d"u8));
        Assert.Equal(StepMask.Enable | StepMask.NoInterrupts | StepMask.NoTimers, new QueryStepBits().Read("ENABLE=1,NOIRQ=2,NOTIMER=4"u8));
        Assert.Equal((StepMask)7, new QueryStepMask().Read("0x7"u8));
        Assert.Equal(["c", "C", "s", "S"], new QueryVContActions().Read("vCont;c;C;s;S"u8));
    }

    [Fact]
    public void Features_are_read_and_bounded()
    {
        var features = StubFeatures.Parse("PacketSize=1000;qXfer:features:read+;ReverseStep-;multiprocess+;odd"u8);
        Assert.Equal(4096, features.PacketSize);
        Assert.Equal(2048, features.MaxMemoryRead);
        Assert.True(features.TargetXml && features.Multiprocess);
        Assert.False(features.ReverseStep || features.ReverseContinue || features.NoAckMode);
        Assert.Throws<RspException>(() => StubFeatures.Parse("PacketSize=1"u8));
        Assert.Throws<RspException>(() => StubFeatures.Parse("PacketSize=ffffffffff"u8));
        Assert.Throws<RspException>(() => StubFeatures.Parse("PacketSize="u8));
        Assert.Throws<RspException>(() => StubFeatures.Parse("PacketSize=0x1000"u8));
    }

    [Fact]
    public void Monitor_output_is_collected_up_to_the_limit()
    {
        var command = new MonitorCommand("x", 5);
        Assert.False(command.Read("O616263"u8));
        Assert.False(command.Read("O646566"u8));
        Assert.True(command.Read("OK"u8));
        Assert.Equal("abcde", command.Output);
        Assert.True(command.Truncated);
        Assert.True(new MonitorCommand("x", 5).Read("6162"u8));
    }

    private static string Payload(RspRequest request)
    {
        var writer = new PacketWriter();
        writer.BeginPacket();
        request.Write(writer);
        writer.EndPacket();
        return Encoding.Latin1.GetString(writer.Payload(0));
    }
}
