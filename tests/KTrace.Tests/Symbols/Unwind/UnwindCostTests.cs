using System.Diagnostics;
using KTrace.Symbols.Unwind;
using Xunit.Abstractions;

namespace KTrace.Tests.Symbols.Unwind;

/// <summary>What a warm unwind costs. Time is shown and not asserted; memory is asserted.</summary>
public class UnwindCostTests(ITestOutputHelper output)
{
    [Fact]
    public void A_warm_unwind_allocates_as_much_the_thousandth_time_as_the_second()
    {
        var capture = StackCapture.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Fixtures", "stacks", "system-call-into-a-module.json")));
        var table = StockUnwind.Table(capture.Modules);
        var frames = StackUnwinder.Unwind(capture.Registers, capture, table).Frames.Length;
        StackUnwinder.Unwind(capture.Registers, capture, table);
        var second = Allocated(1);
        var later = 0L;
        var best = TimeSpan.MaxValue;
        for (var round = 0; round < 20; round++)
        {
            var watch = Stopwatch.StartNew();
            later = Allocated(1000);
            best = watch.Elapsed < best ? watch.Elapsed : best;
        }

        output.WriteLine($"{frames} frames in {best.TotalMicroseconds / 1000:0.00} µs (best of 20 rounds of 1,000), {second} bytes");
        Assert.InRange(later, second * 999, second * 1001);

        long Allocated(int times)
        {
            var before = GC.GetAllocatedBytesForCurrentThread();
            for (var i = 0; i < times; i++)
            {
                StackUnwinder.Unwind(capture.Registers, capture, table);
            }

            return GC.GetAllocatedBytesForCurrentThread() - before;
        }
    }
}
