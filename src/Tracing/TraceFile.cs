namespace KTrace.Tracing;

/// <summary>The file that a trace grows in: whole lines, written at once or together with those that follow. Its user holds <see cref="Turn"/> at every call.</summary>
internal sealed class TraceFile : IDisposable
{
    // A batch goes out when it is as large as this, and at the latest after so long.
    private const int LargestBatch = 256 << 10;
    private static readonly TimeSpan LongestWait = TimeSpan.FromMilliseconds(100);

    private readonly Stream _stream;
    private readonly Timer _timer;
    private long _safeLength;
    private long _pendingHits;
    private bool _isTimed;
    private bool _disposed;
    private TraceWriteException? _broken;

    public TraceFile(Stream stream, string path)
    {
        Path = path;
        _stream = stream;
        _timer = new Timer(_ => OnTime());
    }

    public string Path { get; }

    public Lock Turn { get; } = new();

    /// <summary>Lines that wait for <see cref="Flush"/>; add whole ones.</summary>
    public LineBuffer Pending { get; } = new();

    /// <summary>Hits written so far, those that wait included; after a failure those that are safe.</summary>
    public long Hits { get; private set; }

    /// <exception cref="TraceWriteException">An earlier write failed.</exception>
    public void Check()
    {
        if (_broken is not null)
        {
            throw _broken;
        }
    }

    /// <summary>Writes what waits, and these lines behind it, in one piece.</summary>
    /// <exception cref="TraceWriteException">The medium refused.</exception>
    public void Append(ReadOnlySpan<byte> lines, bool isHit)
    {
        if (Pending.Length > 0)
        {
            Pending.Add(lines);
            Added(isHit);
            Flush();
            return;
        }

        Hits += isHit ? 1 : 0;
        Write(lines, isHit ? 1 : 0);
    }

    /// <summary>Whole lines were added to <see cref="Pending"/>: they go out with others, soon.</summary>
    /// <exception cref="TraceWriteException">The medium refused.</exception>
    public void Added(bool isHit)
    {
        Hits += isHit ? 1 : 0;
        _pendingHits += isHit ? 1 : 0;
        if (Pending.Length >= LargestBatch)
        {
            Flush();
        }
        else if (!_isTimed)
        {
            _isTimed = true;
            _timer.Change(LongestWait, Timeout.InfiniteTimeSpan);
        }
    }

    /// <exception cref="TraceWriteException">The medium refused.</exception>
    public void Flush()
    {
        if (Pending.Length > 0)
        {
            var hits = _pendingHits;
            _pendingHits = 0;
            Write(Pending.Written, hits);
            Pending.Clear();
        }
    }

    public void Dispose()
    {
        lock (Turn)
        {
            _disposed = true;
            _timer.Dispose();
            _stream.Dispose();
        }
    }

    private void OnTime()
    {
        lock (Turn)
        {
            _isTimed = false;
            if (_disposed || _broken is not null)
            {
                return;
            }

            try
            {
                Flush();
            }
            catch (TraceWriteException)
            {
                // Whoever writes next hears of it.
            }
        }
    }

    private void Write(ReadOnlySpan<byte> lines, long hits)
    {
        try
        {
            _stream.Write(lines);
        }
        catch (IOException e)
        {
            var isTorn = !TryKeepWholeLines(lines, out var kept);
            Hits -= hits - kept;
            _broken = new TraceWriteException(Path, Hits, isTorn, e);
            throw _broken;
        }

        _safeLength += lines.Length;
    }

    /// <summary>Takes a line that was written in part away again; those before it stay.</summary>
    /// <param name="hits">How many of the lines that stay are hits.</param>
    private bool TryKeepWholeLines(ReadOnlySpan<byte> lines, out long hits)
    {
        hits = 0;
        try
        {
            var written = lines[..(int)Math.Clamp(_stream.Length - _safeLength, 0, lines.Length)];
            var whole = written[..(written.LastIndexOf((byte)'\n') + 1)];
            _stream.SetLength(_safeLength + whole.Length);
            hits = whole.Count("{\"type\":\"hit\","u8);
            return true;
        }
        catch (Exception e) when (e is IOException or NotSupportedException or ArgumentException or UnauthorizedAccessException)
        {
            return false; // A pipe or a device: nothing can be taken back.
        }
    }
}
