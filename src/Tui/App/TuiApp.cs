// The loop: input and news → update → effects, and a paint. It has a thread of its own, which sleeps while nothing happens.
//
// What a person does goes first. Input is taken before news, news in small portions between which input is looked for again; a key is painted at once, news
// at most every PaintPause, and never so often that painting takes more than a third of the time (a slow terminal, a remote one). A guest that writes 10 MB/s
// therefore costs a key at most one portion and one paint.
using System.Collections.Concurrent;
using System.Collections.Immutable;
using System.Diagnostics;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;

namespace KTrace.Tui.App;

/// <summary>Why a loop ended.</summary>
public enum TuiEnd
{
    /// <summary>The person left.</summary>
    Quit,

    /// <summary>The terminal is gone, or a signal or the caller asked to end.</summary>
    Closed,
}

/// <summary>Runs a <see cref="UiProgram"/> between a terminal and a target. Knows neither keys nor panes. Owns neither terminal nor target.</summary>
/// <param name="remember">Keeps what is to be kept, now and then and at the end; called in the background, one call at a time. An <see cref="IOException"/> of it becomes a note.</param>
public sealed class TuiApp(ITerminal terminal, IUiTarget target, UiProgram program, Action<Remembered> remember)
{
    // Events of one kind that are taken without looking for others.
    private const int InputPortion = 256, NewsPortion = 64;

    private static readonly TimeSpan LongestRemembering = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan PaintPause = TimeSpan.FromMilliseconds(8), NewsTime = TimeSpan.FromMilliseconds(4), TickPause = TimeSpan.FromMilliseconds(250), Brief = TimeSpan.FromMilliseconds(100);

    private readonly AutoResetEvent _bell = new(false);
    private readonly Screen _screen = new(terminal.Looks);
    private UiState _state = null!;
    private UiState? _painted;
    private bool _isForced;
    private bool _isOver;
    private long _lastPaint;
    private TimeSpan _paintPause = PaintPause;
    private readonly ConcurrentQueue<TargetNews> _notes = new();
    private Task _remembering = Task.CompletedTask;
    private long? _tickAt;
    private (long Change, long Due)? _heldBack;
    private UiEvent? _last;
    private bool _isPainting;

    /// <summary>Shows a state and lives with it until the end.</summary>
    /// <param name="cancellation">Asks to end, as <see cref="InputEvent.Closed"/> does.</param>
    /// <exception cref="TuiFailure">An update or a view threw; the terminal was given back first.</exception>
    public Task<TuiEnd> RunAsync(UiState begin, CancellationToken cancellation)
    {
        var end = new TaskCompletionSource<TuiEnd>(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() => Live(begin, end, cancellation)) { IsBackground = true, Name = "screen" }.Start();
        return end.Task;
    }

    private void Live(UiState begin, TaskCompletionSource<TuiEnd> end, CancellationToken cancellation)
    {
        try
        {
            _state = begin;
            using CancellationTokenRegistration registration = cancellation.Register(() => _bell.Set());
            TuiEnd why = Loop(cancellation);
            _remembering.Wait(LongestRemembering, CancellationToken.None);
            end.SetResult(why);
        }
        catch (Exception e)
        {
            // The loop's end is the screen's end: nobody must find a terminal in raw mode behind it.
            terminal.Dispose();
            end.SetException(new TuiFailure((_isPainting ? "painting after " : "updating by ") + Name(_last), e));
        }
    }

    private TuiEnd Loop(CancellationToken cancellation)
    {
        var input = new EventSource<InputEvent>(terminal.Input, _bell);
        var news = new EventSource<TargetNews>(target.News, _bell);
        Paint();
        while (true)
        {
            bool isPaintDue = TakeInput(input);
            if (_isOver)
            {
                return TuiEnd.Quit;
            }

            if (isPaintDue)
            {
                Paint();
            }

            if (cancellation.IsCancellationRequested || input.IsOver)
            {
                Apply(new UiEvent.Input(new InputEvent.Closed()));
                return TuiEnd.Closed;
            }

            TakeNews(news, input);
            TakeTick();
            TakeLasted();
            if (!input.HasMore && !_isOver)
            {
                PaintOrWait(input, news);
            }
        }
    }

    /// <returns>Something is to be painted at once.</returns>
    private bool TakeInput(EventSource<InputEvent> input)
    {
        UiState before = _state;
        for (int taken = 0; taken < InputPortion && !_isOver && input.TryTake(out InputEvent happened); taken++)
        {
            switch (happened)
            {
                case InputEvent.Closed:
                    // Said once, when all that was typed before it is done: the channel ends behind it.
                    continue;
                case InputEvent.LooksLearned learned:
                    _screen.HasSynchronisedOutput = learned.Looks.HasSynchronisedOutput;
                    _state = _state with { Looks = learned.Looks };
                    continue;
                case InputEvent.Resumed:
                    _screen.Forget();
                    _isForced = true;
                    break;
            }

            Apply(new UiEvent.Input(happened));
        }

        return _isForced || !ReferenceEquals(before, _state);
    }

