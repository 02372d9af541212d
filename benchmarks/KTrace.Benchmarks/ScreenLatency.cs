using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Threading.Channels;
using KTrace.Tests.Tui.Terminal;
using KTrace.Tui.App;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;

namespace KTrace.Benchmarks;

/// <summary>From a key to the bytes of its frame in the real loop, with the real screen on a recorded trace, while news comes at any rate.</summary>
internal static class ScreenLatency
{
    private static readonly TerminalSize Size = new(200, 50);

    public static async Task RunAsync(string trace, int megabytesPerSecond, int rounds)
    {
        var looks = new TerminalLooks(ColourDepth.TwoHundredFiftySix, IsUnicode: true, IsLight: false, HasMouse: true, HasSynchronisedOutput: true);
        using var terminal = new MemoryTerminal(Size, looks);
        await using var target = new FloodedTarget(TraceTarget.Open(trace), megabytesPerSecond);
        var taken = new AutoResetEvent(false);
        var times = new List<double>(rounds);
        var sizes = new List<double>(rounds);
        long sent = 0;
        bool isApplied = false;
        long frames = 0, bytes = 0, news = 0;

        // Update and frames are on one thread: the first frame behind a key's update is the one that shows it.
        UiProgram program = UiProgram.Debugger with
        {
            Update = (state, happened) =>
            {
                isApplied |= happened is UiEvent.Input { What: InputEvent.Key };
                news += happened is UiEvent.News ? 1 : 0;
                return UiProgram.Debugger.Update(state, happened);
            },
        };
        terminal.OnFrame = frame =>
        {
            frames++;
            bytes += frame.Length;
            if (isApplied)
            {
                isApplied = false;
                times.Add(Stopwatch.GetElapsedTime(sent).TotalMilliseconds);
                sizes.Add(frame.Length);
                taken.Set();
            }
        };
        using var cancellation = new CancellationTokenSource();
        Task<TuiEnd> app = new TuiApp(terminal, target, program, _ => { }).RunAsync(
            UiState.Begin(Size, looks, target.Abilities, Remembered.Nothing), cancellation.Token);
        await Task.Delay(1000, CancellationToken.None);
        var random = new Random(1);
        long begun = Stopwatch.GetTimestamp();
        for (int i = 0; i < rounds; i++)
        {
            await Task.Delay(random.Next(10, 40), CancellationToken.None);
            sent = Stopwatch.GetTimestamp();
            terminal.Send(new InputEvent.Key(KeyName.Tab));
            taken.WaitOne();
        }

        double seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        await cancellation.CancelAsync();
        await app;
        Print($"key to frame, {megabytesPerSecond} MB/s of console", times, "ms");
        Print("bytes of that frame", sizes, "bytes");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{frames} frames of {bytes / Math.Max(1, frames)} bytes, {news} news, {target.Bytes / 1e6:F0} MB of console in {seconds:F1} s"));
    }

    private static void Print(string what, List<double> values, string unit)
    {
        values.Sort();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{what,-40} p50 {values[values.Count / 2],8:F2}  p95 {values[values.Count * 95 / 100],8:F2}  max {values[^1],8:F2}  {unit}  n={values.Count}"));
    }

    /// <summary>A trace as if it were a live machine whose console writes without end.</summary>
    private sealed class FloodedTarget : IUiTarget
    {
        private const int Batch = 16 << 10;

        private readonly TraceTarget _trace;
        private readonly Channel<TargetNews> _news = Channel.CreateBounded<TargetNews>(64);
        private readonly CancellationTokenSource _end = new();
        private readonly Task[] _pumps;

        public FloodedTarget(TraceTarget trace, int megabytesPerSecond)
        {
            _trace = trace;
            Abilities = trace.Abilities with { IsLive = true, CanTypeToConsole = true };
            _pumps = [Task.Run(CopyAsync), Task.Run(() => FloodAsync(megabytesPerSecond * 1e6))];
        }

        public long Bytes { get; private set; }

        public TargetAbilities Abilities { get; }

        public ChannelReader<TargetNews> News => _news.Reader;

        public void Post(TargetRequest request) => _trace.Post(request);

        public async ValueTask DisposeAsync()
        {
            await _end.CancelAsync();
            await Task.WhenAny(Task.WhenAll(_pumps));
            await _trace.DisposeAsync();
            _end.Dispose();
        }

        private async Task CopyAsync()
        {
            await foreach (TargetNews news in _trace.News.ReadAllAsync(_end.Token))
            {
                await _news.Writer.WriteAsync(news, _end.Token);
            }
        }

        private async Task FloodAsync(double bytesPerSecond)
        {
            ImmutableArray<string> texts = [.. Enumerable.Range(0, 8).Select(Text)];
            long begun = Stopwatch.GetTimestamp();
            while (bytesPerSecond > 0)
            {
                if (Bytes > Stopwatch.GetElapsedTime(begun).TotalSeconds * bytesPerSecond)
                {
                    await Task.Delay(1, _end.Token);
                    continue;
                }

                string text = texts[(int)(Bytes / Batch % texts.Length)];
                await _news.Writer.WriteAsync(new TargetNews.ConsoleText(text), _end.Token);
                Bytes += text.Length;
            }
        }

        private static string Text(int seed)
        {
            var random = new Random(seed);
            var text = new System.Text.StringBuilder();
            while (text.Length < Batch)
            {
                text.Append(CultureInfo.InvariantCulture, $"[{random.NextDouble() * 100,12:F6}] e1000e 0000:00:{random.Next(32):x2}.0 eth{random.Next(9)}: {new string((char)random.Next('a', 'z'), random.Next(60))}\r\n");
            }

            return text.ToString();
        }
    }
}
