using System.Globalization;
using KTrace.Rsp;
using KTrace.Rsp.Commands;

namespace KTrace.Tests.Rsp.Peers;

/// <summary>The client against gdbserver.</summary>
public sealed class GdbserverTests(GdbserverTests.Programs programs) : IClassFixture<GdbserverTests.Programs>
{
    private readonly StubProgram _program = programs.Program;

    [SkippableFact]
    public async Task Registers_memory_breakpoints_and_steps_up_to_the_exit()
    {
        await using var server = await Server.StartAsync(_program);
        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        Assert.Equal(StubProfile.Gdbserver, client.Profile);
        Assert.Equal("i386:x86-64", client.Description!.Architecture);
        await PeerStory.ReadAndWriteAsync(client, _program);
        var hit = await PeerStory.BreakAndStepAsync(client, _program);
        Assert.Equal(new StopReason.Breakpoint(Hardware: false), hit.Reason);
        Assert.NotNull(hit.Core);
        await PeerStory.ExitAsync(client);
        Assert.Equal(hit.Thread!.Value.Process, ((StopReply.Exited)client.LastStop).Process);
    }

    [SkippableFact]
    public async Task Registers_that_come_with_a_stop_are_those_that_g_reads()
    {
        await using var server = await Server.StartAsync(_program);
        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        var sent = new RegisterBlock(client.Layout);
        Assert.Equal(3, sent.Take((StopReply.Stopped)client.LastStop));
        var read = new RegisterBlock(client.Layout);
        await client.ReadRegistersAsync(read);
        foreach (var name in new[] { "rbp", "rsp", "rip" })
        {
            Assert.True(client.Layout.TryFind(name, out var register));
            Assert.Equal(read.BytesOf(register).ToArray(), sent.BytesOf(register).ToArray());
            Assert.True(sent.IsAvailable(register));
        }

        Assert.True(client.Layout.TryFind("rax", out var other));
        Assert.False(sent.IsAvailable(other));
    }

