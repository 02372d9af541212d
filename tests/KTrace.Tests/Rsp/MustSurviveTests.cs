using System.Globalization;
using System.Text;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Tests.Rsp.Peers;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp;

/// <summary>What a client of QEMU's stub must survive, line by line: what QEMU does (shown in bare packets), and how the client fares.</summary>
public sealed class MustSurviveTests
{
    private static readonly byte[] s_count = [0x40, 0xeb, 0xfd]; // inc ax; jmp back

    private static readonly byte[] s_spin = [0xeb, 0xfe];

    [SkippableFact]
    public async Task Line_1_reverse_execution_outside_of_replay_ends_QEMU_and_is_never_sent()
    {
        await using (var qemu = await StubMachine.StartAsync())
        {
            await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
            Assert.False(client.Features.ReverseStep || client.Features.ReverseContinue);
            foreach (var command in new ResumeCommand[] { new ReverseStep(), new ReverseContinue() })
            {
                Assert.Equal(RspErrorKind.Unsupported, (await Assert.ThrowsAsync<RspException>(() => client.SendAsync(command).AsTask())).Kind);
            }

            await client.StepAsync();
            Assert.IsType<StopReply.Stopped>(await PeerStory.StopAsync(client));
        }

        await using var victim = await StubMachine.StartAsync();
        using var raw = new RawStub(victim.Endpoint);
        Assert.Equal("E22", raw.Ask("bs"));
        await victim.Process.ExitCodeAsync();
    }

    [SkippableFact]
    public async Task Line_2_any_byte_stops_a_running_machine_and_the_client_sends_none_but_an_interrupt()
    {
        await using var qemu = await StubMachine.StartAsync();
        await using (var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options))
        {
            await StubMachine.PrepareAsync(client, s_spin);
            await client.ContinueAsync();
            Assert.Equal(RspErrorKind.WrongState, (await Assert.ThrowsAsync<RspException>(() => client.ListThreadsAsync().AsTask())).Kind);
            using (var pause = new CancellationTokenSource(200))
            {
                await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.WaitForStopAsync(pause.Token).AsTask());
            }

