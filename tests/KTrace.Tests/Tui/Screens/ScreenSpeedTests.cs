using System.Diagnostics;
using KTrace.Tui.Panes;
using KTrace.Tui.Targets;

namespace KTrace.Tests.Tui.Screens;

/// <summary>A long session costs no more than a short one: only what is on the screen is laid out.</summary>
public class ScreenSpeedTests(Xunit.Abstractions.ITestOutputHelper output)
{
    [Fact]
    public void A_hundred_thousand_hits_and_a_full_console_allocate_no_more_than_a_few()
    {
        var few = Allocated(UiSamples.Live(200, 50));
        var many = UiSamples.Live(200, 50);
        for (var i = 0; i < 100; i++)
        {
            many.Hear(
                new TargetNews.HitsAdded([.. Enumerable.Range(0, 1000).Select(n => UiSamples.Summaries[n % UiSamples.Summaries.Length] with { Sequence = 1000 + (i * 1000) + n })]),
                new TargetNews.ConsoleText(string.Concat(Enumerable.Range(0, 1000).Select(n => $"[{i}.{n}] a line of the console\r\n"))));
        }

        Assert.Equal(50_000, many.State.Console.Lines.Count);
        var bytes = Allocated(many);
        output.WriteLine($"{few} bytes a key with little, {bytes} with much");
        Assert.True(bytes < 2 * few, $"{few} bytes a key with little, {bytes} with much");
    }

    /// <summary>Bytes for a key and its screen, in the layouts with hits and console.</summary>
    private long Allocated(UiDriver screen)
    {
        const int Keys = 400;
        screen.Type(":pane hits\nGkkk").Forget();
        var times = new List<double>();
        Once();
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < Keys; i++)
        {
            Once();
        }

        var bytes = (GC.GetAllocatedBytesForCurrentThread() - before) / Keys;
        times.Sort();
        output.WriteLine($"update and lines: p50 {times[times.Count / 2]:0.00} ms, p95 {times[times.Count * 95 / 100]:0.00} ms");
        return bytes;

        void Once()
        {
            var watch = Stopwatch.StartNew();
            screen.Type(times.Count % 2 == 0 ? "k" : "j");
            foreach (var line in new RootView(screen.State).Lines(200))
            {
                _ = line.Width;
            }

            times.Add(watch.Elapsed.TotalMilliseconds);
        }
    }
}
