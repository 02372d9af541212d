using System.Collections.Immutable;
using System.Text;
using KTrace.Tracing;
using KTrace.Tui.Panes;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;
using KTrace.Tui.Views;

namespace KTrace.Tests.Tui.Screens;

/// <summary>Any keys, any mouse, any size, any news, in any order: there is always a screen, and it always fits.</summary>
public class ScreenFuzzTests
{
    private const string Hostile = "\u001b[2J\u001b]0;x\a\u009b31m\u202e\u2028\r\n\t\0漢字e\u0301\ud800\udc00\ud800 […";

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Nothing_throws_and_the_screen_always_fits(int seed)
    {
        var random = new Random(seed);
        var screen = seed % 2 == 0 ? UiSamples.Live(80, 24) : UiSamples.OfTrace(80, 24);
        if (seed > 2)
        {
            screen = new UiDriver(screen.State with { Looks = screen.State.Looks with { IsUnicode = false, Colours = ColourDepth.None } });
        }

        for (var i = 0; i < 4000; i++)
        {
            var happened = Next(random, screen.State);
            try
            {
                screen.Do(happened);
                if (i % 4 == 0 || happened is UiEvent.Input { What: InputEvent.Resized })
                {
                    Fits(screen.State);
                }
            }
            catch (Exception e) when (e is not Xunit.Sdk.XunitException)
            {
                throw new InvalidOperationException($"seed {seed}, step {i}: {happened} in {screen.State.Focus} at {screen.State.Size}", e);
            }

            screen.Forget();
        }
    }

    [Fact]
    public void Every_size_from_nothing_to_much_has_its_screen()
    {
        foreach (var (columns, rows) in from c in new[] { 0, 1, 2, 5, 11, 24, 25, 40, 79, 80, 111, 300, 500 } from r in new[] { 0, 1, 2, 3, 4, 5, 9, 24, 31, 60, 200 } select (c, r))
        {
            for (var layout = 1; layout <= Layouts.Count; layout++)
            {
                Fits(UiSamples.Live(columns, rows).Type(layout.ToString(System.Globalization.CultureInfo.InvariantCulture)).State);
            }

            Fits(UiSamples.Live(columns, rows).Type("?").State);
            Fits(UiSamples.Live(columns, rows).Type(":pane re").State);
        }
    }

    private static void Fits(UiState state)
    {
        var root = new RootView(state);
        var lines = root.Lines(state.Size.Columns).ToArray();
        Assert.Equal(state.Size.Rows, lines.Length);
        foreach (var line in lines)
        {
            Assert.True(line.Width <= state.Size.Columns, $"{line.Width} cells at {state.Size}: {line}");
            foreach (var (text, _) in line.Spans)
            {
                Assert.Equal(TerminalText.Sanitize(text, int.MaxValue), text);
                Assert.True(state.Looks.IsUnicode || Ascii.IsValid(text), text);
            }
        }

        Assert.True(root.Cursor is not { } cursor || (cursor.Column >= 0 && cursor.Column < state.Size.Columns && cursor.Row >= 0 && cursor.Row < state.Size.Rows));
    }

    private static UiEvent Next(Random random, UiState state) => random.Next(20) switch
    {
        < 10 => new UiEvent.Input(Key(random)),
        < 13 => new UiEvent.Input(new InputEvent.Mouse((MouseAction)random.Next(5), random.Next(3), random.Next(-1, state.Size.Columns + 2), random.Next(-1, state.Size.Rows + 2))),
        13 => new UiEvent.Input(new InputEvent.Resized(new TerminalSize(random.Next(1, random.Next(2, 500)), random.Next(1, random.Next(2, 200))))),
        14 => new UiEvent.Input(new InputEvent.Paste(Text(random))),
        15 => new UiEvent.Tick(),
        _ => new UiEvent.News(News(random)),
    };

    private static InputEvent.Key Key(Random random) => random.Next(6) switch
    {
        0 => new InputEvent.Key((KeyName)random.Next(1, (int)KeyName.F12 + 1), default, (KeyModifiers)random.Next(8)),
        1 => InputEvent.Key.Of((char)random.Next('a', 'z' + 1), KeyModifiers.Control),
        2 => new InputEvent.Key(KeyName.Character, new Rune(random.Next(2) == 0 ? 0x6f22 : 0x301)),
        _ => InputEvent.Key.Of((char)random.Next(' ', '~' + 1)),
    };

    private static string Text(Random random) => random.Next(3) switch
    {
        0 => Hostile[random.Next(Hostile.Length)..],
        1 => new string((char)random.Next(0, 0x3000), random.Next(300)),
        _ => "plain text",
    };

    private static TargetNews News(Random random)
    {
        var hits = UiSamples.Recorded.Hits;
        var hit = hits[random.Next(hits.Count)];
        return random.Next(24) switch
        {
            0 => new TargetNews.Progress(Text(random), random.Next(2) == 0 ? null : random.NextDouble() * 2),
            1 => new TargetNews.Idle(),
            2 => new TargetNews.Running(),
            3 => new TargetNews.Stopped(UiSamples.Stop with { Cause = Text(random), Path = random.Next(3) == 0 ? null : hit }),
            4 => new TargetNews.Ended(Text(random)),
            5 => new TargetNews.Identified(Text(random), ulong.MaxValue),
            6 or 7 => new TargetNews.ConsoleText(Text(random)),
            8 => new TargetNews.HitsAdded([.. UiSamples.Summaries.Select(s => s with { Task = Text(random), Place = random.Next(2) == 0 ? s.Place : Text(random) })]),
            9 => new TargetNews.HitShown(hit, null, UiSamples.Recorded.Tracepoints),
            10 => new TargetNews.HitsCompared(hit, hits[random.Next(hits.Count)]),
            11 => new TargetNews.TracesCompared(Text(random), "b", TraceDiff.Compare(UiSamples.Recorded, UiSamples.Recorded with { Hits = [.. hits.Skip(random.Next(5))] }), UiSamples.Recorded.Tracepoints, UiSamples.Recorded.Tracepoints),
            12 => new TargetNews.Output(Text(random), [new TextLine().Add(Text(random)), new TextLine().Add(Text(random))]),
            13 => new TargetNews.Failed(Text(random), random.Next(2) == 0 ? null : Text(random)),
            14 => new TargetNews.Note(Text(random), random.Next(2) == 0),
            15 => random.Next(2) == 0 ? new TargetNews.Breakpoints([]) : UiSamples.Breakpoints,
            16 => random.Next(2) == 0 ? new TargetNews.Modules([new ModuleRow(Text(random), ulong.MaxValue, -1, null, false)]) : UiSamples.Modules,
            17 => new TargetNews.FrameContents(UiSamples.Frame with { Frame = random.Next(3), Line = random.Next(-1, 1000), Source = random.Next(2) == 0 ? null : UiSamples.Frame.Source }),
            18 => new TargetNews.Watched([new ValueRow(Text(random), "x", null, Text(random), null, true)]),
            19 => UiSamples.Members with { Expression = random.Next(2) == 0 ? "data" : "msg" },
            20 => new TargetNews.Instructions(random.Next(2) == 0 ? UiSamples.Frame.Code! : new CodeListing(Text(random), [])),
            21 => random.Next(2) == 0 ? UiSamples.Memory : new TargetNews.MemoryRead(ulong.MaxValue - 4, [1, 2, null, 4]),
            22 => UiSamples.Interrupts,
            _ => new TargetNews.Completions(":", 0, random.Next(-1, 3), [Text(random), "b"]),
        };
    }
}
