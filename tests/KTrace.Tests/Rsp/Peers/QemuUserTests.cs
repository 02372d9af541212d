using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp.Peers;

/// <summary>The client against QEMU's user mode, `qemu-x86_64 -g`.</summary>
public sealed class QemuUserTests(QemuUserTests.Programs programs) : IClassFixture<QemuUserTests.Programs>
{
    private readonly StubProgram _program = programs.Program;

    [SkippableFact]
    public async Task Registers_memory_breakpoints_and_steps_up_to_the_exit()
    {
        await using var server = await Server.StartAsync(_program);
        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        Assert.Equal(StubProfile.QemuUser, client.Profile);
        Assert.Equal("i386:x86-64", client.Description!.Architecture);
        await PeerStory.ReadAndWriteAsync(client, _program);
        Assert.Equal(StopReason.Signal.Only, (await PeerStory.BreakAndStepAsync(client, _program)).Reason);
        await PeerStory.ExitAsync(client);
        Assert.Equal(7, await server.Process.ExitCodeAsync());
    }

    [SkippableFact]
    public async Task Single_registers_are_read_and_hardware_breakpoints_are_the_same_as_software_ones()
    {
        await using var server = await Server.StartAsync(_program);
        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        await PeerStory.BreakAndStepAsync(client, _program, BreakpointKind.Hardware);
        Assert.True(client.Layout.TryFind("rdi", out var rdi));
        var single = new RegisterBlock(client.Layout);
        await client.SendAsync(new ReadRegister(rdi, single));
        Assert.True(single.TryGetValue(rdi, out var value));
        Assert.Equal(2UL, value);
    }

    [SkippableFact]
    public async Task Threads_are_listed_and_one_is_stepped_while_the_other_stands()
    {
        await using var server = await Server.StartAsync(_program, "threads");
        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, _program.Ready));
        var main = (await PeerStory.ContinueAsync(client)).Thread!.Value;
        var threads = await client.DescribeThreadsAsync();
        Assert.Equal(2, threads.Count);
        Assert.Contains(main, threads.Select(thread => thread.Id));
        var other = threads.Single(thread => thread.Id != main).Id;
        await client.SendAsync(new SelectThread(other));
        var standing = await PeerStory.ReadAsync(client, "rip");
        await client.StepAsync(main);
        Assert.Equal(main, Assert.IsType<StopReply.Stopped>(await PeerStory.StopAsync(client)).Thread);
        await client.SendAsync(new SelectThread(other));
        Assert.Equal(standing, await PeerStory.ReadAsync(client, "rip"));

        // A thread that is not there: QEMU would never answer.
        var nobody = main with { Thread = 1 };
        Assert.Equal(RspErrorKind.ErrorReply, (await Assert.ThrowsAsync<RspException>(() => client.ReadThreadExtraAsync(nobody).AsTask())).Kind);
        Assert.StartsWith("CPU#", await client.ReadThreadExtraAsync(main), StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task A_running_program_cannot_be_interrupted_and_the_client_says_so_instead_of_trying()
    {
        await using var server = await Server.StartAsync(_program);
        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, _program.Touch));
        await client.ContinueAsync();
        var e = await Assert.ThrowsAsync<RspException>(() => client.InterruptAsync().AsTask());
        Assert.Equal(RspErrorKind.Unsupported, e.Kind);
        Assert.Equal("QEMU user mode does not listen while the program runs: it cannot be interrupted", e.Message);
        Assert.IsType<StopReply.Stopped>(await PeerStory.StopAsync(client));
        Assert.Equal(_program.Touch, await PeerStory.ReadAsync(client, "rip"));
    }

    [SkippableFact]
    public async Task An_interrupt_has_no_effect_as_the_profile_says()
    {
        await using var server = await Server.StartAsync(_program, "spin");
        using var raw = new RawStub(server.Endpoint);
        raw.Ask("?");
        raw.Send(FakeStub.Frame("c"));
        raw.Send(3);
        Assert.True(raw.IsSilent(TimeSpan.FromSeconds(1)));
    }

    [SkippableFact]
    public async Task A_signal_is_delivered_by_continuing_with_it_and_swallowed_otherwise()
    {
        foreach (var (deliver, code) in new[] { (true, 3), (false, 4) })
        {
            await using var server = await Server.StartAsync(_program, "signal");
            await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
            var stop = await PeerStory.ContinueAsync(client);
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
    public async Task What_it_lacks_is_said()
    {
        await using var server = await Server.StartAsync(_program);
        await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
        string[] lacks =
        [
            "no interrupt: it does not listen while the target runs, so a running target stops at breakpoints, signals and its end only",
            "no watchpoints (Z2, Z3, Z4)",
            "no reason with its stops, except for watchpoints: a breakpoint is told by the program counter",
            "no monitor commands (qRcmd)",
            "no physical memory (Qqemu.PhyMemMode)",
            "no reverse execution (ReverseStep, ReverseContinue)",
            "no memory map (qXfer:memory-map:read)",
        ];
        Assert.Equal(lacks, client.Lacks);
        foreach (var kind in new[] { BreakpointKind.WriteWatchpoint, BreakpointKind.ReadWatchpoint, BreakpointKind.AccessWatchpoint })
        {
            var e = await Assert.ThrowsAsync<RspException>(() => client.SendAsync(new InsertBreakpoint(kind, _program.Counter, 8)).AsTask());
            Assert.Equal(RspErrorKind.Unsupported, e.Kind);
        }

        Assert.Equal(RspErrorKind.Unsupported, (await Assert.ThrowsAsync<RspException>(() => client.MonitorAsync("help").AsTask())).Kind);
        Assert.Equal(RspErrorKind.Unsupported, (await Assert.ThrowsAsync<RspException>(() => client.SetPhysicalMemoryModeAsync(true).AsTask())).Kind);
        Assert.Equal(StepMask.Enable | StepMask.NoInterrupts | StepMask.NoTimers, (await client.ReadStepMaskAsync()).InForce);
    }

    [SkippableFact]
    public async Task Killing_ends_the_emulator_and_detaching_lets_the_program_run()
    {
        await using (var server = await Server.StartAsync(_program))
        {
            await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
            await client.KillAsync();
            Assert.Equal(RspState.Exited, client.State);
            await server.Process.ExitCodeAsync();
        }

        await using (var server = await Server.StartAsync(_program))
        {
            await using var client = await RspClient.ConnectAsync(server.Endpoint, PeerStory.Options);
            await client.DetachAsync();
            Assert.Equal(7, await server.Process.ExitCodeAsync());
        }
    }

    /// <summary>Compiled once for all tests here.</summary>
    public sealed class Programs : IDisposable
    {
        internal StubProgram Program { get; } = new("-static");

        public void Dispose() => Program.Dispose();
    }

    private sealed class Server(PeerProcess process, ScratchFolder folder) : IAsyncDisposable
    {
        public PeerProcess Process => process;

        public RspEndpoint Endpoint { get; } = RspEndpoint.Parse("unix:" + folder.File("stub"));

        public static async Task<Server> StartAsync(StubProgram program, string mode = "run")
        {
            var folder = new ScratchFolder();
            var process = new PeerProcess("qemu-x86_64", "-g", folder.File("stub"), program.Path, mode);
            await process.UntilAsync(() => PeerProcess.IsListening(folder.File("stub")));
            return new Server(process, folder);
        }

        public async ValueTask DisposeAsync()
        {
            await process.DisposeAsync();
            folder.Dispose();
        }
    }
}
