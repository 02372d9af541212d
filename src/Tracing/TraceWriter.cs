// Writes .ktrace files: docs/trace-format.md.
// A recording may end at any moment (kill -9, power cut, full disk), so every record goes to the operating system in one write before
// Write returns, together with the frame and path lines that it is the first to need; only compact hits go out in batches. There is no fsync: a power
// cut may cost the last seconds, as with any log. The file has its final name from the beginning, so that it can be read while it grows.
using System.Buffers;
using System.Collections.Immutable;
using System.Text;

namespace KTrace.Tracing;

/// <summary>Appends records to a trace file. Safe to call from several threads; records are written in the order of the calls.</summary>
public sealed class TraceWriter : IDisposable
{
    private readonly TraceFile _file;
    private readonly RecordWriter _records = new();
    private readonly Dictionary<TraceFrame, int> _frames = [];
    private readonly Dictionary<CallPath, int> _paths = [];
    private readonly Dictionary<ArgumentList, int> _values = [];
    private readonly HashSet<int> _tracepoints = [];
    private readonly Decoder _consoleDecoder = Encoding.UTF8.GetDecoder();
    private readonly StringBuilder _consoleLine = new();
    private TraceClock? _consoleClock;
    private long _lastSequence;
    private int _format;
    private bool _hasHeader;
    private bool _ended;

