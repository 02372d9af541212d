using System.Collections.Immutable;
using System.Diagnostics;
using Iced.Intel;
using KTrace.Debugger.NonStop.Relocation;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Relocation;

/// <summary>Whole kernels: every function is asked, and every plan is made and compared with the code that it replaces.</summary>
public sealed class RelocatedEntryTests(ITestOutputHelper output)
{
    [Fact]
    public void Blocks_of_the_stock_kernel_do_what_the_moved_instructions_did()
    {
        var counts = Check(StockKernel.Vmlinux);
        Assert.True(counts.Planned > 500, $"{counts.Planned} functions");
        Assert.True(counts.Reasons["the function tracer's no-op stands in it"] > 30_000);
    }

    [SkippableTheory]
    [Trait("Group", "Long")]
    [InlineData("tiny64")]
    [InlineData("tiny32")]
    public void Blocks_of_kernels_without_the_function_tracer_do_what_the_moved_instructions_did(string tree)
    {
        var path = Path.Combine(Environment.GetEnvironmentVariable(OracleKernels.TreesVariable) ?? "", tree, "vmlinux");
        Skip.IfNot(File.Exists(path), OracleKernels.TreesVariable + " names no such tree");
        Assert.True(Check(path).Planned > 10_000);
    }

    private (int Planned, Dictionary<string, int> Reasons) Check(string vmlinux)
    {
        var image = KernelImage.Open(vmlinux);
        var clock = Stopwatch.StartNew();
        var code = RelocatableCode.Of(image);
        output.WriteLine($"index {clock.ElapsedMilliseconds} ms");
        clock.Restart();
        var planned = 0;
        var reasons = new Dictionary<string, int>();
        foreach (var symbol in image.Symbols.All.Where(s => s is { IsFunction: true, Size: > 0 }).DistinctBy(s => s.Value))
        {
            if (RelocatedEntry.TryPlan(code, symbol.Value, out var plan, out var reason))
            {
                planned++;
                MovedCode.AssertSame(image, plan);
            }
            else
            {
                reasons[reason] = reasons.GetValueOrDefault(reason) + 1;
            }
        }

        output.WriteLine($"{planned} planned, {clock.ElapsedMilliseconds} ms");
        foreach (var (reason, count) in reasons.OrderByDescending(r => r.Value))
        {
            output.WriteLine($"{count,7} {reason}");
        }

        return (planned, reasons);
    }
}
