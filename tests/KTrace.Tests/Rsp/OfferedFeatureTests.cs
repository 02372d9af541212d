using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp;

/// <summary>What none of the real peers at hand offers, or does only by accident: non-stop mode, memory maps, binary reads, unknown stubs' ways.</summary>
public sealed class OfferedFeatureTests
{
    private static readonly RspClientOptions s_options = new() { RequestTimeout = TimeSpan.FromSeconds(20), InterruptTimeout = TimeSpan.FromSeconds(20) };

    [Fact]
    public async Task A_stub_that_stays_in_non_stop_mode_stops_by_notification_and_the_other_stops_are_taken()
    {
        await using var stub = FakeStub.Speaking("PacketSize=1000;QStartNoAckMode+;QNonStop+").On("QNonStop:0", "E01").On("m10,2", "abcd")
            .OnRaw("vCont;c", [.. FakeStub.Frame("OK"), .. Notification("Stop:T05thread:p1.1;")]).On("vStopped", "T05thread:p1.2;").On("vStopped", "OK");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.ContinueAsync();
        Assert.Equal(new ThreadId(1, 1), Assert.IsType<StopReply.Stopped>(await client.WaitForStopAsync()).Thread);
        Assert.Equal(1, client.StrayStopReplies);
        Assert.True((await client.ReadMemoryAsync(0x10, new byte[2])).IsComplete);
        Assert.Equal(["vCont;c", "vStopped", "vStopped", "m10,2"], stub.Requests.TakeLast(4));
    }

    [Fact]
    public async Task A_stop_that_is_notified_while_nobody_waits_is_taken_before_the_next_request()
    {
        await using var stub = FakeStub.Speaking("PacketSize=1000;QStartNoAckMode+;QNonStop+").On("QNonStop:0", "E01").On("m20,2", "abcd").On("vStopped", "OK")
            .OnRaw("m10,2", [.. Notification("Stop:T05thread:p1.1;"), .. FakeStub.Frame("0011")]);
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        Assert.True((await client.ReadMemoryAsync(0x10, new byte[2])).IsComplete);
        Assert.True((await client.ReadMemoryAsync(0x20, new byte[2])).IsComplete);
        Assert.Equal(["m10,2", "vStopped", "m20,2"], stub.Requests.TakeLast(3));
    }

