using System.Text;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp;

/// <summary>Requests, replies and states against a scripted stub; what goes wrong is in RspClientTroubleTests.</summary>
public sealed class RspClientTests
{
    private static readonly RspClientOptions s_options = new() { RequestTimeout = TimeSpan.FromSeconds(20), InterruptTimeout = TimeSpan.FromMilliseconds(200) };

    [Fact]
    public async Task The_handshake_reads_the_description_before_it_asks_why_the_target_is_stopped()
    {
        await using var stub = FakeStub.Qemu();
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        Assert.Equal(
            [FakeStub.ClientHello, "qqemu.sstepbits", "vCont?", "qXfer:features:read:target.xml:0,ffb", "qXfer:features:read:core.xml:0,ffb", "?"],
            stub.Requests);
        Assert.Equal(StubProfile.Qemu, client.Profile);
        Assert.Equal(RspState.Stopped, client.State);
        Assert.Equal(new StopReply.Stopped(5, new ThreadId(1, 1), StopReason.Signal.Only), client.LastStop);
        Assert.Equal(["rax", "rip", "eflags", "st0"], client.Layout.Registers.Select(r => r.Name));
    }

    [Fact]
    public async Task Acknowledgements_end_when_the_stub_offers_that()
    {
        await using var stub = FakeStub.Speaking("PacketSize=1000;QStartNoAckMode+;qXfer:features:read+;QProgramSignals+");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        Assert.Equal("gdbserver", client.Profile.Name);
        Assert.Equal(["vCont?", "Hg0", "qXfer:features:read:target.xml:0,ffb"], stub.Requests.Skip(3).Take(3));
        var seen = stub.Seen;
        Assert.Equal([FakeStub.ClientHello, "+", "QStartNoAckMode", "+"], seen.Take(4));
        Assert.DoesNotContain("+", seen.Skip(4));
    }

    [Fact]
    public async Task A_stub_without_anything_still_gives_memory_and_resumes_the_old_way()
    {
        await using var stub = new FakeStub().On("?", "S05").On("Hc3", "OK").On("m10,2", "abcd").On("s", "S05").On("c", "S05");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        Assert.Equal(StubProfile.Unknown, client.Profile);
        Assert.Null(client.Description);
        Assert.Equal(RspErrorKind.Unsupported, Assert.Throws<RspException>(() => client.Layout).Kind);
        var buffer = new byte[2];
        Assert.True((await client.ReadMemoryAsync(0x10, buffer)).IsComplete);
        Assert.Equal([0xab, 0xcd], buffer);
        await client.StepAsync(new ThreadId(null, 3));
        await client.WaitForStopAsync();
        await client.ContinueAsync();
        Assert.IsType<StopReply.Stopped>(await client.WaitForStopAsync());
        Assert.Equal(["Hc3", "s", "c"], stub.Requests.TakeLast(3));
        Assert.Equal(2, client.Resumes);
    }

    [Fact]
    public async Task A_batch_that_ends_with_a_step_is_sent_before_any_reply_is_read()
    {
        await using var stub = FakeStub.Qemu()
            .On("g", "8877665544332211efcdab8967452301" + "46020000" + new string('0', 20))
            .On("m1000,4", "00112233")
            .On("m2000,4", "E14")
            .On("vCont;s:p1.1", "T05thread:p01.01;");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        stub.HoldUntil("vCont;s:p1.1");
        var block = new RegisterBlock(client.Layout);
        var memory = new byte[4];
        var outcomes = new RspOutcome[4];
        await client.SendBatchAsync(
            new RspCommand[] { new ReadRegisters(block), new ReadMemory(0x1000, memory), new ReadMemory(0x2000, new byte[4]), client.StepCommand() }, outcomes);
        Assert.Equal(RspState.Running, client.State);
        Assert.Equal(
            [new(RspStatus.Ok, 0, 30), new(RspStatus.Ok, 0, 4), new(RspStatus.Refused, 0x14, 0), new(RspStatus.Running, 0, 0)], outcomes);
        Assert.Equal([0x00, 0x11, 0x22, 0x33], memory);
        Assert.IsType<StopReply.Stopped>(await client.WaitForStopAsync());
        Assert.Equal(RspState.Stopped, client.State);
    }