            await client.InterruptAsync();
            Assert.False(Assert.IsType<StopReply.Stopped>(await PeerStory.StopAsync(client)).Inferred);
        }

        // 7.2 reports a stop for every byte; from 8.1 on, by its source, for 0x03 only.
        using var raw = new RawStub(qemu.Endpoint);
        foreach (var b in "+-x$\x03"u8.ToArray())
        {
            raw.Send(FakeStub.Frame("c"));
            Assert.True(raw.IsSilent(TimeSpan.FromMilliseconds(100)));
            raw.Send(b);
            Assert.True(raw.Read() is { } stop && stop.StartsWith("T02", StringComparison.Ordinal));
        }
    }

    [SkippableFact]
    public async Task Line_3_a_question_mark_deletes_breakpoints_k_ends_QEMU_and_D_resumes()
    {
        await using var qemu = await StubMachine.StartAsync();
        await using (var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options))
        {
            await StubMachine.PrepareAsync(client, s_count);
        }

        using (var raw = new RawStub(qemu.Endpoint))
        {
            Assert.Equal("OK", raw.Ask("Z0,7c00,1"));
            raw.Ask("?");
            Assert.Equal("E22", raw.Ask("z0,7c00,1"));
        }

        // The client asks it once, in the handshake: its own breakpoints stay.
        var transcript = new StringWriter();
        await using (var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options with { Transcript = new RspTranscript(transcript) }))
        {
            await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, 0x7c00));
            for (var hit = 0; hit < 3; hit++)
            {
                await PeerStory.ContinueAsync(client);
                await client.ListThreadsAsync();
                await client.ContinueAsync();
                await client.InterruptAsync();
                await PeerStory.StopAsync(client);
            }

            await client.SendAsync(new RemoveBreakpoint(BreakpointKind.Software, 0x7c00));
            Assert.Single(transcript.ToString().Split('\n'), "> ?");
            await client.DetachAsync();
        }

        using (var raw = new RawStub(qemu.Endpoint))
        {
            // It ran since D: connecting has stopped it, and says so before it is asked anything.
            Assert.StartsWith("T02thread:", raw.Read(), StringComparison.Ordinal);
        }

        await using var last = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        await last.KillAsync();
        await qemu.Process.ExitCodeAsync();
    }

    [SkippableFact]
    public async Task Line_4_a_stop_carries_no_registers_and_no_reason_but_for_watchpoints()
    {
        await using var qemu = await StubMachine.StartAsync();
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);

        // mov al, [0x7000]; inc byte [0x7001]; jmp back.
        await StubMachine.PrepareAsync(client, [0xa0, 0x00, 0x70, 0xfe, 0x06, 0x01, 0x70, 0xeb, 0xf7]);
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, 0x7c03));
        var hit = await PeerStory.ContinueAsync(client);
        Assert.Equal(StopReason.Signal.Only, hit.Reason);
        Assert.True(hit.Registers.IsDefault);
        Assert.Equal(0x7c03UL, await PeerStory.ReadAsync(client, "rip"));
        await client.SendAsync(new RemoveBreakpoint(BreakpointKind.Software, 0x7c03));
        foreach (var (kind, address, watch) in new[]
            { (BreakpointKind.ReadWatchpoint, 0x7000UL, WatchKind.Read), (BreakpointKind.WriteWatchpoint, 0x7001UL, WatchKind.Write), (BreakpointKind.AccessWatchpoint, 0x7001UL, WatchKind.Access) })
        {
            await client.SendAsync(new InsertBreakpoint(kind, address));
            Assert.Equal(new StopReason.Watchpoint(watch, address), (await PeerStory.ContinueAsync(client)).Reason);
            await client.SendAsync(new RemoveBreakpoint(kind, address));
        }
    }

    [SkippableFact]
    public async Task Line_5_every_stop_at_a_breakpoint_throws_translations_away()
    {
        await using var qemu = await StubMachine.StartAsync();
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        await StubMachine.PrepareAsync(client, s_count);
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, 0x7c00));
        async Task<int> InvalidatedAsync()
        {
            var text = (await client.MonitorAsync("info jit")).Output;
            return text.Split('\n').Where(line => line.StartsWith("TB flush count", StringComparison.Ordinal) || line.StartsWith("TB invalidate count", StringComparison.Ordinal))
                .Sum(line => int.Parse(line.Trim().Split(' ')[^1], CultureInfo.InvariantCulture));
        }

        await PeerStory.ContinueAsync(client);
        var before = await InvalidatedAsync();
        for (var hit = 0; hit < 20; hit++)
        {
            await client.StepAsync();
            await PeerStory.StopAsync(client);
            await PeerStory.ContinueAsync(client);
        }

        Assert.True(await InvalidatedAsync() >= before + 20);
    }

    [SkippableTheory]
    [InlineData(BreakpointKind.Software)]
    [InlineData(BreakpointKind.Hardware)]
    public async Task Line_6_stepping_off_a_breakpoint_works_with_it_inserted(BreakpointKind kind)
    {
        await using var qemu = await StubMachine.StartAsync();
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        Assert.True(client.Profile.StepsPastBreakpoints);
        await StubMachine.PrepareAsync(client, s_count);
        await client.SendAsync(new InsertBreakpoint(kind, 0x7c00));
        foreach (var step in new[] { client.StepCommand(), new PlainStep() })
        {
            await PeerStory.ContinueAsync(client);
            var ax = await PeerStory.ReadAsync(client, "rax");
            await client.SendAsync(step);
            await PeerStory.StopAsync(client);
            Assert.Equal((0x7c01UL, ax + 1), (await PeerStory.ReadAsync(client, "rip"), await PeerStory.ReadAsync(client, "rax")));
        }
    }

    [SkippableFact]
    public async Task Line_7_hundreds_of_breakpoints_are_set_in_one_batch_and_the_machine_still_stops_and_is_interrupted()
    {
        await using var qemu = await StubMachine.StartAsync();
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        await StubMachine.PrepareAsync(client, s_count);
        RspCommand[] insert = [.. Enumerable.Range(0, 512).Select(i => new InsertBreakpoint(BreakpointKind.Software, 0x8000 + ((ulong)i * 8)))];
        RspCommand[] remove = [.. Enumerable.Range(0, 512).Select(i => new RemoveBreakpoint(BreakpointKind.Software, 0x8000 + ((ulong)i * 8)))];
        var outcomes = new RspOutcome[512];
        await client.SendBatchAsync(insert, outcomes);
        Assert.All(outcomes, outcome => Assert.True(outcome.IsOk));
        await client.ContinueAsync();
        Assert.True(await client.InterruptAsync());
        Assert.Equal(2, Assert.IsType<StopReply.Stopped>(await PeerStory.StopAsync(client)).Signal);
        await client.SendBatchAsync(remove, outcomes);
        Assert.All(outcomes, outcome => Assert.True(outcome.IsOk));
    }

    [SkippableFact]
    public async Task Line_8_qC_names_the_first_CPU_whichever_stopped()
    {
        // The firmware starts the second CPU at 0x10000, where the first never comes by.
        await using var qemu = await StubMachine.StartAsync(extra: ["-smp", "2"]);
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Hardware, 0x10000));
        Assert.Equal(new ThreadId(1, 2), (await PeerStory.ContinueAsync(client)).Thread);
        Assert.Equal(new ThreadId(1, 1), await client.ReadCurrentThreadAsync());

        // The registers are nevertheless those of the CPU that stopped.
        Assert.Equal((0x1000UL, 0UL), (await PeerStory.ReadAsync(client, "cs"), await PeerStory.ReadAsync(client, "rip")));
        Assert.Equal(["CPU#0", "CPU#1"], (await client.DescribeThreadsAsync()).Select(thread => thread.Extra!.Split(' ')[0]));
        Assert.False(client.Features.NonStop);
    }

    [SkippableFact]
    public async Task Line_9_a_range_with_an_unmapped_page_is_refused_whole_and_read_in_pieces_by_the_client()
    {
        await using var qemu = await StubMachine.StartAsync("qemu-system-i386");
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);

        // 32-bit paging: directory at 0x10000, table at 0x11000; pages 0x20 and 0x22 are mapped to themselves, 0x21 is not.
        await client.WriteMemoryAsync(0x10000, new byte[] { 0x03, 0x10, 0x01, 0 });
        await client.WriteMemoryAsync(0x11000 + (0x20 * 4), new byte[] { 3, 0, 2, 0, 0, 0, 0, 0, 3, 0x20, 2, 0 });
        await PeerStory.WriteAsync(client, "cr3", 0x10000);
        await PeerStory.WriteAsync(client, "cr0", 0xe0000011);
        var whole = new RspOutcome[1];
        await client.SendBatchAsync(new RspCommand[] { new ReadMemory(0x20f80, new byte[0x100]) }, whole);
        Assert.Equal([new RspOutcome(RspStatus.Refused, 0x14, 0)], whole);
        Assert.Equal([new UnreadableRange(0x21000, 0x80, 0x14)], (await client.ReadMemoryAsync(0x20f80, new byte[0x100])).Unreadable);
        Assert.Equal([new UnreadableRange(0x21000, 0x1000, 0x14)], (await client.ReadMemoryAsync(0x20000, new byte[0x3000])).Unreadable);
    }

    [SkippableTheory]
    [InlineData("qemu-system-x86_64", "rip")]
    [InlineData("qemu-system-i386", "eip")]
    public async Task Line_10_in_real_mode_the_pc_is_an_offset_and_the_monitor_knows_the_base(string program, string pc)
    {
        await using var qemu = await StubMachine.StartAsync(program);
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);

        // At the reset vector the base is not 16 times the selector: 0xffff0000 and 0xf000.
        Assert.False(client.Layout.TryFind("cs_base", out _));
        Assert.Equal(0xfff0UL, await PeerStory.ReadAsync(client, pc));
        Assert.Equal(0xf000UL, await PeerStory.ReadAsync(client, "cs"));
        Assert.Equal(0xffff0000UL, await CodeBaseAsync());
        var vector = new byte[16];
        Assert.True((await client.ReadMemoryAsync(0xfffffff0, vector)).IsComplete);
        Assert.Equal(0xea, vector[0]);

        // After the far jump that lies there it is. Breakpoints are compared with base + offset.
        await client.StepAsync();
        await PeerStory.StopAsync(client);
        var selector = await PeerStory.ReadAsync(client, "cs");
        Assert.Equal(selector * 16, await CodeBaseAsync());
        var next = (selector * 16) + BitConverter.ToUInt16(vector, 1);
        Assert.Equal(next, (selector * 16) + await PeerStory.ReadAsync(client, pc));
        await client.StepAsync();
        await PeerStory.StopAsync(client);
        var linear = (selector * 16) + await PeerStory.ReadAsync(client, pc);
        await PeerStory.WriteAsync(client, pc, next - (selector * 16));
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Hardware, linear));
        Assert.Equal(5, (await PeerStory.ContinueAsync(client)).Signal);
        Assert.Equal(linear - (selector * 16), await PeerStory.ReadAsync(client, pc));

        async Task<ulong> CodeBaseAsync()
        {
            var line = (await client.MonitorAsync("info registers")).Output.Split('\n').Single(text => text.StartsWith("CS =", StringComparison.Ordinal));
            return ulong.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[2], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
        }
    }

    [SkippableTheory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Line_11_a_stop_reply_after_an_interrupt_may_be_missing_or_come_twice(int times)
    {
        await using var qemu = await StubMachine.StartAsync();
        await using (var first = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options))
        {
            await StubMachine.PrepareAsync(first, s_spin);
        }

        // Real QEMU, with the stop replies of interrupts multiplied on their way.
        await using var proxy = new StubProxy(qemu.Endpoint)
        {
            FromStub = bytes => Encoding.Latin1.GetString(bytes) is var text && text.Contains("$T02", StringComparison.Ordinal)
                ? [.. Enumerable.Repeat(FakeStub.Frame("T02thread:p01.01;"), times).SelectMany(frame => frame)]
                : bytes,
        };
        await using var client = await RspClient.ConnectAsync(proxy.Endpoint, PeerStory.Options with { InterruptTimeout = times == 0 ? TimeSpan.FromMilliseconds(300) : TimeSpan.FromSeconds(30) });
        for (var round = 0; round < 3; round++)
        {
            await client.ContinueAsync();
            var waiting = Task.Run(() => PeerStory.StopAsync(client));
            Assert.True(await client.InterruptAsync());
            var stop = Assert.IsType<StopReply.Stopped>(await waiting);
            Assert.Equal((2, times == 0), (stop.Signal, stop.Inferred));
            Assert.Equal(0x7c00UL, await PeerStory.ReadAsync(client, "rip"));
        }

        Assert.Equal(times == 2 ? 3 : 0, client.StrayStopReplies);
    }

    [SkippableFact]
    public async Task Line_12_a_unix_socket_is_private_and_a_TCP_stub_listens_where_it_is_told()
    {
        await using (var qemu = await StubMachine.StartAsync())
        {
            Assert.Equal(
                UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(Path.GetDirectoryName(qemu.Endpoint.Path)!));
            await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
            Assert.Equal(RspState.Stopped, client.State);
        }

        var port = PeerProcess.FreePort();
        await using var tcp = await StubMachine.StartAsync(extra: ["-gdb", string.Create(CultureInfo.InvariantCulture, $"tcp:127.0.0.1:{port}")], onSocket: false);
        var local = string.Create(CultureInfo.InvariantCulture, $"0100007F:{port:X4} 00000000:0000 0A");
        await tcp.Process.UntilAsync(() => File.ReadAllText("/proc/net/tcp").Contains(local, StringComparison.Ordinal));
        await using var second = await RspClient.ConnectAsync(RspEndpoint.Parse(string.Create(CultureInfo.InvariantCulture, $"tcp:127.0.0.1:{port}")), PeerStory.Options);
        Assert.Equal(RspState.Stopped, second.State);
    }

    [SkippableFact]
    public async Task Line_13_a_power_off_is_W00_and_then_the_connection_closes()
    {
        await using var qemu = await StubMachine.StartAsync(bootSector: BootSector.PowerOff);
        using (var raw = new RawStub(qemu.Endpoint))
        {
            raw.Send(FakeStub.Frame("c"));
            Assert.Equal("W00", raw.Read());
            Assert.Null(raw.Read());
        }

        await using var again = await StubMachine.StartAsync(bootSector: BootSector.PowerOff);
        await using var client = await RspClient.ConnectAsync(again.Endpoint, PeerStory.Options);
        await client.ContinueAsync();
        Assert.Equal(new StopReply.Exited(0), await PeerStory.StopAsync(client));
        await again.Process.ExitCodeAsync();
        Assert.Equal(RspState.Exited, client.State);
        Assert.False(await client.InterruptAsync());
    }

    [SkippableFact]
    public async Task Single_registers_are_refused_until_the_description_was_read()
    {
        // StubProfile.RegistersNeedTargetXml.
        await using var qemu = await StubMachine.StartAsync();
        using var raw = new RawStub(qemu.Endpoint);
        Assert.Equal("", raw.Ask("p10"));
        Assert.StartsWith("l<?xml", raw.Ask("qXfer:features:read:target.xml:0,ffb"), StringComparison.Ordinal);
        Assert.Equal("f0ff000000000000", raw.Ask("p10"));
    }

    [SkippableFact]
    public async Task Words_about_a_thread_that_is_not_there_are_never_given_and_the_client_does_not_wait_for_them()
    {
        // StubProfile.SilentAboutMissingThreads.
        await using var qemu = await StubMachine.StartAsync();
        using (var raw = new RawStub(qemu.Endpoint))
        {
            raw.Send(FakeStub.Frame("qThreadExtraInfo,9"));
            Assert.True(raw.IsSilent(TimeSpan.FromMilliseconds(500)));
        }

        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        Assert.Equal(RspErrorKind.ErrorReply, (await Assert.ThrowsAsync<RspException>(() => client.ReadThreadExtraAsync(new ThreadId(1, 9)).AsTask())).Kind);
        Assert.StartsWith("CPU#0", await client.ReadThreadExtraAsync(new ThreadId(1, 1)), StringComparison.Ordinal);
    }

    [SkippableFact]
    public async Task Continuing_from_an_address_moves_the_pc_of_the_CPU_that_stopped()
    {
        // StubProfile.ContinuesFromAddress: what follows inc ax is jumped over.
        await using var qemu = await StubMachine.StartAsync();
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        await StubMachine.PrepareAsync(client, [0x40, 0x40, 0x40, 0xeb, 0xfe]);
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Software, 0x7c03));
        await client.SendAsync(new ContinueFrom(0x7c02));
        await PeerStory.StopAsync(client);
        Assert.Equal(1UL, await PeerStory.ReadAsync(client, "rax"));
    }

    [SkippableFact]
    public async Task What_it_lacks_is_said()
    {
        await using var qemu = await StubMachine.StartAsync();
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        Assert.Equal(
            [
                "no reason with its stops, except for watchpoints: a breakpoint is told by the program counter",
                "no reverse execution (ReverseStep, ReverseContinue)",
                "no memory map (qXfer:memory-map:read)",
            ],
            client.Lacks);
    }
}
