using System.Text;
using KTrace.Rsp;

namespace KTrace.Tests.Rsp;

public sealed class StopReplyTests
{
    public static TheoryData<string, string> Replies => new()
    {
        { "S05", "stopped 5 - signal" },
        { "T05thread:01;", "stopped 5 1 signal" },
        { "T05thread:p01.02;", "stopped 5 p1.2 signal" },
        { "T02thread:p1.-1;", "stopped 2 p1.-1 signal" },
        { "T05thread:p01.01;watch:ffff888000014981;", "stopped 5 p1.1 watch Write ffff888000014981" },
        { "T05thread:01;rwatch:ffff888000014981;", "stopped 5 1 watch Read ffff888000014981" },
        { "T05awatch:10;thread:01;", "stopped 5 1 watch Access 10" },
        { "T05swbreak:;thread:p1.1;core:0;", "stopped 5 p1.1 breakpoint soft" },
        { "T05thread:p1.1;hwbreak:;", "stopped 5 p1.1 breakpoint hard" },
        { "T0506:00000000000000;07:90e5ffffff7f0000;10:5051e6f7ff7f0000;thread:p1.1;core:1;", "stopped 5 p1.1 signal" },
        { "T05replaylog:begin;", "stopped 5 - replaylog begin" },
        { "T05library:;thread:1;", "stopped 5 1 event library" },
        { "T05fork:p2.2;thread:p1.1;", "stopped 5 p1.1 event fork" },
        { "T05something-new:1,2;thread:1", "stopped 5 1 signal" },
        { "W00", "exited 0" },
        { "W2a;process:1", "exited 42" },
        { "W0;process:647c", "exited 0" },
        { "Wffffffff", "exited -1" },
        { "N", "stopped 0 - event no-resumed" },
        { "X09", "terminated 9" },
        { "X9;process:1", "terminated 9" },
    };

    [Theory]
    [MemberData(nameof(Replies))]
    public void Each_form_is_read(string reply, string expected) => Assert.Equal(expected, Describe(StopReply.Parse(Encoding.ASCII.GetBytes(reply))));

    [Theory]
    [InlineData("")]
    [InlineData("T")]
    [InlineData("T5")]
    [InlineData("S055")]
    [InlineData("Txxthread:1;")]
    [InlineData("T05thread;")]
    [InlineData("T05thread:zz;")]
    [InlineData("T05watch:;")]
    [InlineData("T05watch:11223344556677889;")]
    [InlineData("W00rest")]
    [InlineData("W")]
    [InlineData("W123456789")]
    [InlineData("W00;thread:1")]
    [InlineData("W00;process:x")]
    [InlineData("T05core:x;")]
    [InlineData("T0506:001;")]
    [InlineData("T0506:zz;")]
    [InlineData("OK")]
    public void What_is_no_stop_reply_is_a_protocol_error(string reply) =>
        Assert.Equal(RspErrorKind.Protocol, Assert.Throws<RspException>(() => StopReply.Parse(Encoding.ASCII.GetBytes(reply))).Kind);

    [Fact]
    public void Registers_core_and_process_are_kept()
    {
        var stop = (StopReply.Stopped)StopReply.Parse("T0b06:0011;10:xx22;thread:p1.1;core:1f;fork:p2.2;"u8);
        Assert.Equal([new StopRegister(6, "0011"), new StopRegister(0x10, "xx22")], stop.Registers.ToArray());
        Assert.Equal(0x1f, stop.Core);
        Assert.Equal(new StopReason.Event("fork", "p2.2"), stop.Reason);
        Assert.Equal(0xb, stop.Signal);
        Assert.True(((StopReply.Stopped)StopReply.Parse("T05thread:01;"u8)).Registers.IsDefault);
        Assert.Equal(0x7d2, ((StopReply.Exited)StopReply.Parse("W07;process:7d2"u8)).Process);
        Assert.Equal(0x7d2, ((StopReply.Terminated)StopReply.Parse("X0b;process:7d2"u8)).Process);
    }

    [Fact]
    public void An_error_shows_control_characters_and_is_bounded()
    {
        var message = Assert.Throws<RspException>(() => StopReply.Parse(Encoding.Latin1.GetBytes("T\x1b[2J" + new string('x', 5000)))).Message;
        Assert.Contains("T\\x1b[2J", message, StringComparison.Ordinal);
        Assert.Contains("5005 bytes", message, StringComparison.Ordinal);
        Assert.InRange(message.Length, 0, 200);
    }

    [Theory]
    [InlineData("-1", null, -1L)]
    [InlineData("0", null, 0L)]
    [InlineData("1f", null, 31L)]
    [InlineData("p1.2", 1L, 2L)]
    [InlineData("p2", 2L, -1L)]
    [InlineData("p-1.-1", -1L, -1L)]
    public void Thread_ids_are_read(string text, long? process, long thread)
    {
        Assert.True(ThreadId.TryParse(Encoding.ASCII.GetBytes(text), out var id));
        Assert.Equal(new ThreadId(process, thread), id);
    }

    private static string Describe(StopReply reply) => reply switch
    {
        StopReply.Stopped stopped => $"stopped {stopped.Signal} {stopped.Thread?.ToString() ?? "-"} " + stopped.Reason switch
        {
            StopReason.Watchpoint watch => $"watch {watch.Kind} {watch.Address:x}",
            StopReason.Breakpoint breakpoint => breakpoint.Hardware ? "breakpoint hard" : "breakpoint soft",
            StopReason.ReplayLog log => $"replaylog {log.Edge}",
            StopReason.Event other => $"event {other.Name}",
            _ => "signal",
        },
        StopReply.Exited exited => $"exited {exited.Code}",
        StopReply.Terminated terminated => $"terminated {terminated.Signal}",
        _ => "",
    };
}
