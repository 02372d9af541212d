using System.Text;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp;

/// <summary>Stubs that break off, lie, are silent or say things twice; and callers that lose patience.</summary>
public sealed class RspClientTroubleTests
{
    private static readonly RspClientOptions s_options = new() { RequestTimeout = TimeSpan.FromSeconds(20), InterruptTimeout = TimeSpan.FromMilliseconds(100) };

    private static readonly RspClientOptions s_hasty = s_options with { RequestTimeout = TimeSpan.FromSeconds(2) };

    [Fact]
    public async Task A_stub_that_closes_within_a_reply_is_disconnected_wherever_it_does()
    {
        var reply = FakeStub.Frame("0011");
        for (var sent = 0; sent < reply.Length; sent++)
        {
            await using var stub = FakeStub.Qemu().OnRaw("m10,2", reply[..sent], close: true);
            await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
            var e = await Assert.ThrowsAsync<RspException>(() => client.ReadMemoryAsync(0x10, new byte[2]).AsTask());
            Assert.Equal(RspErrorKind.Disconnected, e.Kind);
            Assert.Contains("while the reply to `m10,2` was awaited", e.Message, StringComparison.Ordinal);
            Assert.Contains(sent == 0 ? "between packets" : $"{Math.Clamp(sent - 1, 0, 4)} bytes into a packet", e.Message, StringComparison.Ordinal);

            // Broken from here on, with that reason.
            Assert.Equal(RspState.Broken, client.State);
            var later = await Assert.ThrowsAsync<RspException>(() => client.ContinueAsync().AsTask());
            Assert.Equal(RspErrorKind.Broken, later.Kind);
            Assert.Same(e, later.InnerException);
        }
    }

    [Fact]
    public async Task The_first_reason_of_a_broken_connection_stays()
    {
        await using var connection = new RspConnection(new MemoryStream(), s_options);
        var first = connection.Break(RspErrorKind.Timeout, "first");
        connection.Break(RspErrorKind.Disconnected, "second");
        Assert.Same(first, connection.Reason);
        Assert.Equal("the connection is broken: first", Assert.Throws<RspException>(connection.EnsureUsable).Message);
    }

    [Fact]
    public async Task A_request_longer_than_the_stub_takes_is_refused_before_it_is_sent()
    {
        await using var stub = FakeStub.Qemu().On("m10,2", "abcd");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var e = await Assert.ThrowsAsync<RspException>(() => client.MonitorAsync(new string('x', 2045)).AsTask());
        Assert.Equal(RspErrorKind.Unsupported, e.Kind);
        Assert.True((await client.ReadMemoryAsync(0x10, new byte[2])).IsComplete);
        Assert.Equal(["?", "m10,2"], stub.Requests.TakeLast(2));
    }