    [SkippableFact]
    public async Task Hardware_breakpoints_and_watchpoints_stop_with_their_reason_and_read_watchpoints_are_lacking()
    {
        await using var server = await Server.StartAsync(_program);
        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Hardware, _program.Ready));
        Assert.Equal(new StopReason.Breakpoint(Hardware: true), (await PeerStory.ContinueAsync(client)).Reason);
        await client.SendAsync(new RemoveBreakpoint(BreakpointKind.Hardware, _program.Ready));

        await client.SendAsync(new InsertBreakpoint(BreakpointKind.WriteWatchpoint, _program.Counter, 8));
        Assert.Equal(new StopReason.Watchpoint(WatchKind.Write, _program.Counter), (await PeerStory.ContinueAsync(client)).Reason);
        Assert.Equal(1000, await PeerStory.CounterAsync(client, _program));
        await client.SendAsync(new RemoveBreakpoint(BreakpointKind.WriteWatchpoint, _program.Counter, 8));

        Assert.DoesNotContain("no read watchpoints (Z3)", client.Lacks);
        var e = await Assert.ThrowsAsync<RspException>(() => client.SendAsync(new InsertBreakpoint(BreakpointKind.ReadWatchpoint, _program.Counter, 8)).AsTask());
        Assert.StartsWith("the stub has no read watchpoints (Z3): its reply to `Z3,", e.Message, StringComparison.Ordinal);
        Assert.Contains("no read watchpoints (Z3)", client.Lacks);
    }

    [SkippableFact]
    public async Task Threads_come_with_names_and_cores_and_one_is_stepped_while_the_other_stands()
    {
        await using var server = await Server.StartAsync(_program, "threads");
        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, _program.Ready));
        var main = (await PeerStory.ContinueAsync(client)).Thread!.Value;
        var threads = await client.DescribeThreadsAsync();
        Assert.Equal(2, threads.Count);
        Assert.Equal(await client.ListThreadsAsync(), threads.Select(thread => thread.Id));
        Assert.All(threads, thread => Assert.Equal("program", thread.Name));
        Assert.All(threads, thread => Assert.NotNull(thread.Core));

        // The kernel's own list of the process's threads.
        var pid = main.Process!.Value;
        var listed = Directory.GetDirectories(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/task")).Select(path => long.Parse(Path.GetFileName(path), CultureInfo.InvariantCulture));
        Assert.Equal(listed.Order(), threads.Select(thread => thread.Id.Thread).Order());

        var other = threads.Single(thread => thread.Id != main).Id;
        await client.SendAsync(new SelectThread(other));
        var standing = await PeerStory.ReadAsync(client, "rip");
        await client.StepAsync(main);
        Assert.Equal(main, Assert.IsType<StopReply.Stopped>(await PeerStory.StopAsync(client)).Thread);
        await client.SendAsync(new SelectThread(other));
        Assert.Equal(standing, await PeerStory.ReadAsync(client, "rip"));
    }

    [SkippableFact]
    public async Task A_running_program_is_interrupted()
    {
        await using var server = await Server.StartAsync(_program, "spin");
        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        var before = 0L;
        for (var round = 0; round < 5; round++)
        {
            await client.ContinueAsync();
            var waiting = Task.Run(() => PeerStory.StopAsync(client));
            await Task.Delay(20);
            Assert.True(await client.InterruptAsync());
            Assert.Equal(2, Assert.IsType<StopReply.Stopped>(await waiting).Signal);
        }

        Assert.True(await PeerStory.CounterAsync(client, _program) > before);
        await client.KillAsync();
        Assert.Equal(RspState.Exited, client.State);
    }

    [SkippableFact]
    public async Task A_signal_is_delivered_by_continuing_with_it_and_swallowed_otherwise()
    {
        foreach (var (deliver, code) in new[] { (true, 3), (false, 4) })
        {
            await using var server = await Server.StartAsync(_program, "signal");
            await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
            var stop = await PeerStory.ContinueAsync(client);

            // gdb's number of SIGUSR1.
            Assert.Equal(30, stop.Signal);
            await client.ContinueAsync(deliver ? stop.Signal : 0);
            Assert.Equal(code, Assert.IsType<StopReply.Exited>(await PeerStory.StopAsync(client)).Code);
        }
    }

    [SkippableFact]
    public async Task A_crash_is_a_stop_and_with_its_signal_the_end()
    {
        await using var server = await Server.StartAsync(_program, "crash");
        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        Assert.Equal(11, (await PeerStory.ContinueAsync(client)).Signal);
        await client.ContinueAsync(signal: 11);
        Assert.Equal(11, Assert.IsType<StopReply.Terminated>(await PeerStory.StopAsync(client)).Signal);
        Assert.Equal(RspState.Exited, client.State);
    }

    [SkippableFact]
    public async Task A_server_that_an_earlier_client_left_in_non_stop_mode_is_taken_out_of_it()
    {
        await using var server = await Server.StartAsync(_program, "spin");
        using (var earlier = new RawStub(server.Endpoint))
        {
            Assert.Contains("QNonStop+", earlier.Ask("qSupported:multiprocess+;vContSupported+"), StringComparison.Ordinal);
            Assert.Equal("OK", earlier.Ask("QNonStop:1"));
            Assert.Equal("OK", earlier.Ask("QNonStop:1"));
        }

        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, _program.Touch));
        Assert.Equal(new StopReason.Breakpoint(Hardware: false), (await PeerStory.ContinueAsync(client)).Reason);
        Assert.Equal(0, client.StrayStopReplies);
    }

    [SkippableFact]
    public async Task Detaching_lets_the_program_run_to_its_end_without_breakpoints()
    {
        await using var server = await Server.StartAsync(_program, once: true);
        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, _program.Touch));
        await PeerStory.ContinueAsync(client);
        await client.SendAsync(new RemoveBreakpoint(BreakpointKind.Software, _program.Touch));
        await client.DetachAsync();
        Assert.Equal(0, await server.Process.ExitCodeAsync());
        Assert.Contains("Detaching from process", server.Process.Errors, StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task What_it_lacks_is_said()
    {
        await using var server = await Server.StartAsync(_program);
        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        Assert.Equal(
            [
                "no physical memory (Qqemu.PhyMemMode)", "no reverse execution (ReverseStep, ReverseContinue)", "no memory map (qXfer:memory-map:read)",
                "no step masks (qqemu.sstep)",
            ],
            client.Lacks);
        Assert.Contains("set debug", (await client.MonitorAsync("help")).Output, StringComparison.Ordinal);
        Assert.Equal(RspErrorKind.Unsupported, (await Assert.ThrowsAsync<RspException>(() => client.ReadMemoryMapAsync().AsTask())).Kind);
        Assert.Equal(RspErrorKind.Unsupported, (await Assert.ThrowsAsync<RspException>(() => client.SetPhysicalMemoryModeAsync(true).AsTask())).Kind);
        Assert.Contains("no physical memory (Qqemu.PhyMemMode)", client.Lacks);
        Assert.True(client.Layout.TryFind("rip", out var rip));
        var single = new ReadRegister(rip, new RegisterBlock(client.Layout));
        Assert.Equal(RspErrorKind.Unsupported, (await Assert.ThrowsAsync<RspException>(() => client.SendAsync(single).AsTask())).Kind);
    }

    [SkippableFact]
    public async Task Without_a_thread_chosen_the_description_makes_it_fail_an_assertion()
    {
        // StubProfile.DescriptionNeedsThread.
        await using var server = await Server.StartAsync(_program);
        using var raw = new RawStub(server.Endpoint);
        raw.Ask("qSupported:multiprocess+");
        raw.Send(Support.FakeStub.Frame("qXfer:features:read:target.xml:0,fff"));
        Assert.Null(raw.Read());
    }

    /// <summary>Compiled once for all tests here.</summary>
    public sealed class Programs : IDisposable
    {
        internal StubProgram Program { get; } = new();

        public void Dispose() => Program.Dispose();
    }

    private sealed class Server(PeerProcess process, int port) : IAsyncDisposable
    {
        public PeerProcess Process => process;

        public RspEndpoint Endpoint { get; } = RspEndpoint.Parse(string.Create(CultureInfo.InvariantCulture, $"tcp:127.0.0.1:{port}"));

        public static async Task<Server> StartAsync(StubProgram program, string mode = "run", bool once = false)
        {
            var port = PeerProcess.FreePort();
            var address = string.Create(CultureInfo.InvariantCulture, $"127.0.0.1:{port}");
            var process = new PeerProcess("gdbserver", [.. once ? (string[])["--once"] : [], address, program.Path, mode]);
            await process.UntilAsync(() => process.Errors.Contains("Listening on port", StringComparison.Ordinal));
            return new Server(process, port);
        }

        public ValueTask DisposeAsync() => process.DisposeAsync();
    }
}
