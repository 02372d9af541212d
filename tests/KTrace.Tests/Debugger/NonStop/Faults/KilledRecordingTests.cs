using System.Diagnostics;
using KTrace.Tests.Cli;
using Xunit.Abstractions;
using Trace = KTrace.Tracing.Trace;

namespace KTrace.Tests.Debugger.NonStop.Faults;

/// <summary>ktrace and QEMU killed at any moment of a recording without stops, also while the guest waits for room in a full ring.</summary>
[Collection(nameof(NonStopBootsCollection))]
public sealed class KilledRecordingTests(ITestOutputHelper output) : IDisposable
{
    private const string Header = "\"type\":\"header\"";

    private readonly KTraceProgram _program = new();
    private readonly string _name = "ktrace-test-" + Guid.NewGuid().ToString("n")[..12];

    public void Dispose() => _program.Dispose();

    [Fact]
    public void Kill_9_leaves_a_trace_that_opens_and_no_qemu() => Kill(seed: 1, times: 2);

    [Fact]
    [Trait("Group", "Long")]
    public void Kill_9_at_many_moments_leaves_a_trace_that_opens_and_no_qemu() => Kill(seed: 2, times: 12);

    private void Kill(int seed, int times)
    {
        var random = new Random(seed);
        for (var i = 0; i < times; i++)
        {
            using var process = Record();
            WaitForTrace(process, random.Next(0, 60_000));
            var trace = KilledNow(process);
            Assert.Equal(0, _program.Run("show", "run.ktrace", "--stats").ExitCode);
            output.WriteLine($"{trace.HitCount} hits, {(trace.Truncated ? "the last line was cut" : "whole lines")}");
        }
    }

    /// <summary>That it waits is seen from outside: QEMU's own monitor says where its processors are, and what the ring's counters say.</summary>
    [Fact]
    public void Kill_9_while_the_guest_waits_for_room_ends_qemu()
    {
        var socket = _program.PathOf("monitor");
        using var process = Record("-chardev", $"socket,id=watch,path={socket},server=on,wait=off", "-mon", "chardev=watch,mode=readline");
        WaitForTrace(process, 0);
        using (var monitor = new QemuMonitor(socket))
        {
            // Who does not run reads nothing, and the guest fills the ring: unless it was being stopped just then.
            KTraceProgram.WaitFor("a guest that waits for room", () =>
            {
                Assert.False(process.HasExited, "ktrace ended early");
                KTraceProgram.Signal(process, KTraceProgram.Stop);
                if (WaitingGuest.Find(monitor) is { } waiting)
                {
                    output.WriteLine(waiting.ToString());
                    return true;
                }

                KTraceProgram.Signal(process, KTraceProgram.Continue);
                return false;
            });
        }

        KilledNow(process);
    }

    /// <summary>Kills it: its guest ends too, and its trace opens with all hits that it says.</summary>
    private Trace KilledNow(Process process)
    {
        KTraceProgram.Signal(process, KTraceProgram.Kill);
        KTraceProgram.Finish(process);
        KTraceProgram.WaitFor("the end of QEMU", () => KTraceProgram.Processes(_name).Count == 0);
        var trace = Trace.Load(_program.PathOf("run.ktrace"));
        Assert.Null(trace.End);
        Assert.Equal(Enumerable.Range(1, (int)trace.HitCount).Select(n => (long)n), trace.Hits.Select(h => h.Sequence));
        return trace;
    }

    [Fact]
    public void Qemu_killed_is_said_and_the_hits_before_stay()
    {
        using var process = Record();
        WaitForTrace(process, 100_000);
        Process.GetProcessById(Assert.Single(KTraceProgram.Processes(_name))).Kill();
        var run = KTraceProgram.Finish(process);
        Assert.Equal(2, run.ExitCode);
        Assert.Contains("QEMU ended with exit code 137 while the guest was being recorded", run.Errors, StringComparison.Ordinal);
        var trace = Trace.Load(_program.PathOf("run.ktrace"));
        Assert.True(trace.HitCount > 0);
        Assert.Contains($"has the {trace.HitCount} hits before it", run.Errors, StringComparison.Ordinal);
        Assert.StartsWith("error: ", trace.End!.Reason, StringComparison.Ordinal);
    }

    // More than the reader can take at once, into a small ring.
    private Process Record(params string[] qemu) => _program.Start([
        "record", "e1000e-msix", "--cpus", "2", "--ring", "2", "-b", "kernfs_*", "-b", "kmem_cache*", "-b", "@irq", "-b", "@pci", "-b", "_raw_spin_lock*", "-o", "run.ktrace", "--", "-name", _name, .. qemu]);

    /// <summary>Until the trace has so many bytes more than its first lines.</summary>
    private void WaitForTrace(Process process, int bytes) => KTraceProgram.WaitFor("hits", () =>
    {
        Assert.False(process.HasExited, "ktrace ended early");
        var file = new FileInfo(_program.PathOf("run.ktrace"));
        if (!file.Exists || file.Length == 0)
        {
            return false;
        }

        using var reader = new StreamReader(new FileStream(file.FullName, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        return reader.ReadLine() is { } first && first.Contains(Header, StringComparison.Ordinal) && file.Length > first.Length + 1_000_000 + (10 * bytes);
    });
}
