using System.Collections.Immutable;
using KTrace.Debugger;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Cli;
using KTrace.Tests.Support;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger;

/// <summary>
/// The kernel prints its own call trace; we stop it at the function that does, unwind, and compare. Its unwinder and ours share no code, and
/// a kernel without ORC or frame pointers ("guess") vouches for nothing, so only kernels that have an unwinder can be asked.
/// </summary>
[Collection(nameof(BootsCollection))]
public sealed class OracleTests(ITestOutputHelper output)
{
    private const string Printer = "__show_trace_log_lvl";

    private static OracleKernel Stock => OracleKernel.Package(StockKernel.Root, StockKernel.Release);

    [Fact]
    public async Task Frames_equal_the_kernels_own_call_traces()
    {
        var differences = await CompareAsync(Stock, """
            echo l > /proc/sysrq-trigger
            echo t > /proc/sysrq-trigger
            echo c > /proc/sysrq-trigger
            """);
        Assert.True(differences.Count == 0, string.Join("\n\n", differences));
    }

    /// <summary>Every way in which ours and the kernel's differ.</summary>
    private async Task<List<string>> CompareAsync(OracleKernel kernel, string script, string append = "", int cpus = 1, string? cpu = null)
    {
        await using var guest = await OracleGuest.BootAsync(kernel, script, append, cpus, cpu);
        var ours = new List<(ImmutableArray<UnwoundFrame> Frames, UnwindStop Stop, ImmutableArray<string> Names)>();
        await guest.RunAsync(
            [Printer],
            async capture =>
            {
                var stack = await StackOfAsync(guest, capture);
                ours.Add((stack.Frames, stack.Stop, [.. stack.Frames.Select(guest.Name)]));
                return true;
            },
            TimeSpan.FromMinutes(3));
        var theirs = OracleConsole.CallTraces(guest.Console);
        var differences = new List<string>();
        if (ours.Count != theirs.Count)
        {
            differences.Add($"{ours.Count} stops, {theirs.Count} traces on the console");
        }

        var entries = 0;
        for (var i = 0; i < Math.Min(ours.Count, theirs.Count); i++)
        {
            entries += theirs[i].Entries.Length;
            if (Difference(theirs[i], ours[i].Frames, ours[i].Stop, guest) is { } what)
            {
                differences.Add($"trace {i}: {what}\nkernel:\n{theirs[i].Text}\nours:\n  {string.Join("\n  ", ours[i].Names)}\n  {ours[i].Stop}");
            }
        }

        output.WriteLine($"{theirs.Count} traces, {entries} entries, {differences.Count} differences; ends: "
            + string.Join(", ", ours.CountBy(o => o.Stop.GetType().Name).Select(p => $"{p.Key} {p.Value}")));
        return differences;
    }

    /// <summary>The stack that is about to be printed: this CPU's own, or a sleeping task's.</summary>
    private static async Task<UnwindResult> StackOfAsync(OracleGuest guest, StopCapture capture)
    {
        var architecture = guest.Map.Image.Architecture;
        var task = capture.Registers[architecture.ArgumentRegisters[0]];
        var layouts = guest.Map.Image.Layouts;
        if (task == 0 || capture.Task is null || !layouts.TryFindMember("task_struct", "pid", out var pidMember) || !layouts.TryFindMember("task_struct", "thread", out var thread)
            || !layouts.TryFindMember("thread_struct", "sp", out var sp))
        {
            return capture.Stack;
        }

        var pid = await guest.Target.Memory.TryReadUInt32Async(task + (ulong)pidMember.ByteOffset, CancellationToken.None);
        if (pid == capture.Task.Value.Pid)
        {
            return capture.Stack;
        }

        var stackPointer = await guest.Target.Memory.TryReadWordAsync(task + (ulong)(thread.ByteOffset + sp.ByteOffset), CancellationToken.None);
        return (await guest.Capture.UnwindSleepingAsync(stackPointer!.Value, CancellationToken.None))!;
    }

    /// <summary>Null when the kernel's trace is the outer part of our stack, frame for frame.</summary>
    private static string? Difference(OracleTrace theirs, ImmutableArray<UnwoundFrame> ours, UnwindStop stop, OracleGuest guest)
    {
        if (ours.Length < theirs.Entries.Length)
        {
            return $"the kernel has {theirs.Entries.Length} frames, we {ours.Length}";
        }

        var skipped = ours.Length - theirs.Entries.Length;
        for (var i = theirs.Entries.Length - 1; i >= 0; i--)
        {
            if (!theirs.Entries[i].Is(ours[skipped + i].ProgramCounter, guest.Map))
            {
                return $"{theirs.Entries[i]} is {guest.Name(ours[skipped + i])} for us";
            }
        }

        return theirs.ToUser && stop is not UnwindStop.UserSpace ? "the kernel's ends in user space" : null;
    }
}
