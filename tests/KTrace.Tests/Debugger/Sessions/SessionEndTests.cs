using KTrace.Debugger;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Sessions;
using KTrace.Debugger.Stepping;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Rsp.Peers;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.Sessions;

/// <summary>Machines that end, and connections that break, while a session runs or steps.</summary>
public sealed class SessionEndTests
{
    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));

    [SkippableTheory]
    [InlineData("power off", false)]
    [InlineData("power off", true)]
    [InlineData("triple fault", false)]
    [InlineData("triple fault", true)]
    [InlineData("panic", false)]
    [InlineData("panic", true)]
    public async Task A_machine_that_ends_under_a_run_or_a_step_ends_the_session(string how, bool stepping)
    {
        var (sector, options) = how switch
        {
            "power off" => (BootSector.PowerOff, (string[])["-no-reboot"]),
            "panic" => (BootSector.Panic, ["-no-reboot", "-device", "pvpanic"]),
            _ => (BootSector.TripleFault, ["-no-reboot"]),
        };
        await using var qemu = await StubMachine.StartAsync(bootSector: sector, extra: options);
        await using var machine = await Machine.ConnectAsync(qemu.Endpoint, Image.Value.Architecture, new MachineOptions());
        using var modules = new ModuleFiles([]);
        await using var session = await DebugSession.StartAsync(machine, Image.Value, modules, new SessionOptions { EndReason = () => Task.FromResult<string?>("it was the " + how) });
        await session.Breakpoints.AddAsync($"*0x{BootSector.Start:x}", new BreakpointOptions(IsTemporary: true), default);
        Assert.Equal(BootSector.Start, Assert.IsType<SessionStop.Stopped>(await session.ContinueAsync()).ProgramCounter);

        var stop = stepping ? await session.StepAsync(StepKind.Instruction, 10_000) : await session.ContinueAsync();
        Assert.Equal("it was the " + how, Assert.IsType<SessionStop.Ended>(stop).Reason);
        Assert.Contains("it was the " + how, (await Assert.ThrowsAsync<TargetException>(async () => await session.StepAsync(StepKind.Line))).Message, StringComparison.Ordinal);
        Assert.False(await session.InterruptAsync());
        await qemu.Process.ExitCodeAsync();
    }

    [SkippableTheory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_QEMU_that_is_killed_breaks_the_session_with_its_reason(bool stepping)
    {
        // A sector that only jumps to itself: its code is the jump behind no code at all.
        await using var qemu = await StubMachine.StartAsync(bootSector: BootSector.Idle, extra: []);
        await using var machine = await Machine.ConnectAsync(qemu.Endpoint, Image.Value.Architecture, new MachineOptions());
        using var modules = new ModuleFiles([]);
        await using var session = await DebugSession.StartAsync(machine, Image.Value, modules);
        await session.Breakpoints.AddAsync($"*0x{BootSector.Start:x}", new BreakpointOptions(IsTemporary: true), default);
        await session.ContinueAsync();

        var running = (stepping ? session.StepAsync(StepKind.Instruction, int.MaxValue) : session.ContinueAsync()).AsTask();
        await Task.Delay(50);
        qemu.Process.Kill();
        var error = await Assert.ThrowsAsync<RspException>(() => running);
        Assert.Contains(error.Kind, (RspErrorKind[])[RspErrorKind.Disconnected, RspErrorKind.Broken]);
        Assert.Equal(RspErrorKind.Broken, (await Assert.ThrowsAsync<RspException>(async () => await session.ContinueAsync())).Kind);
        Assert.Equal(RspState.Broken, machine.Client.State);
    }
}
