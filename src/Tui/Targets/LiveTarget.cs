// One task talks to the machine. What is asked for comes to it by a queue; while it waits for a running guest it still takes what needs no standing machine, and stops the guest for a moment
// for breakpoints. Interrupt alone goes past the queue, as DebugSession.InterruptAsync does.
using System.Collections.Immutable;
using System.Globalization;
using System.Threading.Channels;
using KTrace.Debugger;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Sessions;
using KTrace.Rsp;
using KTrace.Tracing;
using KTrace.Tui.Commands;

namespace KTrace.Tui.Targets;

/// <summary>A live machine behind the screen.</summary>
public sealed class LiveTarget : IUiTarget, ILiveNews
{
    // Keys that come while a guest boots are done when it is up; more than these are somebody leaning on the keyboard.
    private const int MaximumWaiting = 256;

    private static readonly TimeSpan s_goodbye = TimeSpan.FromSeconds(3);

    private readonly ILiveGuest _guest;
    private readonly LiveTargetOptions _options;
    private readonly NewsQueue _news = new();
    private readonly Channel<(long Number, TargetRequest Request)> _requests =
        Channel.CreateBounded<(long, TargetRequest)>(new BoundedChannelOptions(MaximumWaiting) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    private readonly CancellationTokenSource _over = new();
    private readonly CancellationTokenSource _starting;
    private readonly CapturedOutput _output = new();
    private readonly ConsoleFeed _feed;
    private readonly Lock _lock = new();
    private readonly Task _work;
    private Task _console = Task.CompletedTask;
    private CancellationTokenSource? _underWay;
    private SessionTimeline? _timeline;
    private RecordedHits? _hits;
    private LiveSession? _live;
    private string? _ended;
    private long _posted;
    private long _interrupted;
    private volatile bool _isRunning;

    public LiveTarget(ILiveGuest guest, LiveTargetOptions options)
    {
        (_guest, _options, Abilities) = (guest, options, guest.Abilities);
        _starting = CancellationTokenSource.CreateLinkedTokenSource(_over.Token);
        _feed = new ConsoleFeed(_news);
        _work = Task.Run(WorkAsync);
    }

    public TargetAbilities Abilities { get; private set; }

    public ChannelReader<TargetNews> News => _news.Reader;

    public void Post(TargetRequest request)
    {
        var number = Interlocked.Increment(ref _posted);
        switch (request)
        {
            case TargetRequest.Interrupt:
                Interlocked.Exchange(ref _interrupted, number);
                _ = Task.Run(InterruptAsync);
                break;
            case TargetRequest.TypeToConsole { Text: var text }:
                _ = TypeAsync(text);
                break;
            default:
                if (!_requests.Writer.TryWrite((number, request)))
                {
                    _news.Send(new TargetNews.Failed("too much is waiting to be done", "Ctrl-C gives up what is under way"));
                }

                break;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _over.CancelAsync();
        _requests.Writer.TryComplete();
        await InterruptAsync();

        // A stub that does not answer any more is not waited for: without its guest, whoever waits is told.
        await Task.WhenAny(_work, Task.Delay(s_goodbye));
        await _guest.DisposeAsync();
        await _work;
        await _console;
        _news.Complete();
        _timeline?.Dispose();
        _starting.Dispose();
        _over.Dispose();
    }

    void ILiveNews.Working(string text, double? fraction) => _news.Send(new TargetNews.Progress(text, fraction));

    void ILiveNews.Connected(IGuestLine? line, Task gone)
    {
        _output.Line = line;
        if (line is not null)
        {
            Able(Abilities with { CanTypeToConsole = true });
            _console = Task.Run(() => _feed.RunAsync(line, _over.Token));
        }

        _ = gone.ContinueWith(_ => MachineGoneAsync(), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
    }

    void ISessionProgress.Identified(ulong slide) => _news.Send(new TargetNews.Identified(_live?.Session.Image.Release ?? "", slide));

    void ISessionProgress.Module(ModuleEvent happened)
    {
        switch (happened)
        {
            case ModuleEvent.Loading { Loaded.Module: var module }:
                _news.Send(new TargetNews.Note(string.Create(CultureInfo.InvariantCulture, $"module {module.Name} is being loaded at 0x{module.TextBase:x}")));
                break;
            case ModuleEvent.Unloaded { Module.Name: var name }:
                _news.Send(new TargetNews.Note($"module {name} was unloaded"));
                break;
            case ModuleEvent.Unreadable:
                _news.Send(new TargetNews.Note("a module was loaded and could not be read; its frames have no names", IsWarning: true));
                break;
        }
    }

    void ISessionProgress.Hit(Breakpoint at, TraceRecord.Hit hit) => _timeline?.Add(at, hit);

    void ISessionProgress.Note(string text, bool isWarning) => _news.Send(new TargetNews.Note(text, isWarning));

    private async Task WorkAsync()
    {
        if (!await TryAsync(() => StartAsync(_starting.Token)))
        {
            End(_ended ?? (_starting.IsCancellationRequested ? "it was given up before the guest was up" : "the guest did not come up"));
        }

        try
        {
            while (await _requests.Reader.WaitToReadAsync(_over.Token))
            {
                while (_requests.Reader.TryRead(out var next))
                {
                    await HandleAsync(next.Number, next.Request);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // Disposed.
        }
    }

    private async ValueTask StartAsync(CancellationToken cancellationToken)
    {
        _news.Send(new TargetNews.Progress($"starting {Abilities.Title}"));
        if (_options.Note is { } note)
        {
            _news.Send(new TargetNews.Note(note, IsWarning: true));
        }

        DebugSession session;
        try
        {
            session = await _guest.StartAsync(this, cancellationToken);
        }
        catch (Exception e) when (_guest.Explain(e) is { } why)
        {
            End(why.Message);
            throw new TargetException(why.Message, why.Remedy);
        }

        var header = await _guest.HeaderAsync(cancellationToken);
        _timeline = new SessionTimeline(header, _news);
        _feed.KeepBy(_timeline.AddConsole);
        _hits = new RecordedHits("this session", _timeline.Open, _news) { End = () => _timeline.End };
        _live = new LiveSession(session, _output, new SourceTree(_options.Sources), _timeline, _news, IsOvertaken);
        Able(Abilities with { Header = header, CanReverse = session.Machine.Client.Features is { ReverseContinue: true, ReverseStep: true } });
        if (session.Map is { } map)
        {
            _news.Send(new TargetNews.Identified(session.Image.Release ?? "", map.Slide));
        }

        await _live.RestoreAsync(_options.Breakpoints, _options.Disabled, cancellationToken);
        await _live.ShowStopAsync(isNew: true, cancellationToken);
        _news.Send(new TargetNews.Idle());
    }

    private async ValueTask HandleAsync(long number, TargetRequest request)
    {
        if (RecordedHits.IsMine(request))
        {
            await TryAsync(ct => RecordedAsync(request, ct));
            return;
        }

        if (_ended is { } reason)
        {
            _news.Send(new TargetNews.Failed($"there is no machine any more: {reason}", "its hits can still be shown, compared and saved; quit and start again for another run"));
            return;
        }

        if (_live is not { } live)
        {
            return;
        }

        if (LiveRequests.Runs(live, request) is { } run)
        {
            await TryAsync(_ => RunAsync(live, number, request, run));
            return;
        }

        if (request is TargetRequest.Detach || (request is TargetRequest.Command { Text: var text } && text.Trim() == "detach"))
        {
            await TryAsync(async ct =>
            {
                await live.Session.DetachAsync(ct);
                End(Abilities.EndsGuest ? "detached: the guest runs on until ktrace ends" : "detached: the guest runs on");
            });
            return;
        }

        await TryAsync(async ct =>
        {
            var isLong = request is TargetRequest.ReadInterrupts or TargetRequest.Complete or TargetRequest.Command;
            using var slow = isLong ? new Timer(_ => _news.Send(new TargetNews.Progress(request is TargetRequest.ReadInterrupts ? "reading the interrupt table" : "working")), null, 300, Timeout.Infinite) : null;
            await live.DoAsync(request, ct);
            if (isLong)
            {
                slow!.Change(Timeout.Infinite, Timeout.Infinite);
                _news.Send(new TargetNews.Idle());
            }
        });
    }

    private ValueTask RecordedAsync(TargetRequest request, CancellationToken cancellationToken)
    {
        _timeline?.Flush();
        (_hits ?? throw new TargetException("there are no hits yet", "break or trace somewhere, and continue")).Do(request, cancellationToken);
        if (request is not (TargetRequest.ShowHit or TargetRequest.CompareHits))
        {
            _news.Send(new TargetNews.Idle());
        }

        return default;
    }

    /// <summary>Lets the machine run until there is a stop to show. Meanwhile requests that need no standing machine are done; breakpoints are set at a stop of a moment.</summary>
    private async ValueTask RunAsync(LiveSession live, long number, TargetRequest request, Func<ValueTask<SessionStop>> run)
    {
        var mayPause = request is TargetRequest.Continue || (request is TargetRequest.Command { Text: var text } && LiveRequests.Parsed(text) is DebuggerCommand.Continue { Count: <= 1 });
        _isRunning = true;
        try
        {
            if (Interlocked.Read(ref _interrupted) > number || _over.IsCancellationRequested)
            {
                return;
            }

            _news.Send(new TargetNews.Running());
            while (true)
            {
                var running = run().AsTask();
                var waiting = await ServeAsync(running, mayPause);
                if (waiting is not null)
                {
                    await live.Session.InterruptAsync();
                }

                var stop = await running;
                var isPause = waiting is not null && stop is SessionStop.Stopped { Cause: StopCause.Interrupted } && Interlocked.Read(ref _interrupted) < waiting.Value.Number;
                if (stop is SessionStop.Ended { Reason: var reason })
                {
                    End(reason);
                    return;
                }

                if (!isPause)
                {
                    _isRunning = false;
                    await live.ShowStopAsync(isNew: true, _over.Token);
                }

                if (waiting is { } asked)
                {
                    await TryAsync(ct => live.DoAsync(asked.Request, ct));
                }

                if (!isPause || _ended is not null)
                {
                    return;
                }

                run = () => live.Session.ContinueAsync();
            }
        }
        catch (Exception e) when (_isRunning && e is not RspException && Failures.Of(e) is not null && live.Session.LastStop is SessionStop.Stopped)
        {
            // It never ran (a place that is none, a frame that cannot be finished): the screen waits for a stop.
            _isRunning = false;
            await live.ShowStopAsync(isNew: false, _over.Token);
            throw;
        }
        finally
        {
            _isRunning = false;
            if (request is TargetRequest.Command { Text: var line })
            {
                _news.Send(new TargetNews.Output(line, _output.Take()));
            }
        }
    }

    /// <summary>Takes requests while the machine runs.</summary>
    /// <returns>One for which it has to stand for a moment; null: the machine has stopped.</returns>
    private async ValueTask<(long Number, TargetRequest Request)?> ServeAsync(Task running, bool mayPause)
    {
        Task<bool>? asked = null;
        while (true)
        {
            asked ??= _requests.Reader.WaitToReadAsync().AsTask();
            if (await Task.WhenAny(running, asked) == running || !await asked)
            {
                // A queue that is closed: disposing interrupts.
                return null;
            }

            asked = null;
            if (!_requests.Reader.TryRead(out var next))
            {
                continue;
            }

            if (RecordedHits.IsMine(next.Request))
            {
                await TryAsync(ct => RecordedAsync(next.Request, ct));
            }
            else if (mayPause && LiveRequests.IsBreakpoint(next.Request))
            {
                return next;
            }
            else
            {
                _news.Send(new TargetNews.Failed(
                    LiveRequests.Runs(_live!, next.Request) is not null ? "the guest runs already" : mayPause ? "the guest runs: this needs it stopped" : "a step is under way", "Ctrl-C stops it"));
            }
        }
    }

    private bool IsOvertaken() => _requests.Reader.TryPeek(out var next) && (next.Request is TargetRequest.Continue or TargetRequest.Step or TargetRequest.Finish or TargetRequest.RunTo or TargetRequest.Reverse);

    private async Task InterruptAsync()
    {
        CancellationTokenSource? giveUp;
        lock (_lock)
        {
            giveUp = _underWay;
        }

        if (_live is null)
        {
            await CancelAsync(_starting);
            return;
        }

        try
        {
            if (_isRunning)
            {
                // Between the decision to run and the run itself nothing is under way yet.
                while (_isRunning && !await _live.Session.InterruptAsync())
                {
                    await Task.Delay(5);
                }

                return;
            }
        }
        catch (RspException)
        {
            // Whoever waits for the stop is told.
            return;
        }

        if (giveUp is not null)
        {
            await CancelAsync(giveUp);
        }
    }

    private static async Task CancelAsync(CancellationTokenSource source)
    {
        try
        {
            await source.CancelAsync();
        }
        catch (ObjectDisposedException)
        {
            // It was done meanwhile.
        }
    }

    private async Task TypeAsync(string text)
    {
        try
        {
            await _output.SendToConsoleAsync(text, _over.Token);
        }
        catch (Exception e) when (Failures.Of(e) is { } failed)
        {
            _news.Send(failed);
        }
        catch (OperationCanceledException)
        {
            // Disposed.
        }
    }

    private ValueTask<bool> TryAsync(Func<ValueTask> action) => TryAsync(_ => action());

    /// <summary>Declared failures are told in place; a lost connection ends the session, and everything seen stays.</summary>
    private async ValueTask<bool> TryAsync(Func<CancellationToken, ValueTask> action)
    {
        using var giveUp = CancellationTokenSource.CreateLinkedTokenSource(_over.Token);
        CancellationTokenSource? outer;
        lock (_lock)
        {
            (outer, _underWay) = (_underWay, giveUp);
        }

        try
        {
            await action(giveUp.Token);
            return true;
        }
        catch (OperationCanceledException)
        {
            _news.Send(new TargetNews.Note("given up"));
        }
        catch (RspException e) when (e.Kind is RspErrorKind.Disconnected && !_over.IsCancellationRequested)
        {
            End(await _guest.EndedAsync(e));
        }
        catch (Exception e) when (Failures.Of(e) is { } failed)
        {
            _news.Send(new TargetNews.Idle());
            _news.Send(failed);
        }
        finally
        {
            lock (_lock)
            {
                _underWay = outer;
            }
        }

        return false;
    }

    /// <summary>QEMU has ended while nobody waited for its stub.</summary>
    private async Task MachineGoneAsync()
    {
        if (!_isRunning && _ended is null && !_over.IsCancellationRequested && _live is not null)
        {
            End(await _guest.EndedAsync(null));
        }
    }

    private void End(string reason)
    {
        lock (_lock)
        {
            if (_ended is not null)
            {
                return;
            }

            _ended = reason;
        }

        _timeline?.Flush();
        _news.Send(new TargetNews.Idle());
        _news.Send(new TargetNews.Ended(reason));
    }

    private void Able(TargetAbilities abilities)
    {
        Abilities = abilities;
        _news.Send(new TargetNews.Able(abilities));
    }
}
