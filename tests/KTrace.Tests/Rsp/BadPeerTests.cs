using System.Text;
using KTrace.Rsp;
using KTrace.Tests.Rsp.Peers;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp;

/// <summary>
/// Whole sessions, recorded from real QEMU, with a peer that closes, damages, exaggerates or says nothing at every place where it can. Each ends, in a declared
/// exception or in what the session came to, and leaves nothing waiting.
/// </summary>
public sealed class BadPeerTests(RecordedSession recorded) : IClassFixture<RecordedSession>
{
    private static readonly TimeSpan s_guard = TimeSpan.FromMinutes(1);

    private static readonly RspClientOptions s_hasty = new() { RequestTimeout = TimeSpan.FromMilliseconds(20), MonitorTimeout = TimeSpan.FromMilliseconds(20), InterruptTimeout = TimeSpan.FromMilliseconds(20) };

    [Fact]
    public async Task A_connection_that_ends_after_any_byte_is_disconnected()
    {
        var whole = new ReplayStream(recorded.Transcript);
        await RecordedSession.RunAsync(RspClient.ConnectAsync(whole, PeerStory.Options));
        Assert.InRange(whole.Sent, 10_000, 100_000);
        for (long count = 0; count < whole.Sent; count++)
        {
            var stream = new ReplayStream(recorded.Transcript) { CloseAfter = count, Reset = count % 2 == 1 };
            var e = await Assert.ThrowsAsync<RspException>(() => RecordedSession.RunAsync(RspClient.ConnectAsync(stream, PeerStory.Options)).WaitAsync(s_guard));
            Assert.Equal((count, RspErrorKind.Disconnected), (count, e.Kind));
        }
    }

    [Fact]
    public async Task A_checksum_that_is_wrong_once_is_asked_again_and_one_that_stays_wrong_breaks_the_connection_at_every_packet()
    {
        var replies = await CountRepliesAsync();
        for (var at = 0; at < replies; at++)
        {
            foreach (var always in new[] { false, true })
            {
                var stream = new ReplayStream(recorded.Transcript)
                {
                    Frame = (payload, number, again) => number == at && (always || !again) ? WrongSum(payload) : FakeStub.Frame(Encoding.Latin1.GetString(payload)),
                };
                try
                {
                    Assert.Equal(recorded.Outcome, await RecordedSession.RunAsync(RspClient.ConnectAsync(stream, PeerStory.Options)).WaitAsync(s_guard));
                    Assert.False(always, $"the packet {at} was taken with a wrong checksum");
                }
                catch (RspException e)
                {
                    // In a pipeline nobody can tell which packet a `-` would mean.
                    Assert.Equal(RspErrorKind.Protocol, e.Kind);
                    Assert.Contains("its checksum is", e.Message, StringComparison.Ordinal);
                }
            }
        }
    }