    [Fact]
    public async Task A_memory_map_is_read_where_it_is_offered()
    {
        const string map = """<?xml version="1.0"?><!DOCTYPE memory-map PUBLIC "x" "y"><memory-map><memory type="ram" start="0x20000000" length="0x8000"/><memory type="flash" start="134217728" length="0x10000"><property name="blocksize">0x400</property></memory><memory type="new" start="0xfffffffffffff000" length="0x1000"/></memory-map>""";
        await using var stub = FakeStub.Speaking("PacketSize=1000;QStartNoAckMode+;qXfer:memory-map:read+").On("qXfer:memory-map:read::0,ffb", "l" + map);
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        Assert.Equal(
            [
                new MemoryRegion(MemoryRegionType.Ram, 0x20000000, 0x8000), new MemoryRegion(MemoryRegionType.Flash, 0x08000000, 0x10000),
                new MemoryRegion(MemoryRegionType.Other, 0xfffffffffffff000, 0x1000),
            ],
            await client.ReadMemoryMapAsync());
        Assert.DoesNotContain(client.Lacks, lack => lack.Contains("memory map", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("""<memory-map><memory type="ram" start="x" length="1"/></memory-map>""")]
    [InlineData("""<memory-map><memory type="ram" start="1"/></memory-map>""")]
    [InlineData("""<memory-map><memory type="ram" start="0xffffffffffffffff" length="2"/></memory-map>""")]
    [InlineData("<memory-map>")]
    public void A_memory_map_that_is_malformed_is_a_protocol_error(string map) =>
        Assert.Equal(RspErrorKind.Protocol, Assert.Throws<RspException>(() => MemoryRegion.ReadDocument(System.Text.Encoding.UTF8.GetBytes(map))).Kind);

    [Fact]
    public void A_thread_document_gives_names_cores_and_words_with_control_characters_made_visible()
    {
        var document = """<threads><thread id="p1.2" core="3" name="a&#x9b;b">words &lt;x></thread><thread id="5"/></threads>"""u8.ToArray();
        Assert.Equal([new StubThread(new ThreadId(1, 2), "a\\xc2\\x9bb", 3, "words <x>"), new StubThread(new ThreadId(null, 5))], ThreadListing.ReadDocument(document));
        Assert.Throws<RspException>(() => ThreadListing.ReadDocument("<threads><thread id='x'/></threads>"u8.ToArray()));
        Assert.Throws<RspException>(() => ThreadListing.ReadDocument("<threads><thread/></threads>"u8.ToArray()));
        Assert.Throws<RspException>(() => ThreadListing.ReadDocument("<threads><thread id='1' core='-1'/></threads>"u8.ToArray()));
    }

    [Fact]
    public async Task Memory_is_read_as_bytes_where_binary_upload_is_offered()
    {
        await using var stub = FakeStub.Speaking("PacketSize=1000;QStartNoAckMode+;binary-upload+").On("xff8,8", "b12345678").On("x1000,8", "E14");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var batch = new List<RspCommand>();
        var memory = new byte[16];
        Assert.Equal(2, ReadMemory.AppendByPage(batch, client.Features, 0xff8, memory));
        var outcomes = new RspOutcome[2];
        await client.SendBatchAsync(batch.ToArray(), outcomes);
        Assert.Equal([new(RspStatus.Ok, 0, 8), new(RspStatus.Refused, 0x14, 0)], outcomes);
        Assert.Equal("12345678"u8.ToArray(), memory[..8]);
    }

    [Fact]
    public async Task A_signal_goes_to_the_thread_that_stopped_and_the_others_run_without_it()
    {
        await using var stub = FakeStub.Qemu().On("vCont;C0b:p1.1;c", "T05thread:p01.01;").On("vCont;S0b:p1.1", "X0b");
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        await client.ContinueAsync(signal: 11);
        Assert.IsType<StopReply.Stopped>(await client.WaitForStopAsync());
        await client.SendAsync(client.StepCommand(signal: 11));
        Assert.Equal(new StopReply.Terminated(11), await client.WaitForStopAsync());
        Assert.Equal(2, client.Resumes);
    }

    [Fact]
    public async Task An_end_in_place_of_a_reply_is_the_targets_end_and_not_a_broken_peer()
    {
        await using var stub = FakeStub.Qemu().OnRaw("m10,2", FakeStub.Frame("W00"), close: true);
        await using var client = await RspClient.ConnectAsync(stub.Endpoint, s_options);
        var e = await Assert.ThrowsAsync<RspException>(() => client.ReadMemoryAsync(0x10, new byte[2]).AsTask());
        Assert.Equal(RspErrorKind.WrongState, e.Kind);
        Assert.Equal((RspState.Exited, new StopReply.Exited(0)), (client.State, client.LastStop));
    }

    [Fact]
    public async Task A_program_is_an_endpoint_and_what_it_says_when_it_ends_is_in_the_error()
    {
        var e = await Assert.ThrowsAsync<RspException>(() => RspClient.ConnectAsync(RspEndpoint.Parse("pipe:sh -c 'echo \"no such thing\" >&2; exit 3'"), s_options).AsTask());
        Assert.Equal(RspErrorKind.Disconnected, e.Kind);
        Assert.Contains("the program ended, having said: no such thing", e.Message, StringComparison.Ordinal);
        e = await Assert.ThrowsAsync<RspException>(() => RspClient.ConnectAsync(RspEndpoint.Parse("pipe:no-such-program-at-all"), s_options).AsTask());
        Assert.StartsWith("cannot start `no-such-program-at-all`", e.Message, StringComparison.Ordinal);

        // One that says nothing and would not end is a timeout, and is ended.
        using var folder = new ScratchFolder();
        var silent = RspEndpoint.Parse($"pipe:sh -c 'echo $$ > {folder.File("pid")}; exec sleep 1000'");
        e = await Assert.ThrowsAsync<RspException>(() => RspClient.ConnectAsync(silent, s_options with { RequestTimeout = TimeSpan.FromSeconds(1) }).AsTask());
        Assert.Equal(RspErrorKind.Timeout, e.Kind);
        var process = $"/proc/{File.ReadAllText(folder.File("pid")).Trim()}";
        for (var ends = Environment.TickCount64 + 60_000; Directory.Exists(process); await Task.Delay(20))
        {
            Assert.True(Environment.TickCount64 < ends, "the program lives on");
        }
    }

    [Theory]
    [InlineData("pipe:vgdb --pid=1", "pipe:vgdb --pid=1")]
    [InlineData("pipe: 'a b' \"c\"", "pipe:'a b' \"c\"")]
    public void Programs_are_endpoints(string text, string expected) => Assert.Equal(expected, RspEndpoint.Parse(text).ToString());

    [Theory]
    [InlineData("pipe:")]
    [InlineData("pipe:  ")]
    [InlineData("pipe:a 'b")]
    public void Programs_without_a_name_or_with_half_a_quotation_are_refused(string text) => Assert.Throws<FormatException>(() => RspEndpoint.Parse(text));

    private static byte[] Notification(string payload)
    {
        var frame = FakeStub.Frame(payload);
        frame[0] = (byte)'%';
        return frame;
    }
}
