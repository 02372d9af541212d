using System.Globalization;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Tests.Rsp.Peers;

namespace KTrace.Tests.Rsp;

/// <summary>The client against QEMU's own stub: its firmware is the guest, which begins at the reset vector in real mode.</summary>
public sealed class RealQemuTests
{
    private static readonly RspClientOptions s_options = new() { RequestTimeout = TimeSpan.FromSeconds(60), InterruptTimeout = TimeSpan.FromSeconds(30) };

    [Theory]
    [InlineData("qemu-system-x86_64", "i386:x86-64", "rip", 8)]
    [InlineData("qemu-system-i386", "i386", "eip", 4)]
    public async Task The_handshake_finds_QEMU_and_its_registers(string program, string architecture, string pc, int pcBytes)
    {
        await using var qemu = await StubMachine.StartAsync(program);
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, s_options);
        Assert.Equal("QEMU", client.Profile.Name);
        Assert.Equal(architecture, client.Description!.Architecture);
        Assert.True(client.Features.PacketSize >= 4096);
        Assert.True(client.Features.VCont && client.Features.Multiprocess);
        Assert.Equal(new ThreadId(1, 1), ((StopReply.Stopped)client.LastStop).Thread);

        var block = new RegisterBlock(client.Layout);
        await client.ReadRegistersAsync(block);
        Assert.Equal(client.Layout.ByteSize, block.Received);
        var values = new ulong[4];
        Assert.Equal(0b1111UL, client.Layout.Select(pc, "cs", "eflags", "cr0").Read(block, values));
        Assert.Equal([0xfff0, 0xf000, 2, 0x60000010], values);
        Assert.True(client.Layout.TryFind(pc, out var register));
        Assert.Equal(pcBytes, register.ByteSize);

