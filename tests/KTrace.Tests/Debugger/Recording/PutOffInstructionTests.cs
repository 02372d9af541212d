using KTrace.Debugger.Sessions;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Cli;
using KTrace.Tests.Debugger.Sessions;
using KTrace.Tests.Support;
using KTrace.Tracing;

namespace KTrace.Tests.Debugger.Recording;

/// <summary>An instruction with a breakpoint that a fault or an interrupt puts off is executed once, and counts once.</summary>
[Collection(nameof(BootsCollection))]
public sealed class PutOffInstructionTests : IDisposable
{
    // Every new program's thread id is written into memory that it shares with its parent until then.
    private const string Programs = "for i in 1 2 3 4 5; do cat /proc/version; done";

    private readonly KTraceProgram _program = new();

    public void Dispose() => _program.Dispose();

    [Fact]
    public void A_write_that_faults_is_recorded_as_often_as_the_function_is_entered()
    {
        _program.Write("guest.yaml", $"""
            name: guest
            kernel: stock
            append: console=ttyS0 nokaslr no_timer_check
            initramfs:
              script: |
                #!/bin/sh
                mount -t proc proc /proc
                {Programs}
                stty opost < /dev/console
                poweroff -f
            timeout: 120s
            """);
        var run = _program.Run("record", "guest.yaml", "-b", "__put_user_nocheck_4", "-b", Write(), "-b", "do_wp_page", "--stop", "-o", "run.ktrace");

        Assert.True(run.ExitCode == 0, run.Errors);
        var trace = Trace.Load(_program.PathOf("run.ktrace"));
        Assert.Contains(trace.Hits, h => h.Path.Frames[0].Function == "do_wp_page" && h.Path.Frames.Any(f => f.Function.StartsWith("__put_user", StringComparison.Ordinal)));
        var hits = trace.Hits.CountBy(h => h.Tracepoint).ToDictionary();
        Assert.True(hits[1] >= 5, $"{hits[1]} hits");
        Assert.Equal(hits[1], hits[2]);
    }

    [Fact]
    public async Task A_person_stops_once_at_an_instruction_that_faults_or_is_interrupted()
    {
        await using var guest = await SessionGuest.BootAsync(Programs);
        var entry = await guest.BreakAsync("__put_user_nocheck_4");
        var write = await guest.BreakAsync(Write());
        var shown = await guest.BreakAsync("version_proc_show");

        // As where nothing masks interrupts: the timer's comes in the place of nearly every step.
        await guest.Session.Machine.Client.SetStepMaskAsync(StepMask.Enable);
        SessionStop stop;
        while ((stop = await guest.Session.ContinueAsync()) is SessionStop.Stopped stopped)
        {
            Assert.IsType<StopCause.AtBreakpoint>(stopped.Cause);
        }

        Assert.IsType<SessionStop.Ended>(stop);
        Assert.Equal(5, shown.Hits);
        Assert.True(entry.Hits >= 5, $"{entry.Hits} hits");
        Assert.Equal(entry.Hits, write.Hits);
    }

    /// <summary>The instruction of arch/x86/lib/putuser.S that writes four bytes: mov %eax,(%rcx).</summary>
    private static string Write()
    {
        var image = KernelImage.Open(StockKernel.Vmlinux);
        Assert.True(image.TryFindSymbol("__put_user_nocheck_4", out var symbol));
        var code = new byte[16];
        Assert.True(image.TryRead(symbol.Value, code));
        var at = code.AsSpan().IndexOf([(byte)0x89, (byte)0x01]);
        Assert.True(at > 0);
        return $"__put_user_nocheck_4+0x{at:x}";
    }
}
