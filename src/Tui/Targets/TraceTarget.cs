using System.Collections.Immutable;
using System.Threading.Channels;
using KTrace.Debugger;
using KTrace.Tracing;
using KTrace.Tui.Commands;

namespace KTrace.Tui.Targets;

/// <summary>A recorded trace behind the screen. No QEMU and no kernel is needed; what would need a machine says so, and what would help.</summary>
public sealed class TraceTarget : IUiTarget
{
    // Keys that come while a file of gigabytes is searched: more of them mean that somebody leans on the keyboard.
    private const int MaximumWaiting = 1024;

    private readonly string _path;
    private readonly NewsQueue _news = new();
    private readonly Channel<TargetRequest> _requests = Channel.CreateBounded<TargetRequest>(new BoundedChannelOptions(MaximumWaiting) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly CancellationTokenSource _over = new();
    private readonly CancellationTokenSource _loading;
    private readonly TraceLoader _loader;
    private readonly RecordedHits _hits;
    private readonly TraceCommands _commands;
    private readonly Lock _lock = new();
    private readonly Task _work;
    private readonly Task _load;
    private CancellationTokenSource? _underWay;
    private SourceTree _sources;
    private TraceRecord.Hit? _shown;
    private int _frame;

    private TraceTarget(string path, TraceRecord.Header header, string? sources, long? first)
    {
        _path = path;
        _sources = new SourceTree(sources);
        _loading = CancellationTokenSource.CreateLinkedTokenSource(_over.Token);
        Abilities = new TargetAbilities(Path.GetFileName(path), "trace:" + Path.GetFullPath(path), IsLive: false) { Header = header, FirstHit = first };
        _loader = new TraceLoader(path, header, _news);
        _hits = new RecordedHits(path, () => TraceReader.Open(path), _news) 
        {
            Known = _loader.Known, Whole = path,
            OpenBefore = sequence => _loader.Index.Before(sequence) is { } place ? (TraceReader.Open(path, place), _loader.Tracepoints) : null,
        };
        _commands = new TraceCommands(path, header, _news);
        _load = Task.Factory.StartNew(Load, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        _work = Task.Run(WorkAsync);
    }

    public TargetAbilities Abilities { get; }

    public ChannelReader<TargetNews> News => _news.Reader;

    /// <summary>Opens a trace. Only its header is read here; the rest comes as news.</summary>
    /// <param name="sources">A kernel source tree, or null.</param>
    /// <param name="hit">Shown first; null: the trace's first.</param>
    /// <exception cref="Symbols.MalformedFileException">No trace, or one of a newer format.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static TraceTarget Open(string path, string? sources = null, long? hit = null)
    {
        using var reader = TraceReader.Open(path);
        return new TraceTarget(path, reader.Header, sources, hit);
    }

    public void Post(TargetRequest request)
    {
        if (request is TargetRequest.Interrupt)
        {
            lock (_lock)
            {
                (_underWay ?? _loading).Cancel();
            }

            return;
        }

        _requests.Writer.TryWrite(request);
    }

    public async ValueTask DisposeAsync()
    {
        await _over.CancelAsync();
        _requests.Writer.TryComplete();
        await _work;
        await _load;
        _news.Complete();
        _loading.Dispose();
        _over.Dispose();
    }

    private void Load()
    {
        try
        {
            _loader.Run(_loading.Token);
            if (Abilities.FirstHit is { } wanted && wanted > _loader.Last)
            {
                _news.Send(new TargetNews.Failed($"there is no hit #{wanted} in this trace", $"its last is #{_loader.Last}"));
            }
            else if (Abilities.FirstHit is { } hidden && hidden > _loader.LastListed)
            {
                // The screen asks for what it lists.
                Post(new TargetRequest.ShowHit(hidden));
            }
        }
        catch (Exception e) when (Failures.Of(e) is { } failed)
        {
            // A file that is damaged in its middle keeps what was read before.
            _news.Send(failed);
        }
    }

    private async Task WorkAsync()
    {
        await foreach (var request in _requests.Reader.ReadAllAsync())
        {
            using var giveUp = CancellationTokenSource.CreateLinkedTokenSource(_over.Token);
            lock (_lock)
            {
                _underWay = giveUp;
            }

            try
            {
                Do(request, giveUp.Token);
            }
            catch (OperationCanceledException)
            {
                _news.Send(new TargetNews.Note("given up"));
            }
            catch (Exception e) when (Failures.Of(e) is { } failed)
            {
                _news.Send(failed);
            }
            finally
            {
                lock (_lock)
                {
                    _underWay = null;
                }
            }

            if (request is TargetRequest.CompareWith or TargetRequest.Save or TargetRequest.Export)
            {
                _news.Send(new TargetNews.Idle());
            }
        }
    }

    private void Do(TargetRequest request, CancellationToken cancellationToken)
    {
        switch (request)
        {
            case TargetRequest.ShowHit { Sequence: var sequence }:
                Show(_hits.Find(sequence, cancellationToken));
                break;
            case var recorded when RecordedHits.IsMine(recorded):
                _hits.Do(recorded, cancellationToken);
                break;
            case TargetRequest.SelectFrame { Frame: var frame }:
                SelectFrame(frame);
                break;
            case TargetRequest.UseSource { Folder: var folder }:
                _sources = Directory.Exists(folder) ? new SourceTree(folder) : throw new TargetException($"{folder}: there is no such folder", "give the top of a kernel source tree");
                if (_shown is not null)
                {
                    SelectFrame(_frame);
                }

                break;
            case TargetRequest.Watch { Expressions: var expressions }:
                _news.Send(new TargetNews.Watched([.. expressions.Select(Watched)]));
                break;
            case TargetRequest.Expand { Expression: var expression }:
                _news.Send(new TargetNews.Expanded(expression, [], "a trace has the values that were recorded, and no memory to look further"));
                break;
            case TargetRequest.ReadInterrupts:
                _news.Send(new TargetNews.Interrupts(Interrupts()));
                break;
            case TargetRequest.Complete { Text: var text, Cursor: var cursor }:
                _news.Send(_commands.Complete(text, cursor));
                break;
            case TargetRequest.Command { Text: var line }:
                if (_commands.Run(line, _shown, _frame, _loader.Tracepoints, Interrupts) is { } other)
                {
                    SelectFrame(other);
                }

                break;
            default:
                throw NoMachine(_path);
        }
    }

    /// <summary>Why stepping and its like cannot be done, and what can.</summary>
    internal static TargetException NoMachine(string path) =>
        new("this is a recorded trace: there is no machine in it that could run or be read", $"ktrace replay {path} boots its scenario again; ktrace tui SCENARIO debugs it live");

    private void Show(FoundHit found)
    {
        _shown = found.Hit;
        _frame = 0;
        _news.Send(new TargetNews.HitShown(found.Hit, found.Returned, found.Tracepoints));
    }

    private void SelectFrame(int frame)
    {
        var hit = _shown ?? throw new TargetException("no hit is shown yet", "choose one in the list of hits");
        _frame = (uint)frame < (uint)hit.Path.Frames.Length ? frame
            : throw new TargetException($"there is no frame {frame}: the call path has {hit.Path.Frames.Length}", null);
        _news.Send(new TargetNews.FrameContents(HitFrames.Of(hit, frame, _sources)));
    }

    private TraceRecord.Interrupts Interrupts() => _loader.InterruptsOf(_shown?.Sequence)
        ?? throw new TargetException("no interrupts were recorded in this trace", "ktrace record … -b 'PLACE irqs', or --irqs, records them");

    private ValueRow Watched(string expression) =>
        _shown?.Prints.FirstOrDefault(p => p.Expression == expression) is { } print ? HitFrames.Row(print)
        : _shown?.ArgumentsOf(_frame).FirstOrDefault(a => a.Name == expression) is { } argument ? HitFrames.Row(argument, isArgument: true)
        : new ValueRow(expression, expression, null, null, null, CanExpand: false, "not recorded: -b 'PLACE print EXPR' records it");
}