        // p and P, one register at a time.
        var single = new RegisterBlock(client.Layout);
        await client.SendAsync(new ReadRegister(register, single));
        Assert.True(single.TryGetValue(register, out var value));
        Assert.Equal(0xfff0UL, value);
        single.SetValue(register, 0x1234);
        await client.WriteRegisterAsync(register, single);
        await client.ReadRegistersAsync(block);
        Assert.True(block.TryGetValue(register, out value));
        Assert.Equal(0x1234UL, value);
    }

    [Theory]
    [InlineData("qemu-system-x86_64")]
    [InlineData("qemu-system-i386")]
    public async Task Memory_is_written_and_read_back_and_monitor_commands_answer(string program)
    {
        await using var qemu = await StubMachine.StartAsync(program);
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, s_options);
        var bytes = new byte[20_000];
        new Random(1).NextBytes(bytes);
        await client.WriteMemoryAsync(0x10_0123, bytes);
        var read = new byte[bytes.Length];
        Assert.True((await client.ReadMemoryAsync(0x10_0123, read)).IsComplete);
        Assert.Equal(bytes, read);

        // The same without paging through the physical mode, and by QEMU's own monitor.
        await client.SetPhysicalMemoryModeAsync(true);
        await client.ReadMemoryAsync(0x10_0123, read.AsMemory(0, 100));
        Assert.Equal(bytes[..100], read[..100]);
        await client.SetPhysicalMemoryModeAsync(false);
        var (output, truncated) = await client.MonitorAsync("xp /4bx 0x100123");
        Assert.False(truncated);
        Assert.Contains(string.Join(' ', bytes[..4].Select(b => "0x" + b.ToString("x2", CultureInfo.InvariantCulture))), output, StringComparison.Ordinal);
        Assert.Contains("CR0=60000010", (await client.MonitorAsync("info registers")).Output, StringComparison.Ordinal);
        Assert.Single(await client.ListThreadsAsync());
        Assert.StartsWith("CPU#0", await client.ReadThreadExtraAsync(new ThreadId(1, 1)), StringComparison.Ordinal);
        Assert.Equal((StepMask)7, (await client.ReadStepMaskAsync()).Known);
        await client.SetStepMaskAsync(StepMask.Enable);
        Assert.Equal(StepMask.Enable, (await client.ReadStepMaskAsync()).InForce);
    }

    [Theory]
    [InlineData("qemu-system-x86_64", BreakpointKind.Software)]
    [InlineData("qemu-system-x86_64", BreakpointKind.Hardware)]
    [InlineData("qemu-system-i386", BreakpointKind.Hardware)]
    public async Task A_breakpoint_is_hit_again_and_again_and_a_batch_reads_and_steps_off_it(string program, BreakpointKind kind)
    {
        await using var qemu = await StubMachine.StartAsync(program);
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, s_options);

        // 16-bit code at 0x7c00: inc ax; jmp back.
        await StubMachine.PrepareAsync(client, [0x40, 0xeb, 0xfd]);
        await client.SendAsync(new InsertBreakpoint(kind, 0x7c00));
        var block = new RegisterBlock(client.Layout);
        var code = new byte[3];
        var outcomes = new RspOutcome[4];
        var ax = client.Layout.Select(program.EndsWith("x86_64", StringComparison.Ordinal) ? ["rax", "rip"] : ["eax", "eip"]);
        var values = new ulong[2];
        for (ulong hit = 0; hit < 20; hit++)
        {
            await client.ContinueAsync();
            Assert.Equal(5, ((StopReply.Stopped)await client.WaitForStopAsync()).Signal);
            await client.SendBatchAsync(
                new RspCommand[] { new ReadRegisters(block), new ReadMemory(0x7c00, code), new ReadMemory(0x7c01, code.AsMemory(1)), client.StepCommand() }, outcomes);
            Assert.Equal([RspStatus.Ok, RspStatus.Ok, RspStatus.Ok, RspStatus.Running], outcomes.Select(o => o.Status));
            Assert.Equal([0x40, 0xeb, 0xfd], code);
            ax.Read(block, values);
            Assert.Equal([hit, 0x7c00], values);

            // The step goes past the breakpoint with it inserted.
            Assert.Equal(5, ((StopReply.Stopped)await client.WaitForStopAsync()).Signal);
            await client.ReadRegistersAsync(block);
            ax.Read(block, values);
            Assert.Equal([hit + 1, 0x7c01], values);
        }

        await client.SendAsync(new RemoveBreakpoint(kind, 0x7c00));
        Assert.Equal(RspErrorKind.ErrorReply, (await Assert.ThrowsAsync<RspException>(() => client.SendAsync(new RemoveBreakpoint(kind, 0x7c00)).AsTask())).Kind);
        Assert.Equal(0, client.StrayStopReplies);
    }

    [Fact]
    public async Task A_watchpoint_names_the_address_that_was_touched()
    {
        await using var qemu = await StubMachine.StartAsync("qemu-system-x86_64");
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, s_options);

        // inc byte [0x7000]; jmp back.
        await StubMachine.PrepareAsync(client, [0xfe, 0x06, 0x00, 0x70, 0xeb, 0xfa]);
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.WriteWatchpoint, 0x7000, 1));
        await client.ContinueAsync();
        Assert.Equal(new StopReason.Watchpoint(WatchKind.Write, 0x7000), ((StopReply.Stopped)await client.WaitForStopAsync()).Reason);
    }

    [Fact]
    public async Task A_running_machine_is_interrupted_many_times_also_while_another_task_waits()
    {
        await using var qemu = await StubMachine.StartAsync("qemu-system-x86_64");
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, s_options);
        await StubMachine.PrepareAsync(client, [0xeb, 0xfe]);
        for (var round = 0; round < 20; round++)
        {
            await client.ContinueAsync();
            var waiting = Task.Run(() => client.WaitForStopAsync().AsTask());
            Assert.True(await client.InterruptAsync());
            Assert.Equal(2, ((StopReply.Stopped)await waiting).Signal);
            Assert.Equal(RspState.Stopped, client.State);
        }
    }

    [Fact]
    public async Task Interrupts_that_race_with_a_breakpoint_lose_no_step()
    {
        await using var qemu = await StubMachine.StartAsync("qemu-system-x86_64");
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, s_options);
        await StubMachine.PrepareAsync(client, [0x40, 0xeb, 0xfd]);
        var block = new RegisterBlock(client.Layout);
        var selection = client.Layout.Select("rip");
        var pc = new ulong[1];
        for (var round = 0; round < 200; round++)
        {
            await client.StepAsync();
            await client.InterruptAsync();
            await client.WaitForStopAsync();
            await client.ReadRegistersAsync(block);
            selection.Read(block, pc);
            Assert.InRange(pc[0], 0x7c00UL, 0x7c01UL);
        }
    }

    [Fact]
    public async Task Connecting_to_a_machine_that_runs_stops_it()
    {
        await using var qemu = await StubMachine.StartAsync("qemu-system-x86_64", stopped: false);
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, s_options);
        var block = new RegisterBlock(client.Layout);
        await client.ReadRegistersAsync(block);
        var first = block.Bytes.ToArray();
        await Task.Delay(50);
        await client.ReadRegistersAsync(block);
        Assert.Equal(first, block.Bytes.ToArray());
    }

    [Fact]
    public async Task A_page_that_is_not_mapped_is_unreadable_and_its_neighbours_are_not()
    {
        await using var qemu = await StubMachine.StartAsync("qemu-system-i386");
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, s_options);

        // 32-bit paging: directory at 0x10000, table at 0x11000; pages 0x20 and 0x22 are mapped to themselves, 0x21 is not.
        await client.WriteMemoryAsync(0x10000, new byte[] { 0x03, 0x10, 0x01, 0 });
        await client.WriteMemoryAsync(0x11000 + (0x20 * 4), new byte[] { 3, 0, 2, 0, 0, 0, 0, 0, 3, 0x20, 2, 0 });
        await client.WriteMemoryAsync(0x20000, Enumerable.Repeat((byte)0x55, 0x3000).ToArray());
        var block = new RegisterBlock(client.Layout);
        await client.ReadRegistersAsync(block);
        Assert.True(client.Layout.TryFind("cr3", out var cr3));
        Assert.True(client.Layout.TryFind("cr0", out var cr0));
        block.SetValue(cr3, 0x10000);
        await client.WriteRegisterAsync(cr3, block);
        block.SetValue(cr0, 0xe0000011);
        await client.WriteRegisterAsync(cr0, block);

        var bytes = new byte[0x2800];
        var read = await client.ReadMemoryAsync(0x20400, bytes);
        Assert.Equal([new UnreadableRange(0x21000, 0x1000, 0x14)], read.Unreadable);
        Assert.Equal(0xc00, read.ReadableFromStart);
        Assert.Equal(0x2800 - 0x1000, bytes.Count(b => b == 0x55));

        // In one batch, cut by page.
        var batch = new List<RspCommand>();
        Assert.Equal(2, ReadMemory.AppendByPage(batch, client.Features, 0x20c00, bytes.AsMemory(0, 0x800)));
        var outcomes = new RspOutcome[2];
        await client.SendBatchAsync(batch.ToArray(), outcomes);
        Assert.Equal([new(RspStatus.Ok, 0, 0x400), new(RspStatus.Refused, 0x14, 0)], outcomes);
    }

    [Fact]
    public async Task Several_CPUs_are_threads_and_one_is_stepped_while_the_others_stand()
    {
        await using var qemu = await StubMachine.StartAsync("qemu-system-x86_64", extra: ["-smp", "2"]);
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, s_options);
        var threads = await client.ListThreadsAsync();
        Assert.Equal([new(1, 1), new(1, 2)], threads);
        var block = new RegisterBlock(client.Layout);
        await client.SendAsync(new SelectThread(threads[1]));
        await client.ReadRegistersAsync(block);
        var second = block.Bytes.ToArray();
        await client.StepAsync(threads[0]);
        Assert.Equal(threads[0], ((StopReply.Stopped)await client.WaitForStopAsync()).Thread);
        await client.SendAsync(new SelectThread(threads[1]));
        await client.ReadRegistersAsync(block);
        Assert.Equal(second, block.Bytes.ToArray());
    }

    [Fact]
    public async Task Killing_ends_QEMU_and_QEMU_ending_by_itself_is_an_exit()
    {
        await using (var qemu = await StubMachine.StartAsync("qemu-system-x86_64"))
        {
            await using var client = await RspClient.ConnectAsync(qemu.Endpoint, s_options);
            await client.ContinueAsync();
            await client.KillAsync();
            Assert.Equal(RspState.Exited, client.State);
            await qemu.Process.ExitCodeAsync();
        }

        await using (var qemu = await StubMachine.StartAsync("qemu-system-x86_64", extra: ["-no-reboot"]))
        {
            await using var client = await RspClient.ConnectAsync(qemu.Endpoint, s_options);

            // Reset through the port 0xcf9; with -no-reboot that ends QEMU: mov dx, 0xcf9; mov al, 6; out dx, al; jmp $.
            await StubMachine.PrepareAsync(client, [0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xeb, 0xfe]);
            await client.ContinueAsync();
            Assert.Equal(new StopReply.Exited(0), await client.WaitForStopAsync());
            Assert.Equal(RspState.Exited, client.State);
        }
    }

    [Fact]
    public async Task QEMU_being_killed_from_outside_is_a_lost_connection()
    {
        await using var qemu = await StubMachine.StartAsync("qemu-system-x86_64");
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, s_options);
        await StubMachine.PrepareAsync(client, [0xeb, 0xfe]);
        await client.ContinueAsync();
        qemu.Process.Kill();
        Assert.Equal(RspErrorKind.Disconnected, (await Assert.ThrowsAsync<RspException>(() => client.WaitForStopAsync().AsTask())).Kind);
    }
}