    [Fact]
    public async Task A_stub_that_closes_while_the_target_runs_is_disconnected()
    {
        await using var stub = FakeStub.Qemu().OnRaw("vCont;c", "$T05thr"u8.ToArray(), close: true);
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.ContinueAsync();
        var e = await Assert.ThrowsAsync<RspException>(() => client.WaitForStopAsync().AsTask());
        Assert.Equal(RspErrorKind.Disconnected, e.Kind);
        Assert.Contains("while a stop reply was awaited, 6 bytes into a packet that began `T05thr`", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nobody_listening_is_disconnected() =>
        Assert.Equal(
            RspErrorKind.Disconnected,
            (await Assert.ThrowsAsync<RspException>(() => RspClient.ConnectAsync(RspEndpoint.Parse("unix:/nonexistent/stub"), s_options).AsTask())).Kind);

    [Fact]
    public async Task A_peer_that_is_no_stub_is_a_protocol_error_before_long()
    {
        await using var stub = new FakeStub().OnRaw(FakeStub.ClientHello, Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("HTTP/1.1 400 Bad Request\r\n", 5000))));
        var e = await Assert.ThrowsAsync<RspException>(() => RspClient.ConnectAsync(stub.Endpoint, s_options).AsTask());
        Assert.Contains("is it a gdb stub?", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_checksum_that_is_wrong_is_nacked_and_the_packet_is_read_again()
    {
        await using var stub = FakeStub.Qemu().OnRaw("m10,2", "$0011#00"u8.ToArray()).OnRaw("-", FakeStub.Frame("abcd"));
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var memory = new byte[2];
        Assert.True((await client.ReadMemoryAsync(0x10, memory)).IsComplete);
        Assert.Equal([0xab, 0xcd], memory);
        Assert.Single(stub.Seen, "-");
    }

    [Fact]
    public async Task Checksums_that_stay_wrong_break_the_connection()
    {
        await using var stub = FakeStub.Qemu().OnRaw("m10,2", "$0011#00"u8.ToArray()).OnRaw("-", "$0011#00"u8.ToArray());
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var e = await Assert.ThrowsAsync<RspException>(() => client.ReadMemoryAsync(0x10, new byte[2]).AsTask());
        Assert.Equal(RspErrorKind.Protocol, e.Kind);
        Assert.Contains("its checksum is `00`, the bytes make c2; it began `0011`", e.Message, StringComparison.Ordinal);
        Assert.Equal(3, stub.Seen.Count(text => text == "-"));
        Assert.Equal(RspState.Broken, client.State);
    }

    [Fact]
    public async Task A_wrong_checksum_within_a_pipeline_breaks_the_connection()
    {
        await using var stub = FakeStub.Qemu().OnRaw("m10,2", "$0011#00"u8.ToArray()).On("m20,2", "0011");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var batch = new RspCommand[] { new ReadMemory(0x10, new byte[2]), new ReadMemory(0x20, new byte[2]) };
        Assert.Equal(RspErrorKind.Protocol, (await Assert.ThrowsAsync<RspException>(() => client.SendBatchAsync(batch, new RspOutcome[2]).AsTask())).Kind);
        Assert.DoesNotContain("-", stub.Seen);
    }

    [Fact]
    public async Task A_request_that_is_nacked_is_sent_again_a_bounded_number_of_times()
    {
        await using var stub = FakeStub.Qemu();
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        stub.Acks = false;
        stub.OnRaw("m10,2", "-"u8.ToArray()).OnRaw("m10,2", "-"u8.ToArray()).OnRaw("m10,2", [(byte)'+', .. FakeStub.Frame("abcd")]).OnRaw("m20,2", "-"u8.ToArray());
        Assert.True((await client.ReadMemoryAsync(0x10, new byte[2])).IsComplete);
        Assert.Equal(3, stub.Requests.Count(r => r == "m10,2"));
        var e = await Assert.ThrowsAsync<RspException>(() => client.ReadMemoryAsync(0x20, new byte[2]).AsTask());
        Assert.Equal(RspErrorKind.Protocol, e.Kind);
        Assert.Equal(4, stub.Requests.Count(r => r == "m20,2"));
    }

    [Fact]
    public async Task A_gigantic_packet_breaks_the_connection_at_the_limit()
    {
        await using var stub = FakeStub.Qemu().OnRaw("m10,2", [(byte)'$', .. Enumerable.Repeat((byte)'0', 100_000)]);
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options with { MaxPacketBytes = 8192 });
        var e = await Assert.ThrowsAsync<RspException>(() => client.ReadMemoryAsync(0x10, new byte[2]).AsTask());
        Assert.Equal(RspErrorKind.Protocol, e.Kind);
        Assert.Contains("longer than 8192 bytes", e.Message, StringComparison.Ordinal);
        Assert.InRange(e.Message.Length, 0, 400);
    }

    [Fact]
    public async Task Silence_is_a_timeout_that_breaks_the_connection()
    {
        await using var stub = FakeStub.Qemu().OnRaw("m10,2", "$00"u8.ToArray());
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_hasty);
        var e = await Assert.ThrowsAsync<RspException>(() => client.ReadMemoryAsync(0x10, new byte[2]).AsTask());
        Assert.Equal(RspErrorKind.Timeout, e.Kind);
        Assert.Contains("`m10,2`", e.Message, StringComparison.Ordinal);
        Assert.Contains("2 bytes into a packet", e.Message, StringComparison.Ordinal);
        Assert.Equal(RspState.Broken, client.State);
    }

    [Fact]
    public async Task A_malformed_reply_breaks_the_connection_and_names_the_request()
    {
        await using var stub = FakeStub.Qemu().On("m10,2", "00zz");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var e = await Assert.ThrowsAsync<RspException>(() => client.ReadMemoryAsync(0x10, new byte[2]).AsTask());
        Assert.Equal("the reply to `m10,2` is malformed: `00zz`", e.Message);
        Assert.Equal(RspState.Broken, client.State);
    }

