using System.Collections.Immutable;
using KTrace.Debugger.Recording;
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
        AssertSame(await CompareAsync(Stock, """
            echo l > /proc/sysrq-trigger
            echo t > /proc/sysrq-trigger
            echo c > /proc/sysrq-trigger
            """));
    }

    [Fact]
    public async Task Frames_equal_what_ftrace_and_kprobe_handlers_see()
    {
        // The kernel's tracers store their own stacks at each event; the trace file then has them in order.
        AssertSame(await CompareAsync(Stock, OracleScripts.Tracers, saver: true));
    }

    [SkippableTheory]
    [Trait("Group", "Long")]
    [MemberData(nameof(LongBoots))]
    public async Task Frames_equal_the_kernels_own_call_traces_on_every_kernel(string kernel, int cpus, string append, string? cpu)
    {
        AssertSame(await CompareAsync(OracleKernels.Open(kernel), "echo l > /proc/sysrq-trigger\necho t > /proc/sysrq-trigger\necho w > /proc/sysrq-trigger\necho c > /proc/sysrq-trigger", append, cpus, cpu));
    }

    [SkippableTheory]
    [Trait("Group", "Long")]
    [InlineData("stock", 1)]
    [InlineData("other", 2)]
    public async Task Frames_equal_the_kernels_own_call_trace_of_an_nmi(string kernel, int cpus)
    {
        AssertSame(await CompareAsync(OracleKernels.Open(kernel), "while :; do cat /init >/dev/null; done", "unknown_nmi_panic panic=-1", cpus, nmiAt: "vfs_read", mark: "NMI"));
    }

    [SkippableFact]
    [Trait("Group", "Long")]
    public async Task Frames_equal_what_tracers_see_on_the_other_kernel() =>
        AssertSame(await CompareAsync(OracleKernels.Open("other"), OracleScripts.Tracers, saver: true));

    public static TheoryData<string, int, string, string?> LongBoots => new()
    {
        { "stock", 2, "spectre_v2=retpoline", null },
        { "stock", 1, "", "EPYC" },
        { "other", 1, "", null },
        { "other", 2, "spectre_v2=retpoline", "EPYC" },
        { "tree:fp64", 2, "", null },
        { "tree:clang64", 2, "", null },
        { "tree:fp32", 1, "", null },
    };

    private static void AssertSame(List<string> differences) => Assert.True(differences.Count == 0, string.Join("\n\n", differences));

    /// <summary>Every way in which ours and the kernel's differ.</summary>
    private async Task<List<string>> CompareAsync(OracleKernel kernel, string script, string append = "", int cpus = 1, string? cpu = null, bool saver = false, string? nmiAt = null, string? mark = null)
    {
        await using var guest = await OracleGuest.BootAsync(kernel, script, append, cpus, cpu);
        var isSent = false;
        var ours = new List<(ImmutableArray<UnwoundFrame> Frames, UnwindStop Stop, ImmutableArray<string> Names)>();
        await guest.RunAsync(
            saver ? ["stack_trace_save", "stack_trace_save_regs"] : nmiAt is null ? [Printer] : [Printer, nmiAt],
            async capture =>
            {
                if (nmiAt is not null && guest.Map.NameOf(capture.Registers.ProgramCounter) == nmiAt)
                {
                    // Once, and where nobody holds the console: the trace of an NMI that comes while another is printed waits for that one.
                    if (!isSent)
                    {
                        isSent = true;
                        await guest.Client.MonitorAsync("nmi", CancellationToken.None);
                    }

                    return true;
                }

                var stack = saver ? capture.Stack : await StackOfAsync(guest, capture);
                ours.Add((stack.Frames, stack.Stop, [.. stack.Frames.Select(guest.Name)]));
                return true;
            },
            TimeSpan.FromMinutes(3));
        var theirs = saver ? OracleConsole.TraceFile(guest.Console) : OracleConsole.CallTraces(guest.Console);
        var differences = new List<string>();
        if (saver ? ours.Count < theirs.Count : ours.Count != theirs.Count)
        {
            differences.Add($"{ours.Count} stops, {theirs.Count} traces on the console");
        }

        // A tracer that is being removed still takes stacks, and finds nowhere to put them: some stops have no trace.
        var spare = saver ? ours.Count - theirs.Count : 0;
        var entries = 0;
        var at = 0;
        for (var i = 0; i < theirs.Count && at < ours.Count; i++, at++)
        {
            entries += theirs[i].Entries.Length;
            var what = Difference(theirs[i], ours[at].Frames, ours[at].Stop, guest);
            var (first, left) = (at, spare);
            while (what is not null && spare > 0 && at + 1 < ours.Count && Difference(theirs[i], ours[at + 1].Frames, ours[at + 1].Stop, guest) is var next)
            {
                (at, spare, what) = (at + 1, spare - 1, next);
            }

            if (what is not null)
            {
                (at, spare) = (first, left);
                differences.Add($"trace {i}: {what}\nkernel:\n{theirs[i].Text}\nours:\n  {string.Join("\n  ", ours[at].Names)}\n  {ours[at].Stop}");
            }
        }

        if (entries == 0 || (mark is not null && !theirs.Any(t => t.Marks.Contains(mark))))
        {
            differences.Add("the kernel printed no such trace:\n" + guest.Console[^Math.Min(guest.Console.Length, 4000)..]);
        }

        output.WriteLine($"{theirs.Count} traces, {entries} entries, {differences.Count} differences; ends: "
            + string.Join(", ", theirs.SelectMany(t => t.Marks).CountBy(m => m).Select(p => $"<{p.Key}> {p.Value}")) + "; "
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
        if (pid == capture.Task.Pid)
        {
            return capture.Stack;
        }

        var stackPointer = await guest.Target.Memory.TryReadWordAsync(task + (ulong)(thread.ByteOffset + sp.ByteOffset), CancellationToken.None);
        return (await guest.Capture.UnwindSleepingAsync(stackPointer!.Value, CancellationToken.None))!;
    }

    /// <summary>Null when the kernel's trace is the outer part of our stack, frame for frame.</summary>
    private static string? Difference(OracleTrace theirs, ImmutableArray<UnwoundFrame> ours, UnwindStop stop, OracleGuest guest)
    {
        if (theirs.Entries is [.., { Function: { } last } thunk] && last.StartsWith("__x86_indirect_thunk", StringComparison.Ordinal))
        {
            // ORC has no entry for the first half of a retpoline: interrupted there, the kernel's trace ends early. We know how a retpoline pushes.
            var at = ours.Select((f, i) => thunk.Is(f.ProgramCounter, guest.Map) ? i : -1).Max();
            return at < 0 ? $"{thunk} is not in ours" : Difference(theirs with { Entries = theirs.Entries[..^1] }, ours[..at], stop, guest);
        }

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
