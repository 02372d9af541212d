// The hits of a live session are records of a trace from the beginning: they are shown, compared and saved by the same code as recorded ones. The file has no name any more as soon as it is
// open, so that a session that is killed leaves nothing behind; it is read again through /proc/self/fd.
using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using KTrace.Debugger.Breakpoints;
using KTrace.Tracing;

namespace KTrace.Tui.Targets;

/// <summary>The hits of a session, on disk, with a line for each on the screen. May be added to from any thread.</summary>
internal sealed class SessionTimeline : IDisposable
{
    /// <summary>About a kilobyte each.</summary>
    private const int MaximumHits = 100_000;

    // Bytes of the guest's console: a flood must not fill the disk.
    private const int MaximumConsole = 16 << 20;

    private static readonly TimeSpan s_together = TimeSpan.FromMilliseconds(50);

    private readonly Lock _lock = new();
    private readonly NewsQueue _news;
    private readonly TraceWriter _writer;
    private readonly FileStream _kept;
    private readonly HitSummarizer _summarizer;
    private readonly TracepointTable _tracepoints = new();
    private readonly ImmutableArray<HitSummary>.Builder _batch = ImmutableArray.CreateBuilder<HitSummary>();
    private readonly DateTime _since = DateTime.UtcNow;
    private long _last;
    private long _console;
    private bool _isFull;
    private bool _isSending;

    /// <exception cref="IOException">There is no room for a file.</exception>
    public SessionTimeline(TraceRecord.Header header, NewsQueue news)
    {
        _news = news;
        _summarizer = new HitSummarizer(header);
        var folder = Directory.CreateTempSubdirectory("ktrace-tui-");
        try
        {
            var path = Path.Combine(folder.FullName, "session.ktrace");
            _writer = new TraceWriter(path);
            _kept = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 0);
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        _writer.Write(header with { Format = TraceFormat.First, HasContexts = true, Tracepoints = [] });
    }

    /// <summary>As the end of a saved trace says.</summary>
    public TraceRecord.End End => new(_last, "the session was saved", (DateTime.UtcNow - _since).TotalSeconds);

    /// <summary>Opens what there is so far.</summary>
    public TraceReader Open() => TraceReader.Open(
        new FileStream($"/proc/self/fd/{_kept.SafeFileHandle.DangerousGetHandle()}", FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 0), "this session");

    /// <summary>Adds a hit.</summary>
    /// <param name="at">The breakpoint or tracepoint that it is of.</param>
    /// <returns>Its number; null when there are too many already.</returns>
    public long? Add(Breakpoint at, TraceRecord.Hit hit)
    {
        lock (_lock)
        {
            if (_isFull || _last >= MaximumHits)
            {
                Full($"{MaximumHits} hits are kept, and no more of this session");
                return null;
            }

            try
            {
                if (_tracepoints.Find(at.Number) is not { } known || known.Address != AddressOf(at))
                {
                    var named = new TraceRecord.TracepointResolved(new TraceTracepoint(at.Number, at.Text, at.Place?.Symbol, Note: at.Place?.Note, Address: AddressOf(at)));
                    _tracepoints.Observe(named);
                    _writer.Write(named);
                }

                hit = hit with { Sequence = ++_last, Tracepoint = at.Number };
                _writer.Write(hit);
            }
            catch (Exception e) when (e is TraceWriteException or ArgumentException)
            {
                _last--;
                Full($"further hits are not kept: {e.Message}");
                return null;
            }

            _batch.Add(_summarizer.Of(hit, _tracepoints));
            if (!_isSending)
            {
                _isSending = true;
                _ = SendSoonAsync();
            }

            return _last;
        }
    }

    /// <summary>Keeps what the guest wrote to its console, between the hits where it came; what is too much is left out, and said.</summary>
    public void AddConsole(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        lock (_lock)
        {
            if (_console > MaximumConsole)
            {
                return;
            }

            _console += bytes.Length;
            try
            {
                _writer.WriteConsole(bytes);
            }
            catch (TraceWriteException e)
            {
                Full($"nothing further is kept: {e.Message}");
                _console = long.MaxValue;
                return;
            }
        }

        if (_console > MaximumConsole)
        {
            _news.Send(new TargetNews.Note($"{MaximumConsole >> 20} MB of the guest's console are kept for the session's trace, and no more of it"));
        }
    }

    /// <summary>Sends what waits, so that a stop finds its hit listed.</summary>
    public void Flush()
    {
        lock (_lock)
        {
            if (_batch.Count > 0)
            {
                _news.Send(new TargetNews.HitsAdded(_batch.ToImmutable()));
                _batch.Clear();
            }
        }
    }

    public void Dispose()
    {
        _writer.Dispose();
        _kept.Dispose();
    }

    private static ulong? AddressOf(Breakpoint at) => at.Address ?? at.Place?.Address;

    private void Full(string why)
    {
        if (!_isFull)
        {
            _isFull = true;
            _news.Send(new TargetNews.Note(string.Create(CultureInfo.InvariantCulture, $"{why}"), IsWarning: true));
        }
    }

    private async Task SendSoonAsync()
    {
        await Task.Delay(s_together);
        await _news.WaitForRoomAsync(CancellationToken.None);
        lock (_lock)
        {
            _isSending = false;
            Flush();
        }
    }
}
