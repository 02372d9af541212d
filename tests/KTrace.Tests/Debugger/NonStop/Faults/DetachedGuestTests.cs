using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Modules;
using KTrace.Debugger.NonStop;
using KTrace.Debugger.Recording;
using KTrace.Tests.Cli;
using KTrace.Tracing;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Faults;

/// <summary>Guests that live on: after the recording, after a module, after a reset.</summary>
[Collection(nameof(NonStopBootsCollection))]
public sealed class DetachedGuestTests(ITestOutputHelper output)
{
    private const string Messages = "vprintk_store first 20";

    [Fact]
    public async Task A_guest_goes_on_after_its_recording_with_its_own_code_and_open_calls_return()
    {
        await using var guest = await RecordedGuest.BootAsync(OracleKernels.Open("stock"), "ls -lR /sys > /dev/null; cat /proc/interrupts; echo FINISHED", cpus: 2);
        var result = await guest.RecordAsync(["vfs_* return", "kmem_cache_* return", "do_sys* return", "@irq return"], CaptureOptions.Default, maximumHits: 60_000);
        Assert.Equal((RecordingEnd.HitLimit, 60_000), (result.End, result.Hits));
        await guest.Target.Machine.Sites.RemoveAllAsync(CancellationToken.None);
        var text = await DifferencesAsync(guest);
        Assert.True(text.Count == 0, "changed: " + string.Join(", ", text));
        await guest.GoOnAsync();
        var said = await guest.ConsoleAsync();
        Assert.Contains("FINISHED", said, StringComparison.Ordinal);
        Assert.DoesNotContain("Oops", said, StringComparison.Ordinal);
        Assert.DoesNotContain("WARNING", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_module_that_is_unloaded_and_loaded_again_is_traced_again()
    {
        var kernel = OracleKernels.Open("stock");
        await using var guest = await RecordedGuest.BootAsync(
            kernel, "insmod /lib/modules/e1000e.ko; rmmod e1000e; echo GONE; insmod /lib/modules/e1000e.ko; rmmod e1000e; echo FINISHED", modules: ["e1000e"]);
        using var files = new ModuleFiles([kernel.Modules!, kernel.DebugModules!]);
        await guest.RecordAsync(["@module:e1000e", Messages], CaptureOptions.Default, modules: files);
        var trace = guest.Trace;
        Assert.Contains("FINISHED", await guest.ConsoleAsync(), StringComparison.Ordinal);
        var calls = trace.Hits.CountBy(h => h.Path.Frames[0].Function).ToDictionary();
        output.WriteLine(string.Join('\n', calls.Select(c => $"{c.Key} {c.Value}")));
        Assert.Equal((2, 2, 2), (calls["e1000_init_module"], calls["e1000_probe"], calls["e1000_remove"]));
        Assert.DoesNotContain(trace.Remarks.OfType<TraceRecord.Warning>(), w => w.Text.Contains("unreadable", StringComparison.Ordinal));
        Assert.Equal(0, trace.NonStop!.Broken);
        Assert.All(trace.Tracepoints.All.Where(t => t.Requested != Messages), t => Assert.Equal(TracepointState.Pending, t.State));

        // Breakpoints stand in before there are trampolines: both count together.
        Assert.Equal(20, calls["vprintk_store"]);
        Assert.InRange(trace.HitCount - trace.NonStop.Hits, 1, 19);
    }

    [Fact]
    public async Task A_triple_fault_ends_the_recording_with_all_hits_before_it()
    {
        await using var guest = await RecordedGuest.BootAsync(OracleKernels.Open("stock"), "echo LAST; sleep 1; reboot -f", append: "nokaslr reboot=t");
        var result = await guest.RecordAsync(["vfs_*", "kernel_restart", "native_machine_emergency_restart", "machine_restart"], CaptureOptions.Default);
        Assert.Equal(RecordingEnd.GuestEnded, result.End);
        Assert.Contains("LAST", await guest.ConsoleAsync(), StringComparison.Ordinal);
        Assert.Contains(guest.Trace.Hits.TakeLast(20), h => h.Path.Frames[0].Function is "kernel_restart" or "machine_restart" or "native_machine_emergency_restart");
    }

    /// <summary>Traced functions whose first bytes are not the no-op, or not the kernel's own.</summary>
    private static async Task<List<string>> DifferencesAsync(RecordedGuest guest)
    {
        var different = new List<string>();
        var bytes = new byte[5];
        foreach (var tracepoint in guest.Trace.Tracepoints.All.Where(t => t is { Way: TracepointWay.NonStop, Address: not null }))
        {
            var address = tracepoint.Address!.Value;
            if (await guest.Target.Memory.TryReadAsync(address, bytes, CancellationToken.None) && bytes[0] is 0xe8 or 0xe9
                && (ulong)((long)address + 5 + BitConverter.ToInt32(bytes.AsSpan(1))) >= 0xffff_ffff_e000_0000)
            {
                different.Add(tracepoint.Symbol!);
            }
        }

        return different;
    }
}