    [Fact]
    public async Task A_cancelled_wait_can_be_taken_up_again()
    {
        await using var stub = FakeStub.Qemu();
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.ContinueAsync();
        await stub.SendRawAsync("vCont;c", "$T05thr"u8.ToArray());
        for (var i = 0; i < 3; i++)
        {
            using var cancel = new CancellationTokenSource(30);
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.WaitForStopAsync(cancel.Token).AsTask());
            Assert.Equal(RspState.Running, client.State);
        }

        await stub.SendRawAsync("vCont;c", FakeStub.Frame("T05thread:p01.02;")[7..]);
        Assert.Equal(new ThreadId(1, 2), ((StopReply.Stopped)await client.WaitForStopAsync()).Thread);
    }

    [Fact]
    public async Task A_cancelled_batch_leaves_its_replies_to_be_dropped_and_its_resume_under_way()
    {
        await using var stub = FakeStub.Qemu().On("m10,2", "0011").Silent("m20,2");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        using var cancel = new CancellationTokenSource(50);
        var outcomes = new RspOutcome[3];
        var batch = new RspCommand[] { new ReadMemory(0x10, new byte[2]), new ReadMemory(0x20, new byte[2]), client.ContinueCommand };
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.SendBatchAsync(batch, outcomes, cancel.Token).AsTask());
        Assert.Equal([RspStatus.Ok, RspStatus.None, RspStatus.None], outcomes.Select(o => o.Status));
        Assert.Equal(RspState.Running, client.State);
        await stub.SendAsync("vCont;c", "2233", "T05thread:p01.01;");
        Assert.IsType<StopReply.Stopped>(await client.WaitForStopAsync());
    }

    [Fact]
    public async Task A_cancelled_request_does_not_give_its_reply_to_the_next()
    {
        await using var stub = FakeStub.Qemu().Silent("m10,2").On("m20,2", "2222").OnRaw("qRcmd,78", FakeStub.Frame("O61"));
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        using (var cancel = new CancellationTokenSource(50))
        {
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.ReadMemoryAsync(0x10, new byte[2], cancel.Token).AsTask());
        }

        using (var cancel = new CancellationTokenSource(50))
        {
            // Still owed, also when the next call is cancelled while it waits for what is owed.
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.ReadMemoryAsync(0x20, new byte[2], cancel.Token).AsTask());
        }

        await stub.SendAsync("m10,2", "1111");
        var memory = new byte[2];
        await client.ReadMemoryAsync(0x20, memory);
        Assert.Equal([0x22, 0x22], memory);
        using (var cancel = new CancellationTokenSource(50))
        {
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.MonitorAsync("x", cancel.Token).AsTask());
        }

        await stub.SendAsync("qRcmd,78", "O62", "OK");
        await client.ReadMemoryAsync(0x20, memory);
        Assert.Equal(RspState.Stopped, client.State);
    }

    [Fact]
    public async Task A_second_request_at_the_same_time_is_refused_and_harms_nothing()
    {
        await using var stub = FakeStub.Qemu().Silent("m10,2");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var first = client.ReadMemoryAsync(0x10, new byte[2]).AsTask();
        Assert.Equal(RspErrorKind.WrongState, (await Assert.ThrowsAsync<RspException>(() => client.ReadMemoryAsync(0x10, new byte[2]).AsTask())).Kind);
        await stub.SendAsync("m10,2", "0011");
        Assert.True((await first).IsComplete);
    }

    [Fact]
    public async Task An_interrupt_reaches_a_waiting_client_and_a_second_stop_reply_is_dropped()
    {
        await using var stub = FakeStub.Qemu().On("^C", "T02thread:p01.01;", "T05thread:p01.01;").On("m10,2", "abcd");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.ContinueAsync();
        var waiting = client.WaitForStopAsync().AsTask();
        Assert.True(await client.InterruptAsync());
        Assert.Equal(2, ((StopReply.Stopped)await waiting).Signal);
        Assert.Equal(1, client.StrayStopReplies);
        Assert.True((await client.ReadMemoryAsync(0x10, new byte[2])).IsComplete);
        Assert.False(await client.InterruptAsync());
        Assert.Single(stub.Seen, "^C");
    }

    [Fact]
    public async Task A_stop_that_the_stub_does_not_report_is_inferred_after_an_interrupt()
    {
        await using var stub = FakeStub.Qemu();
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.ContinueAsync();
        await client.InterruptAsync();
        Assert.Equal(new StopReply.Stopped(2, new ThreadId(1, 1), StopReason.Signal.Only) { Inferred = true }, await client.WaitForStopAsync());
        Assert.Equal(RspState.Stopped, client.State);
        Assert.Equal("qC", stub.Requests[^1]);
    }

    [Fact]
    public async Task A_question_that_the_stop_swallowed_is_asked_in_another_form()
    {
        await using var stub = FakeStub.Speaking("PacketSize=1000;QStartNoAckMode+").Silent("qC").On("vCont?", "vCont;c;C;s;S");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        stub.Acks = false;
        await client.ContinueAsync();
        await client.InterruptAsync();

        // FakeStub.Speaking answers qC first and is silent from the second on; so the first run uses the answer up.
        Assert.True(((StopReply.Stopped)await client.WaitForStopAsync()).Inferred);
        await client.ContinueAsync();
        await client.InterruptAsync();
        Assert.True(((StopReply.Stopped)await client.WaitForStopAsync()).Inferred);
        Assert.Equal(["qC", "vCont?"], stub.Requests.TakeLast(2));
    }

    [Fact]
    public async Task A_stub_that_is_dead_after_an_interrupt_is_a_timeout()
    {
        await using var stub = FakeStub.Qemu();
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        stub.HoldUntil("never");
        await client.ContinueAsync();
        await client.InterruptAsync();
        Assert.Equal(RspErrorKind.Timeout, (await Assert.ThrowsAsync<RspException>(() => client.WaitForStopAsync().AsTask())).Kind);
    }

    [Fact]
    public async Task Stop_replies_that_nobody_asked_for_are_dropped_but_not_without_end()
    {
        await using var stub = FakeStub.Qemu().On("m10,2", "T02thread:p01.01;", "abcd").On("m20,2", [.. Enumerable.Repeat("S05", 50)]);
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var memory = new byte[2];
        await client.ReadMemoryAsync(0x10, memory);
        Assert.Equal([0xab, 0xcd], memory);
        Assert.Equal(RspErrorKind.Protocol, (await Assert.ThrowsAsync<RspException>(() => client.ReadMemoryAsync(0x20, memory).AsTask())).Kind);
    }

    [Fact]
    public async Task The_stop_of_a_target_that_ran_when_the_client_came_does_not_disturb_the_handshake()
    {
        await using var stub = FakeStub.Qemu();
        var connecting = RspClient.ConnectAsync(stub.Endpoint, s_options).AsTask();
        await stub.SendAsync(null, "T02thread:01;");
        await using var client = await connecting;
        Assert.Equal(RspState.Stopped, client.State);
        Assert.InRange(client.StrayStopReplies, 0, 1);
    }

    [Fact]
    public async Task A_resume_that_the_stub_refuses_leaves_the_target_stopped()
    {
        await using var stub = FakeStub.Qemu().On("vCont;c", "E22").On("vCont;s:p1.1", "").On("m10,2", "abcd");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.ContinueAsync();
        Assert.Equal(RspErrorKind.ErrorReply, (await Assert.ThrowsAsync<RspException>(() => client.WaitForStopAsync().AsTask())).Kind);
        await client.StepAsync();
        Assert.Equal(RspErrorKind.Unsupported, (await Assert.ThrowsAsync<RspException>(() => client.WaitForStopAsync().AsTask())).Kind);
        Assert.True((await client.ReadMemoryAsync(0x10, new byte[2])).IsComplete);
    }

    [Fact]
    public async Task Mutated_replies_end_in_declared_exceptions_only()
    {
        var random = new Random(11);
        var replies = new[] { FakeStub.Frame("0011"), FakeStub.Frame("E14"), [.. FakeStub.Frame("T05thread:1;"), .. FakeStub.Frame("0011")] };
        for (var round = 0; round < 300; round++)
        {
            await using var stub = FakeStub.Qemu().OnRaw("m10,2", Mutation.OfText(replies[round % replies.Length], random), close: true);
            await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
            try
            {
                await client.ReadMemoryAsync(0x10, new byte[2]);
            }
            catch (RspException)
            {
            }
        }
    }
}
