using System.Diagnostics;
using System.Text;
using Trace = KTrace.Tracing.Trace;

namespace KTrace.Tests.Cli;

/// <summary>Recordings that are ended from outside, at every stage: nothing is lost, and nothing is left running.</summary>
[Collection(nameof(BootsCollection))]
public sealed class InterruptionTests : IDisposable
{
    private readonly KTraceProgram _program = new();
    private readonly string _name = "ktrace-test-" + Guid.NewGuid().ToString("n")[..12];

    public void Dispose() => _program.Dispose();

    [Theory]
    [InlineData(KTraceProgram.Interrupt, 130)]
    [InlineData(KTraceProgram.Terminate, 143)]
    public void A_signal_while_recording_closes_the_trace(int signal, int exitCode)
    {
        using var process = Record();
        WaitForHits(process, 2);

        KTraceProgram.Signal(process, signal);
        var run = KTraceProgram.Finish(process);

        Assert.Equal(exitCode, run.ExitCode);
        Assert.Contains("interrupted: run.ktrace", run.Output);
        var trace = Trace.Load(_program.PathOf("run.ktrace"));
        Assert.Equal(("interrupted", trace.HitCount), (trace.End!.Reason, trace.End.Hits));
        NothingIsLeft();
    }

    [Fact]
    public void A_signal_before_qemu_runs_and_one_while_the_kernel_is_looked_for_end_it_too()
    {
        using (var preparing = Record())
        {
            Thread.Sleep(150);
            KTraceProgram.Signal(preparing, KTraceProgram.Terminate);
            Assert.Equal(143, KTraceProgram.Finish(preparing).ExitCode);
        }

        using (var identifying = Record())
        {
            KTraceProgram.WaitFor("QEMU", () => KTraceProgram.Processes(_name).Count > 0);
            KTraceProgram.Signal(identifying, KTraceProgram.Interrupt);
            var run = KTraceProgram.Finish(identifying);
            Assert.Equal(130, run.ExitCode);
            Assert.Contains("ktrace: interrupted", run.Errors);
        }

        NothingIsLeft();
        Assert.False(File.Exists(_program.PathOf("run.ktrace")));
    }

    [Fact]
    public void Qemu_killed_in_the_middle_is_said_and_the_hits_before_stay()
    {
        using var process = Record();
        WaitForHits(process, 3);

        Process.GetProcessById(Assert.Single(KTraceProgram.Processes(_name))).Kill();
        var run = KTraceProgram.Finish(process);

        Assert.Equal(2, run.ExitCode);
        Assert.Contains("QEMU ended with exit code 137 while the guest was being recorded", run.Errors);
        var trace = Trace.Load(_program.PathOf("run.ktrace"));
        Assert.Contains($"ktrace show run.ktrace has the {trace.HitCount} hits before it", run.Errors);
        Assert.StartsWith("error: ", trace.End!.Reason);
        NothingIsLeft();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    [InlineData(14)]
    public void Kill_9_leaves_a_trace_that_opens_and_no_qemu(int hits)
    {
        using var process = Record();
        if (hits == 0)
        {
            KTraceProgram.WaitFor("QEMU", () => KTraceProgram.Processes(_name).Count > 0);
        }
        else
        {
            WaitForHits(process, hits);
        }

        var directory = KTraceProgram.PrivateDirectory(_name);
        KTraceProgram.Signal(process, KTraceProgram.Kill);
        KTraceProgram.Finish(process);

        KTraceProgram.WaitFor("the end of QEMU", () => KTraceProgram.Processes(_name).Count == 0);
        KTraceProgram.WaitFor("the end of the private directory", () => directory is null || !Directory.Exists(directory));
        if (hits > 0)
        {
            var trace = Trace.Load(_program.PathOf("run.ktrace"));
            Assert.True(trace.HitCount >= hits);
            var show = _program.Run("show", "run.ktrace");
            Assert.Equal(0, show.ExitCode);
            Assert.Contains(trace.Truncated ? "incomplete" : "no end record", show.Errors);
        }
    }

    [Fact]
    public void A_full_disk_is_said_with_the_hits_that_are_safe()
    {
        var run = _program.Run("record", "e1000e-msix", "-o", "/dev/full", "--", "-name", _name);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("no hit was written", run.Errors);
        NothingIsLeft();

        if (!Environment.IsPrivilegedProcess)
        {
            return;
        }

        // A real file system that fills up in the middle: half a record must not stay.
        var disk = Directory.CreateDirectory(_program.PathOf("disk")).FullName;
        using (var mount = Process.Start("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]))
        {
            mount.WaitForExit();
            if (mount.ExitCode != 0)
            {
                return;
            }
        }

        try
        {
            run = _program.Run("record", "e1000e-msix", "-b", "request_threaded_irq", "-b", "do_init_module", "-b", "begin_new_exec", "-o", "disk/run.ktrace", "--", "-name", _name);
            Assert.Equal(2, run.ExitCode);
            Assert.Contains("No space left on device", run.Errors);
            var trace = Trace.Load(Path.Combine(disk, "run.ktrace"));
            Assert.Null(trace.End);
            Assert.False(trace.Truncated);
            Assert.Contains(trace.HitCount switch { 0 => "no hit was written", 1 => "the 1 hit before is safe", var n => $"the {n} hits before are safe" }, run.Errors);
            NothingIsLeft();
        }
        finally
        {
            Process.Start("umount", [disk]).WaitForExit();
        }
    }

    [Fact]
    public async Task Ctrl_C_on_a_terminal_leaves_it_as_it_was()
    {
        using var process = _program.StartOnTerminal(
            80, $"trap : INT; stty -a >before; {KTraceProgram.InShell} record e1000e-msix -o run.ktrace -- -name {_name}; echo rc=$?; stty -a >after");
        var output = new StringBuilder();
        var reading = Task.Run(async () =>
        {
            var buffer = new char[256];
            while (await process.StandardOutput.ReadAsync(buffer) is > 0 and var count)
            {
                output.Append(buffer, 0, count);
            }
        });
        WaitForHits(process, 2);
        await process.StandardInput.WriteAsync('\x03');
        await process.StandardInput.FlushAsync();
        KTraceProgram.WaitFor("the shell's end", () => process.HasExited);
        await reading;

        Assert.Contains("rc=130", output.ToString());
        Assert.Equal(File.ReadAllText(_program.PathOf("before")), File.ReadAllText(_program.PathOf("after")));
        Assert.DoesNotContain("\u001b[?25l", output.ToString());
        Assert.DoesNotContain("\u001b[?1049h", output.ToString());
        Assert.Matches(@"\d+ hits?  \d+\.\d s", output.ToString());
        Assert.Equal("interrupted", Trace.Load(_program.PathOf("run.ktrace")).End!.Reason);
        NothingIsLeft();
    }

    private Process Record() => _program.Start("record", "e1000e-msix", "-o", "run.ktrace", "--", "-name", _name);

    private void WaitForHits(Process process, int count) => KTraceProgram.WaitFor($"{count} hits", () =>
    {
        Assert.False(process.HasExited, "ktrace ended early");
        return File.Exists(_program.PathOf("run.ktrace")) && File.ReadAllText(_program.PathOf("run.ktrace")).Split("{\"type\":\"hit\"").Length > count;
    });

    private void NothingIsLeft() => Assert.Empty(KTraceProgram.Processes(_name));
}
