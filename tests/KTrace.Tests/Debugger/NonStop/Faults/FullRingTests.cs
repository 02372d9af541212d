using System.Globalization;
using System.Text.RegularExpressions;
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
public sealed partial class FullRingTests(ITestOutputHelper output)
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

    /// <summary>How many calls there were is known from dd, which counts its own: nobody else reads /dev/zero or writes to /dev/null.</summary>
    [Fact]
    public async Task A_lossy_recording_has_or_counts_every_call_and_the_guest_never_waits()
    {
        const string script = """
            dd if=/dev/zero of=/dev/null bs=1 count=60000 2> /first &
            dd if=/dev/zero of=/dev/null bs=1 count=45678 2> /second
            wait
            cat /first /second
            echo FINISHED
            """;
        await using var guest = await RecordedGuest.BootAsync(OracleKernels.Open("stock"), script, cpus: 2);
        var result = await guest.RecordAsync(["read_zero", "write_null"], Ring(isLossy: true));
        var (trace, console) = (guest.Trace, await guest.ConsoleAsync());
        var counted = DdRecords().Matches(console).Select(m => long.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture)).ToList();
        output.WriteLine($"{result.Hits} hits, {trace.NonStop!.Dropped} dropped, dd: {string.Join(" + ", counted)}");
        Assert.Equal(RecordingEnd.GuestEnded, result.End);
        Assert.Contains("FINISHED", console, StringComparison.Ordinal);
        Assert.Equal([45_678, 45_678, 60_000, 60_000], counted.Order());
        Assert.Equal(counted.Sum(), result.Hits + trace.NonStop.Dropped);
        Assert.Equal(result.Hits, trace.NonStop.Hits);
        Assert.Equal((0L, 0L), (trace.NonStop.Waits, trace.NonStop.Broken));

        // As many as the ring holds come before the first is dropped.
        Assert.True(result.Hits >= 4 && trace.NonStop.Dropped > 0, $"{result.Hits} hits, {trace.NonStop.Dropped} dropped");
    }

    [GeneratedRegex(@"(\d+)\+0 records (in|out)")]
    private static partial Regex DdRecords();

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
