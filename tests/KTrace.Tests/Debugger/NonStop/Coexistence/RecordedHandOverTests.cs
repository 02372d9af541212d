using KTrace.Debugger.NonStop;
using KTrace.Tests.Cli;
using KTrace.Tests.Debugger.NonStop.Faults;
using KTrace.Tracing;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Coexistence;

/// <summary>The kernel's own tracers used in a guest that is being recorded.</summary>
[Collection(nameof(NonStopBootsCollection))]
public sealed class RecordedHandOverTests(ITestOutputHelper output)
{
    private const string Script = """
        mount -t tracefs tracefs /sys/kernel/tracing
        cd /sys/kernel/tracing
        mkdir /before
        echo 'vfs_mkdir vfs_rmdir vfs_readlink' > set_ftrace_filter
        echo function > current_tracer
        mkdir /during
        grep -q vfs_mkdir trace && echo TRACER SAW IT
        echo nop > current_tracer
        echo 'p:entry vfs_rmdir' > kprobe_events
        echo 1 > events/kprobes/entry/enable
        rmdir /before
        grep -q 'entry: (vfs_rmdir' trace && echo PROBE SAW IT
        echo 0 > events/kprobes/entry/enable
        echo > kprobe_events
        mkdir /after
        rmdir /after
        cd /
        """;

    [Fact]
    public async Task The_kernel_s_tracer_and_probes_see_their_functions_and_the_recording_says_which_it_gave_up()
    {
        await using var guest = await RecordedGuest.BootAsync(OracleKernels.Open("stock"), Script, cpus: 2);
        await guest.RecordAsync(["vfs_*", "d_*", "kernfs_*"], CaptureOptions.Default);
        var (trace, console) = (guest.Trace, await guest.ConsoleAsync());
        var warnings = trace.Remarks.OfType<TraceRecord.Warning>().Select(w => w.Text).ToList();
        output.WriteLine(string.Join('\n', warnings));
        Assert.Contains("TRACER SAW IT", console, StringComparison.Ordinal);
        Assert.Contains("PROBE SAW IT", console, StringComparison.Ordinal);
        Assert.DoesNotContain("WARNING", console, StringComparison.Ordinal);
        Assert.DoesNotContain("------------[ cut here", console, StringComparison.Ordinal);
        Assert.Contains(warnings, w => w.Contains("use 3 of the traced functions", StringComparison.Ordinal) && w.Contains("vfs_mkdir", StringComparison.Ordinal));
        Assert.Contains(warnings, w => w.Contains("use 1 of the traced functions (vfs_rmdir)", StringComparison.Ordinal));
        Assert.Contains(warnings, w => w.Contains("have given all functions back", StringComparison.Ordinal));

        // mkdir /before and /after, rmdir /after; those between are the kernel's alone.
        Assert.Equal((2, 1), (Count("vfs_mkdir", "mkdir"), Count("vfs_rmdir", "rmdir")));

        int Count(string function, string command) => trace.Hits.Count(h => h.Path.Frames[0].Function == function && h.Task!.Comm == command);
    }
}
