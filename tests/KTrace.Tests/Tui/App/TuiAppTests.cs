using System.Collections.Immutable;
using KTrace.Tests.Tui.Terminal;
using KTrace.Tui.App;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;
using KTrace.Tui.Views;
using Spectre.Console.Rendering;

namespace KTrace.Tests.Tui.App;

public sealed class TuiAppTests : IAsyncDisposable
{
    private static readonly TerminalSize Size = new(40, 5);

    private readonly MemoryTerminal _terminal = new(Size, TerminalLooks.Plain);
    private readonly MemoryTarget _target = new();
    private readonly TerminalEmulator _screen = new(Size);
    private readonly CancellationTokenSource _cancellation = new();
    private readonly List<Remembered> _remembered = [];
    private readonly Lock _seen = new();
    private Action<Remembered> _remember;
    private Task<TuiEnd>? _running;
    private int _frames;
    private int _ticks;
    private long _news;
    private long _lasted;

    public TuiAppTests()
    {
        _remember = _remembered.Add;
        _terminal.OnFrame = frame =>
        {
            lock (_seen)
            {
                _frames++;
                _screen.Apply(frame);
            }
        };
    }

    public async ValueTask DisposeAsync()
    {
        await _cancellation.CancelAsync();
        if (_running is not null)
        {
            await Task.WhenAny(_running);
        }

        _cancellation.Dispose();
    }

    [Fact]
    public async Task The_first_screen_comes_without_any_event()
    {
        Start();
        await Shows("typed ''");
    }

    [Fact]
    public async Task Keys_change_the_screen_in_their_order()
    {
        Start();
        foreach (char c in "hello")
        {
            _terminal.Type(c);
        }

        await Shows("typed 'hello'");
    }

    [Fact]
    public async Task News_changes_the_screen()
    {
        Start();
        await _target.SayAsync(new TargetNews.Running());
        await Shows("news 1");
    }