    [Fact]
    public async Task A_resume_whose_replies_nobody_wants_leaves_them_to_whoever_waits_for_the_stop()
    {
        // The reply comes when the target has run already, and is a refusal.
        await using var stub = FakeStub.Qemu().Silent("m0,1").On("m1,1", "17");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.SendAndRunAsync(new RspCommand[] { new ReadMemory(0, new byte[1]), client.ContinueCommand }, new RspOutcome[2]);
        Assert.Equal(RspState.Running, client.State);
        Assert.Equal(1, client.Resumes);
        await stub.SendAsync("vCont;c", "E14", "T05thread:p01.01;");
        Assert.IsType<StopReply.Stopped>(await client.WaitForStopAsync());
        var memory = new byte[1];
        await client.SendAsync(new ReadMemory(1, memory));
        Assert.Equal(0x17, memory[0]);
        Assert.Equal(["+", "m0,1", "vCont;c", "+", "m1,1"], stub.Seen.TakeLast(5));
        Assert.Equal(0, client.StrayStopReplies);
    }

    [Fact]
    public async Task Acknowledgements_to_QEMU_ride_on_the_next_request_and_never_follow_a_resume()
    {
        await using var stub = FakeStub.Qemu().On("m0,1", "00").On("m1,1", "00");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.SendBatchAsync(new RspCommand[] { new ReadMemory(0, new byte[1]), new ReadMemory(1, new byte[1]), client.ContinueCommand }, new RspOutcome[3]);
        await stub.SendAsync("vCont;c", "T05thread:p01.01;");
        await client.WaitForStopAsync();
        await client.SendAsync(new ReadMemory(0, new byte[1]));
        Assert.Equal(["+", "m0,1", "m1,1", "vCont;c", "+", "m0,1"], stub.Seen.TakeLast(6));
    }

    [Fact]
    public async Task An_unknown_stub_with_acknowledgements_gets_one_request_at_a_time()
    {
        await using var stub = FakeStub.Speaking("PacketSize=1000").On("m0,1", "00").On("m1,1", "00");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.SendBatchAsync(new RspCommand[] { new ReadMemory(0, new byte[1]), new ReadMemory(1, new byte[1]), client.ContinueCommand }, new RspOutcome[3]);
        await stub.SendAsync("vCont;c", "T05thread:p01.01;");
        await client.WaitForStopAsync();
        Assert.Equal(["m0,1", "+", "m1,1", "+", "vCont;c"], stub.Seen.SkipWhile(text => text != "m0,1").Take(5));
    }

    [Fact]
    public async Task A_refused_range_is_split_at_pages_and_only_pages_that_are_refused_are_unreadable()
    {
        // 0x1800 to 0x5000; the page at 0x3000 is not mapped, and the stub refuses whole ranges because of it.
        await using var stub = FakeStub.Speaking("PacketSize=20000;QStartNoAckMode+");
        stub.Otherwise = request => request[0] != 'm' ? [""] : Overlaps(request, 0x3000, 0x4000, out var length) ? ["E14"] : [new string('7', length * 2)];
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var buffer = new byte[0x3800];
        var read = await client.ReadMemoryAsync(0x1800, buffer);
        Assert.Equal([new UnreadableRange(0x3000, 0x1000, 0x14)], read.Unreadable);
        Assert.Equal(0x1800, read.ReadableFromStart);
        Assert.All(buffer[..0x1800], b => Assert.Equal(0x77, b));
        Assert.All(buffer[0x1800..0x2800], b => Assert.Equal(0, b));
        Assert.All(buffer[0x2800..], b => Assert.Equal(0x77, b));
        Assert.Equal(["m1800,3800", "m1800,800", "m2000,1000", "m3000,1000", "m4000,1000"], stub.Requests.TakeLast(5));
    }

    [Fact]
    public async Task A_large_read_is_split_at_what_a_packet_carries_and_a_short_answer_is_asked_on()
    {
        await using var stub = FakeStub.Qemu();
        stub.Otherwise = request => request[0] != 'm' ? [""] : [new string('7', request.EndsWith(",800", StringComparison.Ordinal) ? 4096 : 2 * 0x10)];
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var buffer = new byte[0x1020];
        Assert.True((await client.ReadMemoryAsync(0xffffffff81000010 - 0x10, buffer)).IsComplete);
        Assert.All(buffer, b => Assert.Equal(0x77, b));
        Assert.Equal(
            ["mffffffff81000000,800", "mffffffff81000800,800", "mffffffff81001000,20", "mffffffff81001010,10"],
            stub.Requests.Where(r => r[0] == 'm'));
    }