    [Fact]
    public async Task A_gigantic_packet_in_place_of_any_reply_breaks_the_connection()
    {
        var replies = await CountRepliesAsync();
        byte[] gigantic = [(byte)'$', .. Enumerable.Repeat((byte)'0', 100_000)];
        for (var at = 0; at < replies; at++)
        {
            var stream = new ReplayStream(recorded.Transcript) { Frame = (payload, number, _) => number == at ? gigantic : FakeStub.Frame(Encoding.Latin1.GetString(payload)) };
            var e = await Assert.ThrowsAsync<RspException>(
                () => RecordedSession.RunAsync(RspClient.ConnectAsync(stream, PeerStory.Options with { MaxPacketBytes = 50_000 })).WaitAsync(s_guard));
            Assert.Equal(RspErrorKind.Protocol, e.Kind);
            Assert.Contains("longer than 50000 bytes", e.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Silence_in_place_of_any_reply_is_a_timeout_except_where_the_target_runs()
    {
        // All at once: they only wait, and so the limit can be one that a busy machine does not reach by itself.
        var limit = TimeSpan.FromSeconds(3);
        var options = new RspClientOptions { RequestTimeout = limit, MonitorTimeout = limit, InterruptTimeout = limit };
        var waits = await Task.WhenAll(Enumerable.Range(0, await CountRepliesAsync()).Select(WaitsAsync));

        // Seven waits for a stop in the session, the last of them after an interrupt, which has a limit.
        Assert.Equal(7, waits.Count(w => w));

        async Task<bool> WaitsAsync(int at)
        {
            var stream = new ReplayStream(recorded.Transcript) { Frame = (payload, number, _) => number >= at ? [] : FakeStub.Frame(Encoding.Latin1.GetString(payload)) };
            var session = RecordedSession.RunAsync(RspClient.ConnectAsync(stream, options));
            if (await Task.WhenAny(session, Task.Delay(limit * 5)) == session)
            {
                Assert.Equal(RspErrorKind.Timeout, (await Assert.ThrowsAsync<RspException>(() => session)).Kind);
                return false;
            }

            // A target that runs may do so for ever: the caller's to end, here by the peer's end.
            stream.End();
            Assert.Equal(RspErrorKind.Disconnected, (await Assert.ThrowsAsync<RspException>(() => session.WaitAsync(s_guard))).Kind);
            return true;
        }
    }

    [Fact]
    public async Task Replies_that_are_damaged_within_right_checksums_end_in_declared_exceptions_only()
    {
        var random = new Random(20);
        var kinds = new HashSet<RspErrorKind>();
        for (var round = 0; round < 1500; round++)
        {
            var often = random.Next(3, 60);
            var stream = new ReplayStream(recorded.Transcript)
            {
                Frame = (payload, _, _) => random.Next(often) == 0 ? Damaged(payload, random) : FakeStub.Frame(Encoding.Latin1.GetString(payload)),
            };
            var session = RecordedSession.RunAsync(RspClient.ConnectAsync(stream, s_hasty));
            try
            {
                if (await Task.WhenAny(session, Task.Delay(300)) != session)
                {
                    // A stop that was damaged into something else never comes.
                    stream.End();
                }

                await session.WaitAsync(s_guard);
            }
            catch (RspException e)
            {
                kinds.Add(e.Kind);
                Assert.InRange(e.Message.Length, 1, 1000);
                Assert.DoesNotContain(e.Message, char.IsControl);
            }
        }

        Assert.Superset(new HashSet<RspErrorKind> { RspErrorKind.Protocol, RspErrorKind.Unsupported, RspErrorKind.Timeout }, kinds);
    }

    [SkippableFact]
    public async Task Bytes_that_are_damaged_between_the_client_and_real_QEMU_in_both_directions_end_in_declared_exceptions_only()
    {
        await using var qemu = await StubMachine.StartAsync();
        var random = new Random(21);
        var whole = 0;

        // The first session's line is a good one: it goes through to its end, however long that takes.
        var isGood = true;
        byte[]? Damage(byte[] bytes)
        {
            if (isGood)
            {
                return bytes;
            }

            lock (random)
            {
                if (random.Next(200) == 0)
                {
                    bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
                }

                return random.Next(3000) == 0 ? null : bytes;
            }
        }

        for (var round = 0; round < 20; round++)
        {
            await using (var undamaged = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options))
            {
                await StubMachine.PrepareAsync(undamaged, RecordedSession.Code);
            }

            await using var proxy = new StubProxy(qemu.Endpoint) { FromStub = Damage, FromClient = Damage };
            isGood = round == 0;
            var options = isGood ? PeerStory.Options : s_hasty with { RequestTimeout = TimeSpan.FromMilliseconds(300), MonitorTimeout = TimeSpan.FromMilliseconds(300), InterruptTimeout = TimeSpan.FromMilliseconds(100) };
            var session = RecordedSession.RunAsync(RspClient.ConnectAsync(proxy.Endpoint, options));
            try
            {
                if (!isGood && await Task.WhenAny(session, Task.Delay(2000)) != session)
                {
                    proxy.Close();
                }

                await session.WaitAsync(s_guard);
                whole++;
            }
            catch (RspException)
            {
            }

            Assert.True(session.IsCompleted);
        }

        // QEMU is as good as before.
        Assert.InRange(whole, 1, 19);
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        Assert.Single(await client.ListThreadsAsync());
    }

    private static byte[] WrongSum(byte[] payload)
    {
        var frame = FakeStub.Frame(Encoding.Latin1.GetString(payload));
        frame[^1] = (byte)(frame[^1] == '0' ? '1' : '0');
        return frame;
    }

    /// <summary>Another payload with a right checksum, or bytes that are no packet at all.</summary>
    private static byte[] Damaged(byte[] payload, Random random)
    {
        if (random.Next(4) == 0)
        {
            var bytes = new byte[random.Next(200)];
            random.NextBytes(bytes);
            return bytes;
        }

        var changed = Mutation.OfText(payload, random).Where(b => b is not (byte)'#' and not (byte)'$' and not (byte)'}' and not (byte)'*').ToArray();
        return FakeStub.Frame(Encoding.Latin1.GetString(changed));
    }

    private async Task<int> CountRepliesAsync()
    {
        var whole = new ReplayStream(recorded.Transcript);
        Assert.Equal(recorded.Outcome, await RecordedSession.RunAsync(RspClient.ConnectAsync(whole, PeerStory.Options)));
        return whole.Replies;
    }
}
