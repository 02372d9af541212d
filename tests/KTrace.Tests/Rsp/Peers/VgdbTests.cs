using System.Globalization;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp.Peers;

/// <summary>The client against the stub inside Valgrind, through the program vgdb as a pipe and as a port.</summary>
public sealed class VgdbTests(VgdbTests.Programs programs) : IClassFixture<VgdbTests.Programs>
{
    private readonly StubProgram _program = programs.Program;

    [SkippableFact]
    public async Task Registers_memory_breakpoints_and_steps_up_to_the_exit()
    {
        await using var server = Server.Start(_program);
        await using var client = await RspClient.ConnectAsync(server.Pipe, PeerStory.Options);
        Assert.Equal(StubProfile.Vgdb, client.Profile);
        Assert.Equal("i386:x86-64", client.Description!.Architecture);
        await PeerStory.ReadAndWriteAsync(client, _program);
        await PeerStory.BreakAndStepAsync(client, _program);
        await PeerStory.ExitAsync(client);
        Assert.Equal(7, await server.Process.ExitCodeAsync());
    }

    [SkippableTheory]
    [InlineData(BreakpointKind.WriteWatchpoint)]
    [InlineData(BreakpointKind.ReadWatchpoint)]
    [InlineData(BreakpointKind.AccessWatchpoint)]
    public async Task Where_the_tool_has_watchpoints_they_name_the_address_and_are_all_called_writes(BreakpointKind kind)
    {
        await using var server = Server.Start(_program, tool: "memcheck");
        await using var client = await RspClient.ConnectAsync(server.Pipe, PeerStory.Options);
        Assert.True(client.Profile.CallsEveryWatchpointWrite);
        await client.SendAsync(new InsertBreakpoint(kind, _program.Counter, 8));
        Assert.Equal(new StopReason.Watchpoint(WatchKind.Write, _program.Counter), (await PeerStory.ContinueAsync(client)).Reason);
    }

    [SkippableFact]
    public async Task A_running_program_is_interrupted_through_its_port_and_threads_are_listed()
    {
        await using var server = Server.Start(_program, "spin");
        var port = PeerProcess.FreePort();
        await using var relay = new PeerProcess("vgdb", [.. server.RelayArguments, string.Create(CultureInfo.InvariantCulture, $"--port={port}")]);
        await using var client = await ConnectWhenListeningAsync(RspEndpoint.Parse(string.Create(CultureInfo.InvariantCulture, $"tcp:127.0.0.1:{port}")), relay);
        await client.ContinueAsync();
        var waiting = Task.Run(() => PeerStory.StopAsync(client));
        await Task.Delay(50);
        Assert.True(await client.InterruptAsync());
        var stop = Assert.IsType<StopReply.Stopped>(await waiting);
        Assert.Equal(5, stop.Signal);
        Assert.Equal([stop.Thread!.Value], await client.ListThreadsAsync());
        Assert.Contains("tid", Assert.Single(await client.DescribeThreadsAsync()).Extra, StringComparison.Ordinal);
        await client.KillAsync();
        await server.Process.ExitCodeAsync();
    }

    [SkippableFact]
    public async Task A_signal_is_delivered_by_continuing_with_it_and_swallowed_otherwise()
    {
        foreach (var (deliver, code) in new[] { (true, 3), (false, 4) })
        {
            await using var server = Server.Start(_program, "signal");
            await using var client = await RspClient.ConnectAsync(server.Pipe, PeerStory.Options);
            var stop = await PeerStory.ContinueAsync(client);
            Assert.Equal(30, stop.Signal);
            await client.ContinueAsync(deliver ? stop.Signal : 0);
            Assert.Equal(code, Assert.IsType<StopReply.Exited>(await PeerStory.StopAsync(client)).Code);
        }
    }

    [SkippableFact]
    public async Task Detaching_lets_the_program_run_and_a_program_that_is_gone_is_said()
    {
        await using var server = Server.Start(_program);
        await using var client = await RspClient.ConnectAsync(server.Pipe, PeerStory.Options);
        await client.DetachAsync();
        Assert.Equal(7, await server.Process.ExitCodeAsync());

        var e = await Assert.ThrowsAsync<RspException>(() => RspClient.ConnectAsync(server.PipeAtOnce, PeerStory.Options).AsTask());
        Assert.Equal(RspErrorKind.Disconnected, e.Kind);
        Assert.Contains("the program ended, having said: ", e.Message, StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task What_it_lacks_is_said()
    {
        await using var server = Server.Start(_program);
        await using var client = await RspClient.ConnectAsync(server.Pipe, PeerStory.Options);
        Assert.Equal(
            [
                "no vCont: a single thread cannot be stepped while the others stand still",
                "no reason with its stops, except for watchpoints: a breakpoint is told by the program counter",
                "no physical memory (Qqemu.PhyMemMode)", "no reverse execution (ReverseStep, ReverseContinue)", "no memory map (qXfer:memory-map:read)",
                "no step masks (qqemu.sstep)",
            ],
            client.Lacks);
        var e = await Assert.ThrowsAsync<RspException>(() => client.SendAsync(new InsertBreakpoint(BreakpointKind.WriteWatchpoint, _program.Counter, 8)).AsTask());
        Assert.Equal(RspErrorKind.Unsupported, e.Kind);
        Assert.Contains("no write watchpoints (Z2)", client.Lacks);
        Assert.Contains("valgrind monitor commands", (await client.MonitorAsync("help")).Output, StringComparison.Ordinal);
    }

    /// <summary>vgdb says that it listens without ending the line, and takes the first connection for its debugger: so the client itself is what tries.</summary>
    private static async Task<RspClient> ConnectWhenListeningAsync(RspEndpoint endpoint, PeerProcess relay)
    {
        RspClient? client = null;
        while (client is null)
        {
            Assert.False(relay.HasExited, relay.Errors);
            try
            {
                client = await RspClient.ConnectAsync(endpoint, PeerStory.Options);
            }
            catch (RspException e) when (e.Kind == RspErrorKind.Disconnected)
            {
                await Task.Delay(20);
            }
        }

        return client;
    }

    /// <summary>Compiled once for all tests here.</summary>
    public sealed class Programs : IDisposable
    {
        internal StubProgram Program { get; } = new();

        public void Dispose() => Program.Dispose();
    }

    /// <summary>Valgrind's own pipes lie in the private folder.</summary>
    private sealed class Server(PeerProcess process, ScratchFolder folder) : IAsyncDisposable
    {
        public PeerProcess Process => process;

        public string[] RelayArguments { get; } =
            [string.Create(CultureInfo.InvariantCulture, $"--pid={process.Id}"), $"--vgdb-prefix={folder.File("vgdb")}", "--wait=60"];

        public RspEndpoint Pipe => RspEndpoint.Parse($"pipe:vgdb {string.Join(' ', RelayArguments)}");

        /// <summary>The same without waiting for the program to come.</summary>
        public RspEndpoint PipeAtOnce => RspEndpoint.Parse($"pipe:vgdb {string.Join(' ', RelayArguments.SkipLast(1))}");

        public static Server Start(StubProgram program, string mode = "run", string tool = "none")
        {
            var folder = new ScratchFolder();
            var process = new PeerProcess("valgrind", $"--tool={tool}", "--vgdb=yes", "--vgdb-error=0", $"--vgdb-prefix={folder.File("vgdb")}", program.Path, mode);
            return new Server(process, folder);
        }

        public async ValueTask DisposeAsync()
        {
            await process.DisposeAsync();
            folder.Dispose();
        }
    }
}
