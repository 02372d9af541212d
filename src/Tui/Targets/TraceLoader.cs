// Reads a trace of any size while the screen is live already: the first hits come as soon as they are read, the rest in batches. Bounded: of a trace with a hundred million
// hits the screen gets so many that a person could scroll through, and of those the first are kept in memory; the others are read again when somebody looks at them, from a place shortly before.
using System.Collections.Immutable;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using KTrace.Tracing;

namespace KTrace.Tui.Targets;

/// <summary>Streams a trace's records to the screen, and keeps what can be asked of them later. One thread fills it; others may ask at any time.</summary>
internal sealed class TraceLoader(string path, TraceRecord.Header header, NewsQueue news)
{
    /// <summary>Hits that are listed. A line of the timeline takes some 300 bytes.</summary>
    public const int MaximumListed = 2_000_000;

    // Hits with registers and arguments: about a kilobyte each.
    private const int MaximumKept = 50_000;
    private const int MaximumInterrupts = 64;
    private const int MaximumModules = 10_000;
    private const int FirstBatch = 100;
    private const int Batch = 4000;
    private const int MaximumConsole = 64 << 10;
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(100);

    private readonly Lock _lock = new();
    private readonly List<TraceRecord.Hit> _kept = [];
    private readonly Dictionary<long, TraceRecord.Return> _returns = [];
    private readonly List<TraceRecord.Interrupts> _interrupts = [];
    private readonly Dictionary<int, long> _counts = [];
    private readonly List<ModuleRow> _modules = [];
    private readonly HitSummarizer _summarizer = new(header);
    private readonly ImmutableArray<HitSummary>.Builder _batch = ImmutableArray.CreateBuilder<HitSummary>();
    private readonly StringBuilder _console = new();
    private readonly Stopwatch _sinceBatch = Stopwatch.StartNew();
    private TracepointTable _tracepoints = new();
    private bool _modulesChanged;
    private long _listed;
    private long _hidden;
    private bool _isLoaded;

    /// <summary>The number of the last hit that was read; 0: none was.</summary>
    public long Last { get; private set; }

    /// <summary>The number of the last hit that is listed.</summary>
    public long LastListed { get; private set; }

    /// <summary>Where to begin for hits that are not in memory.</summary>
    public TraceIndex Index { get; } = new();

    /// <summary>The tracepoints as they stood when this was asked.</summary>
    public TracepointTable Tracepoints
    {
        get
        {
            lock (_lock)
            {
                return Copy(_tracepoints);
            }
        }
    }

    /// <summary>A hit that is in memory; null: it has to be read again.</summary>
    public FoundHit? Known(long sequence)
    {
        lock (_lock)
        {
            var (low, high) = (0, _kept.Count - 1);
            while (low <= high)
            {
                var middle = (low + high) / 2;
                var found = _kept[middle];
                if (found.Sequence == sequence)
                {
                    return new FoundHit(found, _returns.GetValueOrDefault(sequence), Copy(_tracepoints));
                }

                (low, high) = found.Sequence < sequence ? (middle + 1, high) : (low, middle - 1);
            }

            return null;
        }
    }

    /// <summary>The interrupts of a hit, or else the last that were recorded; null: none were.</summary>
    public TraceRecord.Interrupts? InterruptsOf(long? sequence)
    {
        lock (_lock)
        {
            return _interrupts.LastOrDefault(i => sequence is not null && i.HitSequence == sequence) ?? (_interrupts.Count > 0 ? _interrupts[^1] : null);
        }
    }

    /// <summary>Reads until the trace's end, or until nobody wants more. Blocks: it has a thread of its own.</summary>
    /// <exception cref="Symbols.MalformedFileException">The file is damaged from some place on.</exception>
    /// <exception cref="IOException">It cannot be read any more.</exception>
    public void Run(CancellationToken cancellationToken)
    {
        using var stream = new FollowingStream(
            new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 0, FileOptions.SequentialScan), CaughtUp, cancellationToken);
        using var reader = TraceReader.Open(stream, path);
        news.Send(new TargetNews.Progress($"reading {Path.GetFileName(path)}", 0));
        try
        {
            foreach (var record in reader.ReadAll())
            {
                Take(record);
                if (record is TraceRecord.Hit hit)
                {
                    Index.Passed(hit.Sequence, reader);
                }

                stream.IsOver |= record is TraceRecord.End;
                if (_batch.Count >= (_listed <= FirstBatch ? FirstBatch : Batch) || _console.Length >= MaximumConsole
                    || (_sinceBatch.Elapsed > s_interval && (_batch.Count > 0 || _console.Length > 0 || _hidden > 0)))
                {
                    Send(stream.Fraction, cancellationToken);
                }
            }
        }
        finally
        {
            Flush();
            news.Send(new TargetNews.Idle());
        }