    [Fact]
    public async Task A_key_is_painted_while_news_never_stops()
    {
        Start();
        using var stop = new CancellationTokenSource();
        Task flood = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested)
            {
                await _target.SayAsync(new TargetNews.ConsoleText("x"));
            }
        });
        string typed = "";
        foreach (char c in "abcdefghij")
        {
            long before = Interlocked.Read(ref _news);
            while (Interlocked.Read(ref _news) < before + 100)
            {
                await Task.Yield();
            }

            _terminal.Type(c);
            typed += c;
            await Shows($"typed '{typed}'");
        }

        await stop.CancelAsync();
        await flood;
        Assert.True(_frames < Interlocked.Read(ref _news), "news is folded before it is painted");
    }

    [Fact]
    public async Task All_news_arrives_however_it_comes()
    {
        Start();
        const int Count = 5000;
        var random = new Random(3);
        for (int i = 0; i < Count; i++)
        {
            await _target.SayAsync(new TargetNews.ConsoleText("x"));
            if (random.Next(200) == 0)
            {
                await Task.Delay(1);
            }
        }

        await Shows($"news {Count}");
    }

    [Fact]
    public async Task Ticks_come_while_something_moves_and_not_longer()
    {
        Start(moves: 3);
        await Until(() => _ticks == 3);
        await Task.Delay(600);
        Assert.Equal(3, _ticks);
        _terminal.Type('a');
        await Shows("typed 'a'");
        Assert.Equal(3, _ticks);
    }

    [Fact]
    public async Task What_is_held_back_is_shown_once_it_has_lasted_and_once()
    {
        Start();
        _terminal.Type('H');
        await Shows("news 7");
        await Task.Delay(300);
        _terminal.Type('a');
        await Shows("typed 'a'");
        Assert.Equal(7, _lasted);
    }

    [Fact]
    public async Task Quit_ends_the_loop_and_what_is_remembered_is_kept_before()
    {
        Start();
        _terminal.Type('a');
        _terminal.Type('R');
        _terminal.Type('Q');
        Assert.Equal(TuiEnd.Quit, await _running!);
        Assert.Equal("a", Assert.Single(_remembered).History[0]);
        Assert.False(_terminal.IsDisposed);
    }

    [Fact]
    public async Task Requests_go_to_the_target()
    {
        Start();
        _terminal.Type('C');
        await Until(() => !_target.Asked.IsEmpty);
        Assert.IsType<TargetRequest.Continue>(Assert.Single(_target.Asked));
    }

    [Fact]
    public async Task A_home_that_cannot_be_written_is_a_note_and_no_failure()
    {
        _remember = _ => throw new IOException("read-only");
        Start();
        _terminal.Type('R');
        await Shows("news 1");
        _terminal.Type('b');
        await Shows("typed 'b'");
    }

    [Fact]
    public async Task A_terminal_that_is_gone_ends_the_loop_after_what_was_typed()
    {
        Start();
        _terminal.Type('a');
        _terminal.Type('R');
        _terminal.Close();
        Assert.Equal(TuiEnd.Closed, await _running!);
        Assert.Equal("a", Assert.Single(_remembered).History[0]);
    }

    [Fact]
    public async Task Cancellation_ends_the_loop()
    {
        Start();
        await Shows("typed ''");
        await _cancellation.CancelAsync();
        Assert.Equal(TuiEnd.Closed, await _running!);
    }

    [Fact]
    public async Task The_loop_lives_on_when_the_target_is_over()
    {
        Start();
        _target.End();
        _terminal.Type('a');
        await Shows("typed 'a'");
    }

    [Theory]
    [InlineData('U', "updating by key U: InvalidOperationException: no such update (in ")]
    [InlineData('V', "painting after key V: InvalidOperationException: no such picture (in ")]
    public async Task A_bug_gives_the_terminal_back_and_is_told_with_its_place(char key, string expected)
    {
        Start();
        _terminal.Type(key);
        TuiFailure failure = await Assert.ThrowsAsync<TuiFailure>(() => _running!);
        Assert.StartsWith(expected, failure.Message, StringComparison.Ordinal);
        Assert.Contains(nameof(TuiAppTests), failure.Message, StringComparison.Ordinal);
        Assert.True(_terminal.IsDisposed);
    }

    [Fact]
    public async Task After_a_suspension_everything_is_painted_again()
    {
        Start();
        await Shows("typed ''");
        _terminal.Type('Z');
        await Until(() => _screen.Clears >= 2);
        Assert.Equal(1, _terminal.Suspensions);
        _terminal.Type('L');
        await Until(() => _screen.Clears >= 3);
    }

    [Fact]
    public async Task What_the_terminal_says_later_reaches_state_and_screen()
    {
        Start();
        _terminal.Send(new InputEvent.LooksLearned(TerminalLooks.Plain with { IsLight = true, HasSynchronisedOutput = true }));
        await Shows("light");
    }

    [Fact]
    public async Task A_storm_of_sizes_ends_with_the_last_one()
    {
        Start();
        var random = new Random(9);
        for (int i = 0; i < 2000; i++)
        {
            var size = i == 1999 ? new TerminalSize(33, 7) : new TerminalSize(random.Next(1, 200), random.Next(1, 60));
            lock (_seen)
            {
                _screen.Resize(size);
            }

            _terminal.Send(new InputEvent.Resized(size));
            if (random.Next(50) == 0)
            {
                await Task.Delay(1);
            }
        }

        // Frames for a size that is over may have been cut off by the emulator's new one: only the last picture counts.
        _terminal.Type('L');
        await Until(() => _screen.Rows is var rows && rows.Length == 7 && rows[0].StartsWith("size 33x7", StringComparison.Ordinal) && rows[6] == "row 6");
        Assert.True(_frames < 2000);
    }

    private void Start(int moves = 0)
    {
        var program = new UiProgram(
            (state, happened) =>
            {
                switch (happened)
                {
                    case UiEvent.Tick:
                        _ticks++;
                        return (state, []);
                    case UiEvent.Lasted { Change: var change }:
                        _lasted += change;
                        return (state with { Session = new SessionState(), Ticks = change }, []);
                    case UiEvent.News:
                        Interlocked.Increment(ref _news);
                        return (state with { Ticks = state.Ticks + 1 }, []);
                    case UiEvent.Input { What: InputEvent.Resized resized }:
                        return (state with { Size = resized.Size }, []);
                    case UiEvent.Input { What: InputEvent.Key key }:
                        return key.Character.ToString() switch
                        {
                            "Q" => (state, [new UiEffect.Quit()]),
                            "R" => (state, [new UiEffect.Remember()]),
                            "C" => (state, [new UiEffect.Ask(new TargetRequest.Continue())]),
                            "Z" => (state, [new UiEffect.Suspend()]),
                            "L" => (state, [new UiEffect.Repaint()]),
                            "H" => (state with { Session = new SessionState { IsBrief = true, Changes = 7 } }, []),
                            "U" => throw new InvalidOperationException("no such update"),
                            var typed => (state with { Remembered = state.Remembered with { History = [string.Concat(state.Remembered.History) + typed] } }, []),
                        };
                    default:
                        return (state, []);
                }
            },
            state => (new Picture(state), null),
            _ => _ticks < moves);
        UiState begin = UiState.Begin(Size, TerminalLooks.Plain, _target.Abilities, Remembered.Nothing with { History = [""] });
        _running = new TuiApp(_terminal, _target, program, what => _remember(what)).RunAsync(begin, _cancellation.Token);
    }

    private Task Shows(string text) => Until(() => _screen.Rows.Any(row => row.Contains(text, StringComparison.Ordinal)));

    /// <summary>Waits; a test that waits for what never comes is ended by its own failure after a time that no machine needs.</summary>
    private async Task Until(Func<bool> condition)
    {
        for (int waited = 0; waited < 20_000; waited += 5)
        {
            lock (_seen)
            {
                if (condition())
                {
                    return;
                }
            }

            await Task.Delay(5);
        }

        lock (_seen)
        {
            Assert.Fail("the screen shows\n" + string.Join('\n', _screen.Rows));
        }
    }

    private sealed class Picture(UiState state) : View
    {
        public override IEnumerable<TextLine> Lines(int? width)
        {
            if (state.Remembered.History[0].Contains('V', StringComparison.Ordinal))
            {
                throw new InvalidOperationException("no such picture");
            }

            yield return new TextLine().Add($"size {state.Size.Columns}x{state.Size.Rows}");
            yield return new TextLine().Add($"typed '{state.Remembered.History[0]}'");
            yield return new TextLine().Add($"news {state.Ticks}");
            yield return new TextLine().Add(state.Looks.IsLight ? "light" : "dark");
            for (int row = 4; row < state.Size.Rows; row++)
            {
                yield return new TextLine().Add($"row {row}");
            }
        }
    }
}
