using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Phases;
using KTrace.Debugger.Sessions;
using KTrace.Debugger.Stepping;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tests.Cli;
using KTrace.Tests.Support;
using KTrace.Tracing;

namespace KTrace.Tests.Debugger.Sessions;

/// <summary>What surrounds breakpoints and steps: modules that come and go, a machine from its first instruction on, interrupts, reboots.</summary>
[Collection(nameof(BootsCollection))]
public sealed class SessionTests
{
    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));

    [Fact]
    public async Task An_inlined_function_is_entered_by_a_breakpoint_by_advance_and_by_steps_that_execute_nothing()
    {
        await using var guest = await SessionGuest.BootAsync("ifconfig eth0 up; ifconfig eth0 down; ifconfig eth0 up", modules: ["e1000e"]);
        var session = guest.Session;
        async Task<string> FunctionAsync() => (await session.CallPathAsync()).Path.Frames[0].Function;

        var outer = await guest.BreakAsync("e1000e:e1000_request_irq");
        var inlined = await guest.BreakAsync("e1000e:e1000_request_msix");
        await guest.ContinueToAsync(outer);
        Assert.Equal("e1000_request_irq", await FunctionAsync());
        var stop = await guest.ContinueToAsync(inlined);
        Assert.Equal("e1000_request_msix", await FunctionAsync());
        Assert.Equal("3", (await session.PrintAsync("adapter->num_vectors")).Text);
        await session.Breakpoints.DeleteAsync(inlined, default);

        // The call is reached, then entered: at one and the same instruction.
        await guest.ContinueToAsync(outer);
        for (var i = 0; i < 10 && session.LastStop is SessionStop.Stopped { ProgramCounter: var pc } && pc != stop.ProgramCounter; i++)
        {
            await session.StepAsync(StepKind.Line);
        }

        Assert.Equal("e1000_request_irq", await FunctionAsync());
        Assert.Equal(stop.ProgramCounter, Assert.IsType<SessionStop.Stopped>(await session.StepAsync(StepKind.Line)).ProgramCounter);
        Assert.Equal("e1000_request_msix", await FunctionAsync());
        await session.Breakpoints.DeleteAsync(outer, default);
        Assert.IsType<SessionStop.Ended>(await session.ContinueAsync());
    }

    [Fact]
    public async Task Advance_to_an_inlined_function_enters_it()
    {
        await using var guest = await SessionGuest.BootAsync("ifconfig eth0 up", modules: ["e1000e"]);
        await guest.ContinueToAsync(await guest.BreakAsync("e1000e:e1000_request_irq", new BreakpointOptions(IsTemporary: true)));
        await guest.Session.AdvanceAsync("e1000e:e1000_request_msix");
        Assert.Equal("e1000_request_msix", (await guest.Session.CallPathAsync()).Path.Frames[0].Function);
    }

    [Fact]
    public async Task A_module_is_followed_through_loading_unloading_and_loading_again()
    {
        await using var guest = await SessionGuest.BootAsync("rmmod e1000e; insmod $(find /lib/modules -name 'e1000e.ko*'); echo again", modules: ["e1000e"]);
        var session = guest.Session;
        var init = await guest.BreakAsync("e1000e:e1000_init_module");
        var exit = await guest.BreakAsync("e1000e:e1000_exit_module");
        Assert.True(init.IsPending && exit.IsPending);

        // Armed before init runs, in text that init alone has.
        var first = await guest.ContinueToAsync(init);
        var module = Assert.Single(session.Map!.Modules);
        Assert.Contains(module.InitText, r => r.Contains(first.ProgramCounter));

        // When the module goes, its init text is long gone, and so is the breakpoint's place with its core.
        await guest.ContinueToAsync(exit);
        Assert.Empty(Assert.Single(session.Map.Modules).InitText);
        Assert.Equal(["loading e1000e init True", "live e1000e"], guest.Modules);
        var second = await guest.ContinueToAsync(init);
        Assert.Equal(["loading e1000e init True", "live e1000e", "unloaded e1000e", "loading e1000e init True"], guest.Modules);
        Assert.Equal("e1000_init_module", session.Map.Symbolize(second.ProgramCounter)[^1].Function);
        Assert.Equal(2, init.Hits);
    }

    [Fact]
    public async Task A_session_begins_at_the_reset_vector_and_finds_a_kernel_that_was_moved()
    {
        using var cache = new KTrace.Tests.Boot.TemporaryFolder();
        var scenario = new Scenario { Name = "reset", Append = "console=ttyS0" };
        await using var qemu = await QemuProcess.StartAsync(QemuCommandLine.For(scenario, StockKernel.Vmlinuz, null));
        await using var machine = await Machine.ConnectAsync(
            RspEndpoint.Parse("unix:" + qemu.GdbSocket), Image.Value.Architecture, new MachineOptions { RamFile = qemu.RamFile });
        using var modules = new ModuleFiles([]);
        await using var session = await DebugSession.StartAsync(machine, Image.Value, modules, new SessionOptions { BootCode = BootCode.Open(StockKernel.Vmlinuz) });
        Assert.Equal((BootPhase.RealMode, 0xfffffff0UL), await PhaseAsync(session));
        Assert.Null(session.Map);
        Assert.Contains("not up yet", (await Assert.ThrowsAsync<TargetException>(async () => await session.CallPathAsync())).Message, StringComparison.Ordinal);

        // The first instruction is a far jump to the BIOS below 1 MiB.
        var stop = Assert.IsType<SessionStop.Stopped>(await session.StepAsync(StepKind.Instruction));
        Assert.Equal(BootPhase.RealMode, (await PhaseAsync(session)).Phase);
        Assert.InRange(stop.ProgramCounter, 0xe0000UL, 0xfffffUL);

        var waiting = Assert.Single(await session.Breakpoints.AddAsync("start_kernel", new BreakpointOptions(), default));
        var misspelt = Assert.Single(await session.Breakpoints.AddAsync("start_kernle", new BreakpointOptions(), default));
        var entry = Assert.Single(await session.Breakpoints.AddAsync("*0x100000", new BreakpointOptions(), default));
        Assert.True(waiting.IsPending);
        Assert.Equal([entry], Reached(await session.ContinueAsync()));
        Assert.Equal((BootPhase.Decompressor, 0x100000UL), await PhaseAsync(session));

        Assert.Equal([waiting], Reached(await session.ContinueAsync()));
        Assert.Equal(BootPhase.Kernel, (await PhaseAsync(session)).Phase);
        Assert.NotNull(session.Map);
        Assert.True(misspelt.IsPending);
        Assert.Equal("start_kernel", (await session.CallPathAsync()).Path.Frames[0].Function);
        Assert.Equal(Image.Value.TryFindSymbol("start_kernel", out var symbol) ? symbol.Value + session.Map.Slide : 0, waiting.Place!.Address);
    }

    [Fact]
    public async Task An_interrupt_stops_the_guest_wherever_it_is_and_the_session_goes_on()
    {
        await using var guest = await SessionGuest.BootAsync("while :; do cat /proc/uptime > /dev/null; done");
        var session = guest.Session;
        Assert.False(await session.InterruptAsync());
        for (var i = 0; i < 5; i++)
        {
            await InterruptAfterAsync(20 * i);
            Assert.NotEmpty((await session.CallPathAsync()).Path.Frames);
        }

        // Cancelling is the same, and a long step ends too.
        using var cancel = new CancellationTokenSource(200);
        Assert.IsType<StopCause.Interrupted>(Assert.IsType<SessionStop.Stopped>(await session.ContinueAsync(cancel.Token)).Cause);
        var stepping = session.StepAsync(StepKind.Instruction, 1_000_000).AsTask();
        while (!stepping.IsCompleted && !await session.InterruptAsync())
        {
            await Task.Delay(10);
        }

        Assert.IsType<StopCause.Interrupted>(Assert.IsType<SessionStop.Stopped>(await stepping).Cause);
        await guest.ContinueToAsync(await guest.BreakAsync("uptime_proc_show", new BreakpointOptions(IsTemporary: true)));

        // In a program there is no path of the kernel; registers and the kernel's variables are there all the same.
        var path = await session.CallPathAsync();
        for (var i = 0; i < 1000 && !path.Path.Frames.IsEmpty; i++)
        {
            await InterruptAfterAsync(i % 17);
            path = await session.CallPathAsync();
        }

        Assert.Equal((TraceEndReason.User, 0), (path.PathEnd!.Reason, path.Path.Frames.Length));
        Assert.IsType<ExpressionOutcome.Value>(await session.EvaluateAsync("$rip"));
        Assert.IsType<ExpressionOutcome.Value>(await session.EvaluateAsync("jiffies_64"));
        Assert.Empty(await session.LocalsAsync());

        async Task InterruptAfterAsync(int milliseconds)
        {
            var running = session.ContinueAsync().AsTask();
            await Task.Delay(milliseconds);
            while (!running.IsCompleted && !await session.InterruptAsync())
            {
                await Task.Yield();
            }

            Assert.IsType<StopCause.Interrupted>(Assert.IsType<SessionStop.Stopped>(await running).Cause);
        }
    }

    [Fact]
    public async Task A_guest_that_reboots_is_found_again_with_its_breakpoints()
    {
        var line = QemuCommandLine.For(new Scenario { Name = "reboot", Append = "console=ttyS0 panic=-1 root=/dev/none" }, StockKernel.Vmlinuz, null);
        await using var qemu = await QemuProcess.StartAsync(line with { Guest = line.Guest.Remove("-no-reboot") });
        await using var target = await KernelTarget.BootAsync(
            RspEndpoint.Parse("unix:" + qemu.GdbSocket), Image.Value, new MachineOptions { RamFile = qemu.RamFile }, null, default);
        using var modules = new ModuleFiles([]);
        await using var session = await DebugSession.StartAsync(target, modules);
        var start = Assert.Single(await session.Breakpoints.AddAsync("start_kernel", new BreakpointOptions(), default));

        // Without a root it panics, and panics reboot at once; KASLR puts the next one elsewhere.
        var slides = new List<ulong>();
        for (var boot = 1; boot <= 3; boot++)
        {
            Assert.Equal([start], Reached(await session.ContinueAsync()));
            Assert.Equal("start_kernel", (await session.CallPathAsync()).Path.Frames[0].Function);
            slides.Add(session.Map!.Slide);
        }

        Assert.Equal(3, start.Hits);
        Assert.True(slides.Distinct().Count() > 1, "three boots at one place: " + string.Join(' ', slides));
    }

    private static IEnumerable<Breakpoint> Reached(SessionStop stop) =>
        Assert.IsType<StopCause.AtBreakpoint>(Assert.IsType<SessionStop.Stopped>(stop).Cause).Breakpoints;

    private static async Task<(BootPhase Phase, ulong LinearPc)> PhaseAsync(DebugSession session)
    {
        var location = await session.LocateAsync();
        return (location.Phase, location.LinearPc);
    }
}
