using KTrace.Tests.Cli;
using KTrace.Tracing;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop;

/// <summary>One recording in which four CPUs run through trampolines all the time and the machine is stopped hundreds of times, by interrupts' handlers.</summary>
[Collection(nameof(NonStopBootsCollection))]
public sealed class MixedWaysTests(ITestOutputHelper output) : IDisposable
{
    // Above the modules: where trampolines, return stubs and moved instructions lie.
    private const ulong TracerCode = 0xffff_ffff_e000_0000;

    private const string Interrupt = "tick_do_update_jiffies64";

    private readonly KTraceProgram _program = new();

    public void Dispose() => _program.Dispose();

    [Fact]
    public void A_stop_comes_behind_every_call_before_it_and_its_path_leads_through_trampolines_to_its_end()
    {
        var run = _program.Run(
            "record", "e1000e-msix", "--cpus", "4", "-b", "kernfs_* return", "-b", "kmem_cache* return", "-b", "@irq return", "-b", "tick_do*", "-b", Interrupt + "+0x5", "--max-hits", "120000", "-o", "mixed.ktrace");
        Assert.True(run.ExitCode == 0, run.Errors);
        var trace = Trace.Load(_program.PathOf("mixed.ktrace"));
        var symbols = trace.Tracepoints.All.ToDictionary(t => t.Id, t => (t.Symbol, t.Way));
        var entered = new Dictionary<int, int>();
        var (stops, fromTrampolines, fromStubs) = (0, 0, 0);
        foreach (var hit in trace.Hits)
        {
            Assert.True(
                hit.PathEnd!.Reason is TraceEndReason.User or TraceEndReason.KernelThread or TraceEndReason.BootCpu or TraceEndReason.Idle,
                $"hit {hit.Sequence} ends with {hit.PathEnd.Reason}: {string.Join(" < ", hit.Path.Frames.Select(f => f.Function))}");
            var (symbol, way) = symbols[hit.Tracepoint];
            if (symbol == Interrupt && way == TracepointWay.NonStop)
            {
                entered[hit.Cpu] = entered.GetValueOrDefault(hit.Cpu) + 1;
            }
            else if (symbol!.StartsWith(Interrupt + "+", StringComparison.Ordinal))
            {
                // Its CPU has entered the function as often as it was stopped in it: no record of its was left behind another CPU's.
                Assert.True((entered[hit.Cpu] = entered.GetValueOrDefault(hit.Cpu) - 1) == 0, $"hit {hit.Sequence} came before its function's entry");
                var frames = hit.Path.Frames.SkipWhile(f => !f.Function.StartsWith("asm_sysvec", StringComparison.Ordinal)).Skip(1).ToList();
                stops++;
                fromTrampolines += frames is [{ Offset: 5 }, ..] ? 1 : 0;
                fromStubs += hit.Pcs.Any(pc => pc >= TracerCode) ? 1 : 0;
            }
        }

        output.WriteLine($"{trace.HitCount} hits, {stops} stops, {fromTrampolines} interrupted a trampoline, {fromStubs} a return stub");
        Assert.True(stops > 100 && fromTrampolines + fromStubs > 3, $"{stops} stops, {fromTrampolines} in trampolines, {fromStubs} in stubs");

        // Functions that the kernel's tracer does not know are among them.
        var moved = trace.Tracepoints.All.Where(t => t.WayReason?.StartsWith("its first instructions are moved", StringComparison.Ordinal) == true).Select(t => t.Id).ToHashSet();
        Assert.Contains(trace.Hits, h => moved.Contains(h.Tracepoint));
        Assert.All(entered.Values, left => Assert.InRange(left, 0, 1));
    }
}