    /// <summary>Creates the file, or empties the one that is there. Others may read it at any time.</summary>
    /// <exception cref="IOException">It cannot be created.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be created.</exception>
    public TraceWriter(string path)
        : this(new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0), path)
    {
    }

    /// <param name="stream">Belongs to the writer from now on.</param>
    /// <param name="path">What it is called in messages.</param>
    internal TraceWriter(Stream stream, string path)
    {
        _file = new TraceFile(stream, path);
        Compact = new CompactWriter(this, _file, _records);
    }

    public string Path => _file.Path;

    /// <summary>Hits written so far.</summary>
    public long Hits => _file.Hits;

    /// <summary>For hits that come too fast to be written one by one.</summary>
    public CompactWriter Compact { get; }

    /// <summary>Appends one record. The first must be a <see cref="TraceRecord.Header"/>; after <see cref="TraceRecord.End"/> nothing may follow.</summary>
    /// <exception cref="TraceWriteException">The medium refused it. The writer is of no use afterwards: every further call says the same.</exception>
    /// <exception cref="InvalidOperationException">No header yet, a second one, or a record after the end.</exception>
    /// <exception cref="ArgumentException">A record that a reader would refuse (see <see cref="TraceFormat"/>): the file is as before.</exception>
    public void Write(TraceRecord record)
    {
        lock (_file.Turn)
        {
            _file.Check();
            CheckOrder(record);
            if (record is TraceRecord.End)
            {
                WriteConsoleLine();
            }

            WriteRecord(record);
        }
    }

    /// <summary>
    /// Appends console output as it comes, in pieces of any size; a record is written for every complete line. A character that a piece
    /// cuts is put together again, invalid UTF-8 becomes U+FFFD, and a line that does not end is cut at <see cref="TraceFormat.MaxConsoleText"/>.
    /// </summary>
    /// <param name="utf8">Bytes from the guest.</param>
    /// <param name="clock">When they came. A line has the clock of its first piece.</param>
    public void WriteConsole(ReadOnlySpan<byte> utf8, TraceClock? clock = null)
    {
        lock (_file.Turn)
        {
            _file.Check();
            if (!_hasHeader || _ended)
            {
                throw new InvalidOperationException("console text belongs between the header and the end");
            }

            char[] characters = ArrayPool<char>.Shared.Rent(utf8.Length + 2);
            try
            {
                int count = _consoleDecoder.GetChars(utf8, characters, flush: false);
                foreach (char c in characters.AsSpan(0, count))
                {
                    AppendConsole(c, clock);
                }
            }
            finally
            {
                ArrayPool<char>.Shared.Return(characters);
            }
        }
    }

    /// <summary>Closes the file. Console text without its line feed is written; an end record is not: that is the recorder's to say.</summary>
    public void Dispose()
    {
        lock (_file.Turn)
        {
            try
            {
                _file.Check();
                if (_hasHeader && !_ended)
                {
                    WriteConsoleLine();
                }

                _file.Flush();
            }
            catch (TraceWriteException)
            {
                // Half a console line is not worth an exception that hides the one under way.
            }
            finally
            {
                _ended = true;
                _file.Dispose();
                _records.Dispose();
            }
        }
    }

    private void CheckOrder(TraceRecord record)
    {
        if (_ended)
        {
            throw new InvalidOperationException("the trace has ended: no record may follow");
        }

        if (record is TraceRecord.Header == _hasHeader)
        {
            throw new InvalidOperationException(_hasHeader ? "a trace has one header" : "the header is the first record of a trace");
        }

        switch (record)
        {
            case TraceRecord.Hit hit:
                CheckHit(hit);
                break;
            case TraceRecord.Return returned when returned.HitSequence < 1 || returned.HitSequence > _lastSequence:
                throw new ArgumentException($"a return of hit {returned.HitSequence}, which is not there", nameof(record));
            case TraceRecord.Interrupts { HitSequence: { } hit } when hit < 1 || hit > _lastSequence:
                throw new ArgumentException($"interrupts of hit {hit}, which is not there", nameof(record));
        }
    }

    private void CheckHit(TraceRecord.Hit hit)
    {
        if (hit.Sequence <= _lastSequence)
        {
            throw new ArgumentException($"hit {hit.Sequence} after hit {_lastSequence}: sequence numbers grow, from 1", nameof(hit));
        }

        if (!_tracepoints.Contains(hit.Tracepoint))
        {
            throw new ArgumentException($"hit {hit.Sequence} is of tracepoint {hit.Tracepoint}, which the trace does not name", nameof(hit));
        }

        if (hit.Path.Frames.Length > TraceFormat.MaxPathFrames)
        {
            throw new ArgumentException($"a call path of {hit.Path.Frames.Length} frames; {TraceFormat.MaxPathFrames} are allowed", nameof(hit));
        }

        if (!hit.Pcs.IsDefaultOrEmpty && hit.Pcs.Length != hit.Path.PhysicalCount)
        {
            throw new ArgumentException(
                $"{hit.Pcs.Length} addresses for {hit.Path.PhysicalCount} physical frames in hit {hit.Sequence}", nameof(hit));
        }

        if (!hit.Arguments.IsDefaultOrEmpty && hit.Arguments.Length != hit.Path.Frames.Length)
        {
            throw new ArgumentException(
                $"{hit.Arguments.Length} lists of arguments for {hit.Path.Frames.Length} frames in hit {hit.Sequence}", nameof(hit));
        }

        if (!hit.TailPcs.IsDefaultOrEmpty && hit.TailPcs.Length != hit.Path.TailCallCount)
        {
            throw new ArgumentException(
                $"{hit.TailPcs.Length} addresses for {hit.Path.TailCallCount} tail calls in hit {hit.Sequence}", nameof(hit));
        }
    }

    private void WriteRecord(TraceRecord record)
    {
        _records.Clear();
        Marks marks = Mark();
        try
        {
            switch (record)
            {
                case TraceRecord.Header header: _records.Write(header); break;
                case TraceRecord.Module module: _records.Write(module); break;
                case TraceRecord.TracepointResolved resolved: _records.Write(resolved); break;
                case TraceRecord.Hit hit: _records.Write(hit, PathId(hit.Path), ValueIds(hit.Arguments, ref marks)); break;
                case TraceRecord.Return returned: _records.Write(returned); break;
                case TraceRecord.Interrupts interrupts: _records.Write(interrupts); break;
                case TraceRecord.ClockRate rate: _records.Write(rate); break;
                case TraceRecord.NonStop nonStop: _records.Write(nonStop); break;
                case TraceRecord.Console console: _records.Write(console); break;
                case TraceRecord.Note note: _records.Write("note"u8, note.Text); break;
                case TraceRecord.Warning warning: _records.Write("warning"u8, warning.Text); break;
                case TraceRecord.End end: _records.Write(end); break;
            }
        }
        catch (ArgumentException)
        {
            // A line that is too long: nothing was written, so ids given out for it must not stay.
            Undo(marks);
            throw;
        }

        _file.Append(_records.Written, record is TraceRecord.Hit);
        switch (record)
        {
            case TraceRecord.Header header:
                _hasHeader = true;
                _format = header.Format;
                _tracepoints.UnionWith(header.Tracepoints.Select(t => t.Id));
                break;
            case TraceRecord.TracepointResolved resolved: _tracepoints.Add(resolved.Tracepoint.Id); break;
            case TraceRecord.Hit hit: _lastSequence = hit.Sequence; break;
            case TraceRecord.End: _ended = true; break;
        }
    }

    /// <summary>How many ids were given out.</summary>
    internal readonly record struct Marks(int Frames, int Paths, int Values);

    internal Marks Mark() => new(_frames.Count, _paths.Count, _values.Count);

    /// <summary>Takes ids back that were given out since.</summary>
    internal void Undo(Marks marks)
    {
        Forget(_frames, marks.Frames);
        Forget(_paths, marks.Paths);
        Forget(_values, marks.Values + 1);
    }

    internal bool HasTracepoint(int id) => _tracepoints.Contains(id);

    /// <summary>A compact line may follow; a hit with this number, unless it is null.</summary>
    internal void CheckCompact(long? sequence)
    {
        _file.Check();
        if (!_hasHeader || _ended || _format < TraceFormat.Compact)
        {
            throw new InvalidOperationException($"compact hits belong between the header and the end of a trace of format {TraceFormat.Compact}");
        }

        if (sequence <= _lastSequence)
        {
            throw new ArgumentException($"hit {sequence} after hit {_lastSequence}: sequence numbers grow, from 1", nameof(sequence));
        }

        _lastSequence = sequence ?? _lastSequence;
    }

    internal bool HasHit(long sequence) => sequence >= 1 && sequence <= _lastSequence;

    private int PathId(CallPath path)
    {
        if (_paths.TryGetValue(path, out int id))
        {
            return id;
        }

        int[] frames = new int[path.Frames.Length];
        for (int i = 0; i < frames.Length; i++)
        {
            frames[i] = FrameId(path.Frames[i]);
        }

        id = _paths.Count;
        _paths.Add(path, id);
        _records.Write(id, frames);
        return id;
    }

    internal int FrameId(TraceFrame frame)
    {
        if (!_frames.TryGetValue(frame, out int id))
        {
            id = _frames.Count;
            _frames.Add(frame, id);
            _records.Write(frame, id);
        }

        return id;
    }

    /// <summary>Ids from 1; 0 is a frame without arguments. There are as many as fit into the table: then ids begin anew, and mean something else.</summary>
    internal int[] ValueIds(ImmutableArray<ArgumentList> arguments, ref Marks marks)
    {
        if (arguments.IsDefaultOrEmpty)
        {
            return [];
        }

        if (_values.Count + arguments.Length > TraceFormat.MaxValues)
        {
            _values.Clear();
            marks = marks with { Values = 0 };
        }

        int[] ids = new int[arguments.Length];
        for (int i = 0; i < ids.Length; i++)
        {
            if (arguments[i].Count > 0 && !_values.TryGetValue(arguments[i], out ids[i]))
            {
                ids[i] = _values.Count + 1;
                _values.Add(arguments[i], ids[i]);
                _records.Write(arguments[i], ids[i]);
            }
        }

        return ids;
    }

    private void AppendConsole(char c, TraceClock? clock)
    {
        if (_consoleLine.Length == 0)
        {
            _consoleClock = clock;
        }

        if (c == '\n')
        {
            // An empty line is a line too; serial consoles end lines with CR LF.
            if (_consoleLine.Length > 0 && _consoleLine[^1] == '\r')
            {
                _consoleLine.Length--;
            }

            WriteConsoleRecord();
            return;
        }

        _consoleLine.Append(c);
        if (_consoleLine.Length >= TraceFormat.MaxConsoleText && !char.IsHighSurrogate(c))
        {
            WriteConsoleRecord();
        }
    }

    private void WriteConsoleLine()
    {
        if (_consoleLine.Length > 0)
        {
            WriteConsoleRecord();
        }
    }

    private void WriteConsoleRecord()
    {
        var record = new TraceRecord.Console(_consoleClock, _consoleLine.ToString());
        _consoleLine.Clear();
        WriteRecord(record);
    }

    private static void Forget<T>(Dictionary<T, int> ids, int count)
        where T : notnull
    {
        foreach (T key in ids.Where(entry => entry.Value >= count).Select(entry => entry.Key).ToList())
        {
            ids.Remove(key);
        }
    }
}
