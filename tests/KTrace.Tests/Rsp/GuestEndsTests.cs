using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Tests.Rsp.Peers;

namespace KTrace.Tests.Rsp;

/// <summary>Guests that power off, reboot, triple-fault and panic while they run or are stepped, on real QEMU.</summary>
public sealed class GuestEndsTests
{
    public static TheoryData<string, bool> Ends => new()
    {
        { "power off", false }, { "power off", true }, { "reset with -no-reboot", false }, { "reset with -no-reboot", true },
        { "triple fault with -no-reboot", false }, { "triple fault with -no-reboot", true }, { "panic", false }, { "panic", true },
    };

    [SkippableTheory]
    [MemberData(nameof(Ends))]
    public async Task A_guest_that_ends_is_an_exit_also_under_a_step_and_QEMU_is_gone(string how, bool stepping)
    {
        var (sector, options) = how switch
        {
            "power off" => (BootSector.PowerOff, (string[])[]),
            "reset with -no-reboot" => (BootSector.Reboot, ["-no-reboot"]),
            "panic" => (BootSector.Panic, ["-device", "pvpanic"]),
            _ => (BootSector.TripleFault, ["-no-reboot"]),
        };
        await using var qemu = await StubMachine.StartAsync(bootSector: sector, extra: options);
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        await ReachSectorAsync(client);
        if (!stepping)
        {
            await client.ContinueAsync();
            await PeerStory.StopAsync(client);
        }

        for (var steps = 0; client.State != RspState.Exited; steps++)
        {
            Assert.True(steps < 100_000, "the guest did not end");
            try
            {
                await client.StepAsync();
                await PeerStory.StopAsync(client);
            }
            catch (RspException e) when (e.Kind == RspErrorKind.WrongState && client.State == RspState.Exited)
            {
                // The end was reported between two steps.
            }
        }

        Assert.Equal(new StopReply.Exited(0), client.LastStop);
        Assert.Equal(RspErrorKind.WrongState, (await Assert.ThrowsAsync<RspException>(() => client.StepAsync().AsTask())).Kind);
        Assert.Equal(client.LastStop, await PeerStory.StopAsync(client));
        await qemu.Process.ExitCodeAsync();
    }

    [SkippableTheory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_guest_that_reboots_comes_by_the_same_breakpoint_again(bool tripleFault)
    {
        await using var qemu = await StubMachine.StartAsync(bootSector: tripleFault ? BootSector.TripleFault : BootSector.Reboot);
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        await ReachSectorAsync(client, keep: true);
        for (var boots = 0; boots < 3; boots++)
        {
            await client.StepAsync();
            await PeerStory.StopAsync(client);
            Assert.Equal(5, (await PeerStory.ContinueAsync(client)).Signal);
            Assert.Equal(BootSector.Start, await PeerStory.ReadAsync(client, "rip"));
        }
    }

    [SkippableFact]
    public async Task A_reset_under_a_step_leaves_the_machine_at_its_reset_vector_or_on_its_way_there()
    {
        await using var qemu = await StubMachine.StartAsync(bootSector: BootSector.Reboot);
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        await ReachSectorAsync(client);
        for (var steps = 0; await PeerStory.ReadAsync(client, "cs") != 0xf000; steps++)
        {
            Assert.True(steps < 100_000, "the machine was not reset");
            await client.StepAsync();
            Assert.IsType<StopReply.Stopped>(await PeerStory.StopAsync(client));
        }
    }

    [SkippableFact]
    public async Task A_machine_that_QEMU_keeps_after_its_end_is_a_stop_with_another_signal()
    {
        await using var qemu = await StubMachine.StartAsync(bootSector: BootSector.PowerOff, extra: ["-no-shutdown"]);
        await using var client = await RspClient.ConnectAsync(qemu.Endpoint, PeerStory.Options);
        await ReachSectorAsync(client);

        // QEMU: RUN_STATE_SHUTDOWN is SIGQUIT.
        Assert.Equal(3, (await PeerStory.ContinueAsync(client)).Signal);
        Assert.Contains("shutdown", (await client.MonitorAsync("info status")).Output, StringComparison.Ordinal);
    }

    private static async Task ReachSectorAsync(RspClient client, bool keep = false)
    {
        await client.SendAsync(new InsertBreakpoint(BreakpointKind.Hardware, BootSector.Start));
        Assert.Equal(5, (await PeerStory.ContinueAsync(client)).Signal);
        Assert.Equal(BootSector.Start, await PeerStory.ReadAsync(client, "rip"));
        if (!keep)
        {
            await client.SendAsync(new RemoveBreakpoint(BreakpointKind.Hardware, BootSector.Start));
        }
    }
}