    [Fact]
    public async Task What_lies_beyond_the_end_of_the_address_space_is_unreadable()
    {
        await using var stub = FakeStub.Qemu().On("mfffffffffffffff8,8", "0011223344556677");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var read = await client.ReadMemoryAsync(0xfffffffffffffff8, new byte[12]);
        Assert.Equal(8, read.ReadableFromStart);
        Assert.Equal([new UnreadableRange(0, 4, 0)], read.Unreadable);
    }

    [Fact]
    public async Task Memory_is_written_as_bytes_where_the_stub_can_and_in_digits_otherwise()
    {
        await using var stub = FakeStub.Qemu().On("M10,2:7d23", "OK");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.WriteMemoryAsync(0x10, new byte[] { 0x7d, 0x23 });
        Assert.Equal(["X10,0:", "M10,2:7d23"], stub.Requests.TakeLast(2));

        await using var other = FakeStub.Qemu().On("X10,0:", "OK").On("X10,2:}]}\x03", "OK");
        await using var second = await RspClient.ConnectAsync(other.Endpoint, s_options);
        await second.WriteMemoryAsync(0x10, new byte[] { 0x7d, 0x23 });
        Assert.Equal("X10,2:}]}\x03", other.Requests[^1]);
    }

    [Fact]
    public async Task A_large_write_is_split_so_that_no_packet_is_longer_than_the_stub_takes()
    {
        await using var stub = FakeStub.Qemu();
        stub.Otherwise = request => [request[0] == 'M' ? "OK" : ""];
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.WriteMemoryAsync(0xffffffff81000000, new byte[100_000]);
        var writes = stub.Requests.Where(r => r[0] == 'M').ToArray();
        Assert.All(writes, write => Assert.InRange(write.Length, 1, 4095));
        Assert.Equal(200_000, writes.Sum(write => write.Length - write.IndexOf(':', StringComparison.Ordinal) - 1));
    }

    [Fact]
    public async Task Memory_that_no_packet_can_carry_is_refused_before_it_is_sent()
    {
        await using var stub = FakeStub.Qemu();
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await Assert.ThrowsAsync<ArgumentException>(() => client.SendAsync(new ReadMemory(0, new byte[2049])).AsTask());
        await Assert.ThrowsAsync<ArgumentException>(() => client.SendAsync(new ReadMemory(0, default)).AsTask());
        Assert.DoesNotContain(stub.Requests, r => r[0] == 'm');
        Assert.Equal(RspState.Stopped, client.State);
    }

