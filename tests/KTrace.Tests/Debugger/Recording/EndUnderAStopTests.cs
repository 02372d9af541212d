using System.Diagnostics;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Cli;
using KTrace.Tests.Support;
using Trace = KTrace.Tracing.Trace;

namespace KTrace.Tests.Debugger.Recording;

/// <summary>The machine ends while the debugger is at work on a stop: under the step that leaves a breakpoint, or while the guest stands.</summary>
[Collection(nameof(BootsCollection))]
public sealed class EndUnderAStopTests : IDisposable
{
    private const int Stop = 19, Continue = 18;

    private readonly KTraceProgram _program = new();
    private readonly string _name = "ktrace-test-" + Guid.NewGuid().ToString("n")[..12];

    public void Dispose() => _program.Dispose();

    /// <summary>
    /// ACPI ends the machine by an OUT to a port (drivers/acpi/osl.c, acpi_os_write_port). With the breakpoint right there it is the debugger's step that
    /// executes it, and QEMU answers that step by a stop, an exit, or both.
    /// </summary>
    [Theory]
    [InlineData("poweroff -f", "guest powered off")]
    [InlineData("reboot -f", "guest rebooted (a reset or a triple fault)")]
    public void A_guest_that_ends_under_the_step_ends_the_recording_with_that_reason(string command, string reason)
    {
        _program.Write("guest.yaml", $"""
            name: guest
            kernel: stock
            append: console=ttyS0 nokaslr
            initramfs:
              script: |
                #!/bin/sh
                {command}
                sleep 9
            timeout: 120s
            """);
        var run = _program.Run(["record", "guest.yaml", .. PortWrites().SelectMany(offset => (string[])["-b", $"acpi_os_write_port+0x{offset:x}"]), "-o", "run.ktrace", "--", "-name", _name]);

        Assert.True(run.ExitCode == 0, run.Errors);
        var trace = Trace.Load(_program.PathOf("run.ktrace"));
        Assert.Equal((reason, trace.HitCount), (trace.End!.Reason, trace.End.Hits));
        var last = trace.Hits[^1].Path.Frames.Select(f => f.Function).ToList();
        Assert.Contains("acpi_os_write_port", last);
        Assert.Contains("__do_sys_reboot", last);
        NothingIsLeft();
    }

    [Fact]
    public void Qemu_killed_while_the_guest_stands_at_a_hit_is_said_and_the_hits_before_stay()
    {
        using var process = _program.Start("record", "e1000e-msix", "-b", "kmem_cache_alloc", "-o", "run.ktrace", "--", "-name", _name);
        var file = _program.PathOf("run.ktrace");
        KTraceProgram.WaitFor("hits", () => File.Exists(file) && File.ReadAllText(file).Contains("\"seq\":20,", StringComparison.Ordinal));

        // A debugger that does not answer: the guest runs into the next hit and stands there.
        KTraceProgram.Signal(process, Stop);
        Thread.Sleep(500);
        Process.GetProcessById(Assert.Single(KTraceProgram.Processes(_name))).Kill();
        KTraceProgram.Signal(process, Continue);
        var run = KTraceProgram.Finish(process);

        Assert.Equal(2, run.ExitCode);
        Assert.Contains("QEMU ended with exit code 137 while the guest was being recorded", run.Errors);
        var trace = Trace.Load(file);
        Assert.Equal(trace.HitCount, trace.End!.Hits);
        Assert.StartsWith("error: ", trace.End.Reason);
        Assert.Equal(Enumerable.Range(1, (int)trace.HitCount).Select(n => (long)n), trace.Hits.Select(h => h.Sequence));
        NothingIsLeft();
    }

    /// <summary>Where the function writes 8 and 16 bits: OUT DX, AL (EE) and OUT DX, AX (66 EF).</summary>
    private static List<int> PortWrites()
    {
        var image = KernelImage.Open(StockKernel.Vmlinux);
        Assert.True(image.TryFindSymbol("acpi_os_write_port", out var symbol));
        var code = new byte[symbol.Size];
        Assert.True(image.TryRead(symbol.Value, code));
        var (narrow, wide) = (code.AsSpan().IndexOf((byte)0xee), code.AsSpan().IndexOf([(byte)0x66, (byte)0xef]));
        Assert.True(narrow > 0 && wide > 0);
        return [narrow, wide];
    }

    private void NothingIsLeft() => KTraceProgram.WaitFor("the end of QEMU", () => KTraceProgram.Processes(_name).Count == 0);
}