        if (reader.End is { } end)
        {
            news.Send(new TargetNews.Note(string.Create(CultureInfo.InvariantCulture, $"{end.Hits} hit{(end.Hits == 1 ? "" : "s")}; the recording ended: {end.Reason}")));
        }
        else if (cancellationToken.IsCancellationRequested && !_isLoaded)
        {
            news.Send(new TargetNews.Note(string.Create(CultureInfo.InvariantCulture, $"reading was given up after {_listed + _hidden} hits"), IsWarning: true));
        }

        if (_hidden > 0)
        {
            news.Send(new TargetNews.Note(
                string.Create(CultureInfo.InvariantCulture, $"the first {_listed} hits are listed, {_hidden} more are not: :hit N shows any of them, ktrace show {path} --filter … lists others"), IsWarning: true));
        }
    }

    private static TracepointTable Copy(TracepointTable table)
    {
        var copy = new TracepointTable();
        foreach (var tracepoint in table.All)
        {
            copy.Observe(new TraceRecord.TracepointResolved(tracepoint));
        }

        return copy;
    }

    private void Take(TraceRecord record)
    {
        lock (_lock)
        {
            _tracepoints.Observe(record);
            _summarizer.Observe(record);
            switch (record)
            {
                case TraceRecord.Hit hit:
                    if (_kept.Count < MaximumKept)
                    {
                        _kept.Add(hit);
                    }

                    _counts[hit.Tracepoint] = _counts.GetValueOrDefault(hit.Tracepoint) + 1;
                    Last = hit.Sequence;
                    if (_listed >= MaximumListed)
                    {
                        _hidden++;
                        break;
                    }

                    _batch.Add(_summarizer.Of(hit, _tracepoints));
                    _listed++;
                    LastListed = hit.Sequence;
                    break;
                case TraceRecord.Return returned when _kept.Count < MaximumKept || returned.HitSequence <= _kept[^1].Sequence:
                    _returns[returned.HitSequence] = returned;
                    break;
                case TraceRecord.Interrupts interrupts:
                    _interrupts.Add(interrupts);
                    if (_interrupts.Count > MaximumInterrupts)
                    {
                        // The first and the latest say most.
                        _interrupts.RemoveAt(MaximumInterrupts / 2);
                    }

                    break;
                case TraceRecord.Module module when _modules.Count < MaximumModules:
                    _modules.Add(new ModuleRow(module.Name, module.Base, 0, module.BuildId, module.File is not null));
                    _modulesChanged = true;
                    break;
                case TraceRecord.Console console:
                    _console.Append(console.Text).Append('\n');
                    break;
            }
        }

        switch (record)
        {
            case TraceRecord.Note note:
                news.Send(new TargetNews.Note(note.Text));
                break;
            case TraceRecord.Warning warning:
                news.Send(new TargetNews.Note(warning.Text, IsWarning: true));
                break;
        }
    }

    private void Send(double fraction, CancellationToken cancellationToken)
    {
        Flush();
        if (!_isLoaded)
        {
            news.Send(new TargetNews.Progress(string.Create(CultureInfo.InvariantCulture, $"reading {Path.GetFileName(path)}: {_listed + _hidden} hits"), fraction));
        }

        try
        {
            news.WaitForRoomAsync(cancellationToken).AsTask().GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            // The stream ends at its next read.
        }
    }

    /// <summary>The first time the end is reached, the trace is read; what comes later is news.</summary>
    private void CaughtUp()
    {
        Flush();
        news.Send(new TargetNews.Idle());
        if (!_isLoaded)
        {
            news.Send(new TargetNews.Note("it has no end record: the recording was cut off, or is still running (what it adds is shown)", IsWarning: true));
        }

        _isLoaded = true;
    }

    private void Flush()
    {
        _sinceBatch.Restart();
        if (_console.Length > 0)
        {
            news.Send(new TargetNews.ConsoleText(_console.ToString()));
            _console.Clear();
        }

        if (_modulesChanged)
        {
            news.Send(new TargetNews.Modules([.. _modules]));
            _modulesChanged = false;
        }

        if (_batch.Count > 0 || _hidden > 0 || !_isLoaded)
        {
            news.Send(new TargetNews.HitsAdded(_batch.ToImmutable()) { Hidden = _hidden });
            _batch.Clear();
            news.Send(new TargetNews.Breakpoints([.. _tracepoints.All.Select(Row)]));
        }
    }

    private BreakpointRow Row(TraceTracepoint tracepoint) => new(
        tracepoint.Id, "tracepoint", tracepoint.Requested,
        tracepoint.Symbol is { } symbol ? tracepoint.Address is { } at ? $"{symbol} at 0x{at:x}" : symbol : tracepoint.Note ?? "", null, true,
        tracepoint.State == TracepointState.Pending, _counts.GetValueOrDefault(tracepoint.Id), tracepoint.Address, null, null);
}
