using KTrace.Debugger;
using KTrace.Tracing;

namespace KTrace.Tui.Targets;

/// <summary>What can be asked of hits that were recorded, whether the session still adds some or a file has them all.</summary>
/// <param name="name">Of the trace, for people.</param>
/// <param name="open">Opens it anew.</param>
internal sealed class RecordedHits(string name, Func<TraceReader> open, NewsQueue news)
{
    /// <summary>Hits that are in memory; null: not this one.</summary>
    public Func<long, FoundHit?> Known { get; init; } = static _ => null;

    /// <summary>Opens the trace anew at a place shortly before a hit, with the tracepoints that were named before; null: it begins at its beginning.</summary>
    public Func<long, (TraceReader Reader, TracepointTable Tracepoints)?> OpenBefore { get; init; } = static _ => null;

    /// <summary>Written behind a saved trace that has no end of its own.</summary>
    public Func<TraceRecord.End?> End { get; init; } = static () => null;

    /// <summary>The file, where it is to be saved byte by byte; null: it is written anew.</summary>
    public string? Whole { get; init; }

    /// <summary>Whether a request is about recorded hits alone: it can be done while a machine runs, and when there is none any more.</summary>
    public static bool IsMine(TargetRequest request) =>
        request is TargetRequest.ShowHit or TargetRequest.CompareHits or TargetRequest.CompareWith or TargetRequest.Save or TargetRequest.Export;

    /// <exception cref="TraceQueryException">No such hit.</exception>
    /// <exception cref="TargetException">The file exists and must not be replaced, or the like.</exception>
    /// <exception cref="IOException">A file cannot be read or written.</exception>
    public void Do(TargetRequest request, CancellationToken cancellationToken)
    {
        switch (request)
        {
            case TargetRequest.ShowHit { Sequence: var sequence }:
                var (hit, returned, tracepoints) = Find(sequence, cancellationToken);
                news.Send(new TargetNews.HitShown(hit, returned, tracepoints));
                break;
            case TargetRequest.CompareHits { First: var first, Second: var second }:
                var pair = Find([first, second], cancellationToken);
                news.Send(new TargetNews.HitsCompared(pair[0].Hit, pair[1].Hit));
                break;
            case TargetRequest.CompareWith { File: var other }:
                news.Send(new TargetNews.Progress($"comparing with {Path.GetFileName(other)}"));
                using (var mine = open())
                {
                    var theirs = Trace.Load(other);
                    cancellationToken.ThrowIfCancellationRequested();
                    var ours = Trace.Load(mine);
                    news.Send(new TargetNews.TracesCompared(name, other, TraceDiff.Compare(ours, theirs), ours.Tracepoints, theirs.Tracepoints));
                }

                break;
            case TargetRequest.Save { File: var file }:
                HitFiles.Save(file, Whole, open, End(), cancellationToken);
                news.Send(new TargetNews.Note($"saved as {file}: ktrace tui {file} opens it again"));
                break;
            case TargetRequest.Export { File: var file, Hit: var only }:
                var count = HitFiles.Export(file, only, open, cancellationToken);
                news.Send(count > 0 ? new TargetNews.Note($"{count} hit{(count == 1 ? "" : "s")} written to {file}")
                    : throw new TargetException(only is null ? "there are no hits yet" : $"there is no hit {only}", "break or trace somewhere first"));
                break;
        }
    }

    /// <exception cref="TraceQueryException">No such hit.</exception>
    public FoundHit Find(long sequence, CancellationToken cancellationToken) => Find([sequence], cancellationToken)[0];

    private IReadOnlyList<FoundHit> Find(IReadOnlyList<long> wanted, CancellationToken cancellationToken) => [.. wanted.Select(sequence => Known(sequence) ?? Read(sequence, cancellationToken))];

    private FoundHit Read(long sequence, CancellationToken cancellationToken)
    {
        if (OpenBefore(sequence) is var (near, tracepoints))
        {
            using (near)
            {
                return HitFinder.Find(near, [sequence], tracepoints, cancellationToken)[0];
            }
        }

        using var reader = open();
        return HitFinder.Find(reader, [sequence], null, cancellationToken)[0];
    }
}