    private void TakeNews(EventSource<TargetNews> news, EventSource<InputEvent> input)
    {
        while (_notes.TryDequeue(out TargetNews? note))
        {
            Apply(new UiEvent.News(note));
        }

        long begun = Stopwatch.GetTimestamp();
        for (int taken = 0; taken < NewsPortion && !_isOver && !input.HasMore && Stopwatch.GetElapsedTime(begun) < NewsTime && news.TryTake(out TargetNews what); taken++)
        {
            Apply(new UiEvent.News(what));
        }
    }

    /// <summary>Only while something moves: an idle screen wakes nobody.</summary>
    private void TakeTick()
    {
        if (_tickAt is { } due && Stopwatch.GetTimestamp() >= due)
        {
            _tickAt = null;
            Apply(new UiEvent.Tick());
        }

        _tickAt = program.Moves(_state) ? _tickAt ?? Stopwatch.GetTimestamp() + (long)(TickPause.TotalSeconds * Stopwatch.Frequency) : null;
    }

    /// <summary>A run or stop is shown as it is once it has lasted; each is timed anew, also where others came and went within one batch of news.</summary>
    private void TakeLasted()
    {
        if (program.HeldBack(_state) is not { } change)
        {
            _heldBack = null;
        }
        else if (_heldBack is not { } held || held.Change != change)
        {
            _heldBack = (change, Stopwatch.GetTimestamp() + (long)(Brief.TotalSeconds * Stopwatch.Frequency));
        }
        else if (Stopwatch.GetTimestamp() >= held.Due)
        {
            _heldBack = null;
            Apply(new UiEvent.Lasted(change));
        }
    }

    private void PaintOrWait(EventSource<InputEvent> input, EventSource<TargetNews> news)
    {
        long now = Stopwatch.GetTimestamp();
        TimeSpan? until = (_tickAt, _heldBack?.Due) switch
        {
            ({ } first, { } second) => Stopwatch.GetElapsedTime(now, Math.Min(first, second)),
            var (tick, held) => (tick ?? held) is { } one ? Stopwatch.GetElapsedTime(now, one) : null,
        };
        if (_isForced || !ReferenceEquals(_painted, _state))
        {
            TimeSpan left = _paintPause - Stopwatch.GetElapsedTime(_lastPaint);
            if (left <= TimeSpan.Zero)
            {
                Paint();
                return;
            }

            until = until < left ? until : left;
        }

        if (!news.HasMore)
        {
            input.RingForNext();
            news.RingForNext();

            // Rounded up: a wait of less than a millisecond would be none, again and again.
            _bell.WaitOne(until is { } time ? Math.Max(0, (int)Math.Ceiling(time.TotalMilliseconds)) : Timeout.Infinite);
        }
    }

    private void Apply(UiEvent happened)
    {
        _last = happened;
        (UiState after, ImmutableArray<UiEffect> effects) = program.Update(_state, happened);
        _state = after;
        foreach (UiEffect effect in effects)
        {
            Run(effect);
        }
    }

    private void Run(UiEffect effect)
    {
        switch (effect)
        {
            case UiEffect.Ask ask:
                target.Post(ask.Request);
                break;
            case UiEffect.Remember:
                Remember(_state.Remembered);
                break;
            case UiEffect.Suspend:
                terminal.Suspend();
                _screen.Forget();
                _isForced = true;
                break;
            case UiEffect.Repaint:
                _screen.Forget();
                _isForced = true;
                break;
            case UiEffect.Quit:
                _isOver = true;
                break;
            default:
                throw new NotSupportedException(effect.GetType().Name);
        }
    }

    private void Paint()
    {
        (_painted, _isForced) = (_state, false);
        _isPainting = true;
        long begun = Stopwatch.GetTimestamp();
        (var picture, var cursor) = program.View(_state);
        ReadOnlySpan<byte> frame = _screen.Paint(picture, _state.Size, cursor);
        _isPainting = false;
        if (!frame.IsEmpty)
        {
            terminal.Write(frame);
        }

        _lastPaint = Stopwatch.GetTimestamp();
        TimeSpan took = Stopwatch.GetElapsedTime(begun, _lastPaint);
        _paintPause = took * 2 > PaintPause ? took * 2 : PaintPause;
    }

    /// <summary>In the background and in order: a slow disk does not hold a key back.</summary>
    private void Remember(Remembered what) => _remembering = _remembering.ContinueWith(
        _ =>
        {
            try
            {
                remember(what);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                _notes.Enqueue(new TargetNews.Note("breakpoints, layout and history cannot be kept: " + e.Message, IsWarning: true));
                _bell.Set();
            }
        },
        TaskScheduler.Default);

    private static string Name(UiEvent? happened) => happened switch
    {
        null => "the start",
        UiEvent.Input { What: InputEvent.Key key } => key.Name == KeyName.Character ? $"key {key.Character}" : $"key {key.Name}",
        UiEvent.Input input => input.What.GetType().Name,
        UiEvent.News news => news.What.GetType().Name,
        _ => "a tick",
    };
}
