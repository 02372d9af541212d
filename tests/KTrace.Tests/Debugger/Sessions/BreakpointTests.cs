using KTrace.Debugger;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Sessions;
using KTrace.Rsp.Commands;
using KTrace.Tests.Cli;

namespace KTrace.Tests.Debugger.Sessions;

/// <summary>Every kind of breakpoint, in real boots.</summary>
[Collection(nameof(BootsCollection))]
public sealed class BreakpointTests
{
    [Fact]
    public async Task Places_conditions_counts_and_switches_decide_where_a_session_stops()
    {
        await using var guest = await SessionGuest.BootAsync("for i in 1 2 3 4 5 6 7 8; do cat /proc/version; done; cat /proc/uptime");
        var session = guest.Session;

        var once = await guest.BreakAsync("start_kernel", new BreakpointOptions(IsTemporary: true));
        await guest.ContinueToAsync(once);
        Assert.Empty(session.Breakpoints.All);

        // Hardware breakpoints are another packet and the same stop.
        var hardware = await guest.BreakAsync("rest_init", new BreakpointOptions(BreakpointKind.Hardware, IsTemporary: true));
        Assert.Contains(session.Machine.Sites.All, s => s.Kind == BreakpointKind.Hardware);
        await guest.ContinueToAsync(hardware);
        Assert.DoesNotContain(session.Machine.Sites.All, s => s.Kind == BreakpointKind.Hardware && s.Address == hardware.Place?.Address);

        // Of this task alone.
        var init = await guest.BreakAsync("do_sys_openat2 if current->pid == 1");
        await guest.ContinueToAsync(init);
        Assert.Equal(1, (await session.CallPathAsync()).Task?.Pid);
        Assert.Equal(1, init.Hits);

        // The condition goes, the count stays; five pass and the sixth stops.
        BreakpointList.SetCondition(init, null);
        init.IgnoreCount = 5;
        await guest.ContinueToAsync(init);
        Assert.Equal((7L, 0L), (init.Hits, init.IgnoreCount));

        // Switched off it lets pass what it would have stopped at, and counts nothing.
        await session.Breakpoints.EnableAsync(init, false, default);
        var later = await guest.BreakAsync("version_proc_show", new BreakpointOptions(IsTemporary: true));
        await guest.ContinueToAsync(later);
        Assert.Equal(7, init.Hits);
        Assert.Equal("cat", (await session.CallPathAsync()).Task?.Comm);

        // And on again.
        await session.Breakpoints.EnableAsync(init, true, default);
        await guest.ContinueToAsync(init);
        Assert.Equal(8, init.Hits);

        // Two at one address stop once, both counted; a tracepoint is kept and does not stop.
        var address = init.Place!.Address!.Value;
        var same = await guest.BreakAsync($"*0x{address:x}");
        var kept = await guest.BreakAsync("uptime_proc_show", new BreakpointOptions(IsTracepoint: true));
        await guest.ContinueToAsync(init, same);
        await session.Breakpoints.DeleteAsync(init, default);
        await session.Breakpoints.DeleteAsync(same, default);
        Assert.Equal("the guest powered off", Assert.IsType<SessionStop.Ended>(await session.ContinueAsync()).Reason);
        Assert.Equal(1, kept.Hits);
        var hit = Assert.Single(guest.Hits);
        Assert.Equal("uptime_proc_show", hit.Path.Frames[0].Function);
        Assert.Contains("there is no machine any more", (await Assert.ThrowsAsync<TargetException>(async () => await session.ContinueAsync())).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Watchpoints_tell_what_was_touched_and_how_it_changed()
    {
        await using var guest = await SessionGuest.BootAsync("echo idle");
        var session = guest.Session;
        await guest.ContinueToAsync(await guest.BreakAsync("rest_init", new BreakpointOptions(IsTemporary: true)));

        var clock = await session.WatchAsync("jiffies_64", BreakpointKind.WriteWatchpoint);
        var stop = Assert.IsType<SessionStop.Stopped>(await session.ContinueAsync());
        var written = Assert.IsType<StopCause.AtWatchpoint>(stop.Cause);
        Assert.Equal((clock, KTrace.Rsp.WatchKind.Write, clock.Watched!.Value.Address, written.Before + 1), (written.Watchpoint, written.Kind, written.Address, written.Now));
        Assert.Equal("do_timer", (await session.CallPathAsync()).Path.Frames[0].Function);

        // Only when its condition holds: the second write from here.
        BreakpointList.SetCondition(clock, $"jiffies_64 == {written.Now + 2}");
        written = Assert.IsType<StopCause.AtWatchpoint>(Assert.IsType<SessionStop.Stopped>(await session.ContinueAsync()).Cause);
        Assert.Equal(2, clock.Hits);
        Assert.EndsWith($"= {written.Now}", "= " + (await session.PrintAsync("jiffies_64")).Text, StringComparison.Ordinal);
        await session.Breakpoints.DeleteAsync(clock, default);

        var read = await session.WatchAsync("jiffies_64", BreakpointKind.ReadWatchpoint);
        Assert.Equal(KTrace.Rsp.WatchKind.Read, Assert.IsType<StopCause.AtWatchpoint>(Assert.IsType<SessionStop.Stopped>(await session.ContinueAsync()).Cause).Kind);
        await session.Breakpoints.DeleteAsync(read, default);

        // A local variable's is deleted when its function returns, and the guest stops there. In between the callees write it.
        await guest.ContinueToAsync(await guest.BreakAsync("do_sys_openat2", new BreakpointOptions(IsTemporary: true)));
        var caller = (await session.CallPathAsync()).Pcs[1];
        var local = await session.WatchAsync("op.lookup_flags", BreakpointKind.WriteWatchpoint);

        // The function has only been entered: the variable's memory is not the function's yet, and interrupts may be put there.
        Assert.DoesNotContain(session.Machine.Sites.All, s => s.IsWatchpoint);
        var teardowns = local.Scope!.Edges.Where(e => !e.IsBegin).Select(e => e.Address).ToList();
        foreach (var address in teardowns)
        {
            await guest.BreakAsync($"*0x{address:x}");
        }

        stop = Assert.IsType<SessionStop.Stopped>(await session.ContinueAsync());
        for (var i = 0; i < 8 && stop.Cause is StopCause.AtWatchpoint; i++)
        {
            stop = Assert.IsType<SessionStop.Stopped>(await session.ContinueAsync());
        }

        // It takes it off the stack again: it is not watched any longer.
        Assert.IsType<StopCause.AtBreakpoint>(stop.Cause);
        Assert.Contains(stop.ProgramCounter, teardowns);
        Assert.DoesNotContain(session.Machine.Sites.All, s => s.IsWatchpoint);
        foreach (var breakpoint in session.Breakpoints.All.Where(b => b != local).ToList())
        {
            await session.Breakpoints.DeleteAsync(breakpoint, default);
        }

        stop = Assert.IsType<SessionStop.Stopped>(await session.ContinueAsync());
        Assert.Equal(local, Assert.IsType<StopCause.VariableGone>(stop.Cause).Watchpoint);
        Assert.True(local.Hits > 0);
        Assert.Equal(caller, stop.ProgramCounter);
        Assert.Empty(session.Breakpoints.All);
        Assert.DoesNotContain(session.Machine.Sites.All, s => s.IsWatchpoint || s.Address == stop.ProgramCounter);

        Assert.Contains("not in memory", (await Assert.ThrowsAsync<TargetException>(async () => await session.WatchAsync("1 + 1", BreakpointKind.WriteWatchpoint))).Message, StringComparison.Ordinal);
        Assert.IsType<SessionStop.Ended>(await session.ContinueAsync());
    }

    [Fact]
    public async Task With_several_CPUs_a_breakpoint_stops_the_one_that_it_is_for()
    {
        await using var guest = await SessionGuest.BootAsync("taskset 2 sh -c 'i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done'; echo over", cpus: 2);
        var session = guest.Session;
        await guest.ContinueToAsync(await guest.BreakAsync("kernel_init", new BreakpointOptions(IsTemporary: true)));
        var tick = await guest.BreakAsync("scheduler_tick", new BreakpointOptions(Cpu: 1));
        for (var i = 1; i <= 3; i++)
        {
            Assert.Equal(1, (await guest.ContinueToAsync(tick)).Cpu);
            Assert.Equal((1, i), (session.Cpu, tick.Hits));
            Assert.Equal("1", (await session.PrintAsync("$cpu")).Text);
        }

        // The other one stands at its own place, and moves alone.
        await session.SelectCpuAsync(0);
        var before = (await session.Machine.RegistersAsync(1)).ProgramCounter;
        var other = (await session.Machine.RegistersAsync(0)).ProgramCounter;
        var stepped = Assert.IsType<SessionStop.Stopped>(await session.StepAsync(KTrace.Debugger.Stepping.StepKind.Instruction));
        Assert.Equal(0, stepped.Cpu);
        Assert.Equal(before, (await session.Machine.RegistersAsync(1)).ProgramCounter);
        Assert.NotEqual(other, stepped.ProgramCounter);

        // Going on, the breakpoint that CPU 1 still stands at is not hit a second time for the same arrival.
        tick.Cpu = null;
        var next = Assert.IsType<SessionStop.Stopped>(await session.ContinueAsync());
        Assert.Equal(4, tick.Hits);
        Assert.IsType<StopCause.AtBreakpoint>(next.Cause);
        Assert.Contains("there is no CPU 7", (await Assert.ThrowsAsync<TargetException>(async () => await session.SelectCpuAsync(7))).Message, StringComparison.Ordinal);
    }
}
