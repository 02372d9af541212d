using KTrace.Boot;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger.Breakpoints;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Arch;
using KTrace.Tests.Debugger.Memory;

namespace KTrace.Tests.Debugger.Phases;

/// <summary>What machines that boot from nothing say of themselves, and whether they hold to it.</summary>
public sealed class KvmTests
{
    [Fact]
    public async Task Tcg_masks_timers_and_watches_as_much_as_one_likes()
    {
        await using var guest = await MappedMachine.StartAsync(X86_64.Instance, new Scenario());
        Assert.False(await guest.Machine.UsesKvmAsync());
        Assert.True((await guest.Client.ReadStepMaskAsync()).Known.HasFlag(StepMask.NoTimers));
        await guest.Machine.Sites.AddAsync(new BreakpointSite(BreakpointKind.ReadWatchpoint, 0xffff888000000000, 1 << 30), this, default);
    }

    [SkippableFact]
    public async Task Kvm_has_four_debug_registers_and_masks_no_timers()
    {
        var availability = KvmAvailability.Check();
        Skip.IfNot(availability.IsUsable, availability.Words);
        await using var guest = await StartWithKvmAsync();
        Assert.True(await guest.Machine.UsesKvmAsync());
        Assert.False((await guest.Client.ReadStepMaskAsync()).Known.HasFlag(StepMask.NoTimers));
        var sites = guest.Machine.Sites;
        await Assert.ThrowsAsync<RspException>(() => sites.AddAsync(new BreakpointSite(BreakpointKind.ReadWatchpoint, 0xffff888000000000, 1 << 30), this, default).AsTask());
        await Assert.ThrowsAsync<RspException>(() => sites.AddAsync(new BreakpointSite(BreakpointKind.AccessWatchpoint, 0xffff888000000000, 16), this, default).AsTask());
        await sites.AddAsync(new BreakpointSite(BreakpointKind.AccessWatchpoint, 0xffff888000000000, 8), this, default);
        for (var i = 0UL; i < 3; i++)
        {
            await sites.AddAsync(new BreakpointSite(BreakpointKind.Hardware, 0x100000 + i), this, default);
        }

        await Assert.ThrowsAsync<RspException>(() => sites.AddAsync(new BreakpointSite(BreakpointKind.Hardware, 0x200000), this, default).AsTask());
    }

    [Fact]
    public void The_check_of_this_machine_says_why()
    {
        var availability = KvmAvailability.Check();
        Assert.Equal(File.Exists("/dev/kvm"), !availability.Words.Contains("is not here", StringComparison.Ordinal));
        Assert.Contains("TCG", availability.Words);
    }

    private static async Task<MappedMachine> StartWithKvmAsync()
    {
        try
        {
            return await MappedMachine.StartAsync(X86_64.Instance, new Scenario(), "-accel", "kvm");
        }
        catch (BootException e)
        {
            throw new SkipException("QEMU does not start with KVM here: " + e.Message);
        }
    }
}
