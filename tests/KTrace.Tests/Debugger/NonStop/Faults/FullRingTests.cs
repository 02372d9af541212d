using KTrace.Debugger.NonStop;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Recording;
using KTrace.Debugger.Tracepoints;
using KTrace.Tests.Cli;
using KTrace.Tests.Support;
using KTrace.Tracing;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Faults;

/// <summary>A ring that holds four records, and a reader who takes his time.</summary>
[Collection(nameof(NonStopBootsCollection))]
public sealed class FullRingTests(ITestOutputHelper output)
{
    private const int StackBytes = 1024, RecordBytes = 256 + StackBytes;
    private const int Folders = 64;

    // Each mkdir is one call of vfs_mkdir; what lies around it comes in bursts that four records do not hold.
    private const string Script = """
        i=0
        while [ $i -lt 64 ]; do mkdir /tmp$i; i=$((i+1)); done
        cat /proc/interrupts > /dev/null
        echo FINISHED
        """;

    private static readonly string[] Places = ["vfs_*", "do_sys_open*", "*_inode", "d_*", "path_*"];

    [Fact]
    public async Task The_guest_waits_for_room_and_every_call_is_there()
    {
        await using var guest = await RecordedGuest.BootAsync(OracleKernels.Open("stock"), Script, cpus: 4);
        var result = await guest.RecordAsync(Places, Ring(isLossy: false), new SlowReader());
        var trace = guest.Trace;
        output.WriteLine($"{result.Hits} hits, {trace.NonStop!.Waits} waits, {trace.NonStop.Pauses} pauses");
        Assert.Equal(RecordingEnd.GuestEnded, result.End);
        Assert.Contains("FINISHED", await guest.ConsoleAsync(), StringComparison.Ordinal);
        Assert.Equal((0L, 0L), (trace.NonStop.Dropped, trace.NonStop.Broken));
        Assert.True(trace.NonStop.Waits > 20, $"{trace.NonStop.Waits} waits");
        Assert.Equal(Folders, Count(trace, "vfs_mkdir", "mkdir"));
        Assert.Equal(Enumerable.Range(1, (int)trace.HitCount).Select(i => (long)i), trace.Hits.Select(h => h.Sequence));
    }

    [Fact]
    public async Task A_lossy_recording_drops_and_counts_and_the_guest_never_waits()
    {
        await using var guest = await RecordedGuest.BootAsync(OracleKernels.Open("stock"), Script, cpus: 2);
        var result = await guest.RecordAsync(Places, Ring(isLossy: true), new SlowReader());
        var trace = guest.Trace;
        output.WriteLine($"{result.Hits} hits, {trace.NonStop!.Dropped} dropped");
        Assert.Equal(RecordingEnd.GuestEnded, result.End);
        Assert.Contains("FINISHED", await guest.ConsoleAsync(), StringComparison.Ordinal);
        Assert.True(trace.NonStop.Dropped > 20, $"{trace.NonStop.Dropped} dropped");
        Assert.Equal((0L, 0L), (trace.NonStop.Waits, trace.NonStop.Broken));
        Assert.True(result.Hits > 200);
    }

    private static CaptureOptions Ring(bool isLossy) => CaptureOptions.Default with { StackBytes = StackBytes, RingLimit = 4 * RecordBytes, Lossy = isLossy };

    private static int Count(Trace trace, string function, string command)
    {
        var ids = trace.Tracepoints.All.Where(t => t.Symbol == function).Select(t => t.Id).ToHashSet();
        return trace.Hits.Count(h => ids.Contains(h.Tracepoint) && h.Task!.Comm == command);
    }

    private sealed class SlowReader : IRecordingProgress
    {
        public void Hit(TraceRecord.Hit hit)
        {
        }

        public void Reached(long sequence) => Thread.Sleep(1);

        public void Note(string text, bool isWarning)
        {
        }
    }
}