    [Fact]
    public async Task Error_replies_keep_their_number_or_text_and_the_connection()
    {
        await using var stub = FakeStub.Qemu().On("Z2,10,3", "E22").On("Z1,10,1", "E.no hardware\x1b breakpoints").On("Z0,10,1", "OK");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var number = await Assert.ThrowsAsync<RspException>(() => client.SendAsync(new InsertBreakpoint(BreakpointKind.WriteWatchpoint, 0x10, 3)).AsTask());
        Assert.Equal((RspErrorKind.ErrorReply, 0x22, null), (number.Kind, number.ErrorCode, number.ErrorText));
        Assert.Equal("the stub refused `Z2,10,3`: E22", number.Message);
        var text = await Assert.ThrowsAsync<RspException>(() => client.SendAsync(new InsertBreakpoint(BreakpointKind.Hardware, 0x10)).AsTask());
        Assert.Equal((RspErrorKind.ErrorReply, null, "no hardware\\x1b breakpoints"), (text.Kind, text.ErrorCode, text.ErrorText));
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, 0x10));
    }

    [Fact]
    public async Task An_empty_reply_means_unsupported_and_P_falls_back_to_G()
    {
        await using var stub = FakeStub.Qemu().On("G" + "0100000000000000" + new string('0', 44), "OK");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var e = await Assert.ThrowsAsync<RspException>(() => client.ReadThreadExtraAsync(ThreadId.Any).AsTask());
        Assert.Equal(RspErrorKind.Unsupported, e.Kind);
        var block = new RegisterBlock(client.Layout);
        block.SetValue(client.Layout.Registers[0], 1);
        await client.WriteRegisterAsync(client.Layout.Registers[0], block);
        Assert.Equal("P0=0100000000000000", stub.Requests[^2]);
    }

    [Fact]
    public async Task Reverse_execution_that_was_not_offered_is_never_sent()
    {
        await using var stub = FakeStub.Qemu();
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var before = stub.Requests.Count;
        foreach (var command in new ResumeCommand[] { new ReverseStep(), new ReverseContinue() })
        {
            Assert.Equal(RspErrorKind.Unsupported, (await Assert.ThrowsAsync<RspException>(() => client.SendAsync(command).AsTask())).Kind);
        }

        Assert.Equal(before, stub.Requests.Count);
        Assert.Equal(RspState.Stopped, client.State);
    }

    [Fact]
    public async Task Reverse_execution_that_was_offered_is_sent()
    {
        await using var stub = FakeStub.Speaking("PacketSize=1000;QStartNoAckMode+;ReverseStep+;ReverseContinue+").On("bs", "T05replaylog:begin;");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.SendAsync(new ReverseStep());
        Assert.Equal(new StopReason.ReplayLog("begin"), ((StopReply.Stopped)await client.WaitForStopAsync()).Reason);
    }

    [Fact]
    public async Task Requests_while_the_target_runs_are_refused_and_nothing_is_sent()
    {
        await using var stub = FakeStub.Qemu();
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.ContinueAsync();
        Assert.Equal(RspErrorKind.WrongState, (await Assert.ThrowsAsync<RspException>(() => client.ReadMemoryAsync(0, new byte[1]).AsTask())).Kind);
        Assert.Equal(RspErrorKind.WrongState, (await Assert.ThrowsAsync<RspException>(() => client.ContinueAsync().AsTask())).Kind);
        Assert.Equal(RspErrorKind.WrongState, (await Assert.ThrowsAsync<RspException>(() => client.MonitorAsync("x").AsTask())).Kind);
        await stub.SendAsync("vCont;c", "T05thread:p01.01;");
        await client.WaitForStopAsync();
        Assert.Equal(["?", "+", "vCont;c"], stub.Seen.TakeLast(3));
    }

    [Fact]
    public async Task A_resume_in_the_middle_of_a_batch_is_the_callers_mistake()
    {
        await using var stub = FakeStub.Qemu();
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await Assert.ThrowsAsync<ArgumentException>(() =>
            client.SendBatchAsync(new RspCommand[] { client.ContinueCommand, new ReadMemory(0, new byte[1]) }, new RspOutcome[2]).AsTask());
        Assert.DoesNotContain("vCont;c", stub.Requests);
    }

    [Fact]
    public async Task Console_output_of_the_running_target_is_handed_on()
    {
        var output = new StringBuilder();
        await using var stub = FakeStub.Qemu().On("vCont;c", "O68656c", "O6c6f0a", "T05thread:p01.01;");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options with { ConsoleOutput = text => output.Append(text) });
        await client.ContinueAsync();
        await client.WaitForStopAsync();
        Assert.Equal("hello\n", output.ToString());
    }

    [Fact]
    public async Task Monitor_output_comes_in_pieces_and_is_bounded()
    {
        await using var stub = FakeStub.Qemu().On("qRcmd,78", "O61", "O62", "OK").On("qRcmd,79", "E01");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options with { MaxMonitorOutput = 1 });
        Assert.Equal(("a", true), await client.MonitorAsync("x"));
        Assert.Equal(RspErrorKind.ErrorReply, (await Assert.ThrowsAsync<RspException>(() => client.MonitorAsync("y").AsTask())).Kind);
        Assert.Equal(("a", true), await client.MonitorAsync("x"));
    }

    [Fact]
    public async Task Threads_are_listed_over_several_packets()
    {
        await using var stub = FakeStub.Qemu().On("qfThreadInfo", "mp01.01").On("qsThreadInfo", "mp01.02,p01.03").On("qsThreadInfo", "l");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        Assert.Equal(["p1.1", "p1.2", "p1.3"], (await client.ListThreadsAsync()).Select(t => t.ToString()));
    }

    [Fact]
    public async Task The_machine_that_powers_off_has_exited_and_its_stub_may_close()
    {
        await using var stub = FakeStub.Qemu().OnRaw("vCont;c", FakeStub.Frame("W00"), close: true);
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.ContinueAsync();
        Assert.Equal(new StopReply.Exited(0), await client.WaitForStopAsync());
        Assert.Equal(RspState.Exited, client.State);
        Assert.Equal(new StopReply.Exited(0), await client.WaitForStopAsync());
        Assert.False(await client.InterruptAsync());
        Assert.Equal(RspErrorKind.WrongState, (await Assert.ThrowsAsync<RspException>(() => client.ReadMemoryAsync(0, new byte[1]).AsTask())).Kind);
        await client.KillAsync();
    }

    [Fact]
    public async Task Killing_and_detaching_end_the_session()
    {
        await using var stub = FakeStub.Qemu().OnRaw("k", [], close: true);
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.KillAsync();
        Assert.Equal(RspState.Exited, client.State);

        await using var other = FakeStub.Qemu().On("D;1", "OK");
        await using var second = await RspClient.ConnectAsync(other.Endpoint, s_options);
        await second.DetachAsync();
        Assert.Equal(RspState.Closed, second.State);
        Assert.Equal(RspErrorKind.WrongState, (await Assert.ThrowsAsync<RspException>(() => second.ContinueAsync().AsTask())).Kind);
    }

    [Fact]
    public async Task A_transcript_replayed_as_a_stub_gives_the_same_session()
    {
        var text = new StringWriter();
        await using var stub = FakeStub.Qemu().On("m10,2", "abcd").On("vCont;c", "O0a", "T05thread:p01.02;watch:10;").On("qRcmd,78", "O5c", "OK");
        var first = await SessionAsync(stub.Endpoint, new RspTranscript(text));
        Assert.Contains("\n> m10,2\n< abcd\n", text.ToString(), StringComparison.Ordinal);

        var again = new StringWriter();
        await using var replay = ReplayStub.Start(text.ToString());
        Assert.Equal(first, await SessionAsync(replay.Endpoint, new RspTranscript(again)));
        Assert.Equal(text.ToString(), again.ToString());

        static async Task<string> SessionAsync(RspEndpoint endpoint, RspTranscript transcript)
        {
            await using var client = await RspClient.ConnectAsync(endpoint, s_options with { Transcript = transcript });
            var memory = new byte[2];
            await client.ReadMemoryAsync(0x10, memory);
            await client.ContinueAsync();
            var stop = await client.WaitForStopAsync();
            return $"{Convert.ToHexString(memory)} {stop} {(await client.MonitorAsync("x")).Output}";
        }
    }

    [Theory]
    [InlineData("x")]
    [InlineData(">g")]
    [InlineData("> \\x4")]
    [InlineData("> \\y41")]
    [InlineData("< é")]
    public void A_line_of_a_transcript_that_is_of_no_form_is_named(string line) =>
        Assert.Contains("line 2", Assert.Throws<FormatException>(() => RspTranscript.Read(new StringReader("# x\n" + line)).ToArray()).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("unix:/tmp/x", "unix:/tmp/x")]
    [InlineData("tcp:localhost:1234", "tcp:localhost:1234")]
    [InlineData("tcp::1234", "tcp:localhost:1234")]
    [InlineData("tcp:[::1]:1234", "tcp:[::1]:1234")]
    public void Endpoints_are_read(string text, string expected) => Assert.Equal(expected, RspEndpoint.Parse(text).ToString());

    [Theory]
    [InlineData("")]
    [InlineData("unix:")]
    [InlineData("tcp:")]
    [InlineData("tcp:1234")]
    [InlineData("tcp:host:0")]
    [InlineData("tcp:host:65536")]
    [InlineData("localhost:1234")]
    public void Other_endpoints_are_refused(string text) => Assert.Throws<FormatException>(() => RspEndpoint.Parse(text));

    private static bool Overlaps(string read, ulong from, ulong to, out int length)
    {
        var parts = read[1..].Split(',');
        var address = Convert.ToUInt64(parts[0], 16);
        length = Convert.ToInt32(parts[1], 16);
        return address < to && address + (ulong)length > from;
    }
}
