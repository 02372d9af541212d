// Reads .ktrace files: docs/trace-format.md. The file may be any file at all: lines, nesting and counts are bounded, ids must be known,
// and whatever is wrong is a MalformedFileException with line and column.
// What real files have: no end record and half a last line (the recorder was killed), NUL bytes at the end (the power was cut), a byte
// order mark or CR LF (an editor on another system), other records than ours (a newer ktrace).
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Unicode;
using KTrace.Symbols;

namespace KTrace.Tracing;

/// <summary>Reads a trace once, from its first record to its last.</summary>
public sealed class TraceReader : IDisposable
{
    private readonly Stream _stream;
    private readonly LineSource _lines;
    private readonly RecordDecoder _decoder;
    private byte[]? _headerLine;
    private bool _started;

    private TraceReader(Stream stream, string file, bool keepRegisters)
    {
        _stream = stream;
        File = file;
        _lines = new LineSource(stream, file);
        _decoder = new RecordDecoder(file, keepRegisters);
        Header = ReadHeader();
    }

    private TraceReader(Stream stream, string file, TracePlace place)
    {
        (_stream, File, Header) = (stream, file, place.Header);
        _lines = new LineSource(stream, file, place.Offset, place.Line);
        _decoder = new RecordDecoder(place.Decoder);
    }

    /// <summary>Path as the user gave it.</summary>
    public string File { get; }

    public TraceRecord.Header Header { get; }

    /// <summary>The end record, once everything was read; null when the file has none.</summary>
    public TraceRecord.End? End { get; private set; }

    /// <summary>The file's last line is incomplete (known once everything was read). No complete record is lost.</summary>
    public bool Truncated { get; private set; }

    /// <summary>What is not whole about the file, for people, or null. Known once everything was read.</summary>
    public string? Incomplete => Truncated ? "its last line is incomplete: the recording was cut off"
        : End is null ? "it has no end record: the recording was not closed, or is still running"
        : null;

    /// <summary>Opens a file and reads its header.</summary>
    /// <param name="path">May be a pipe.</param>
    /// <param name="keepRegisters">False leaves <see cref="TraceRecord.Hit.Registers"/> and <see cref="TraceRecord.Hit.Pcs"/> empty: half the memory, for who compares or counts.</param>
    /// <exception cref="MalformedFileException">No trace, or one of a newer format.</exception>
    /// <exception cref="IOException">The file cannot be read or does not exist.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read, or is a folder.</exception>
    public static TraceReader Open(string path, bool keepRegisters = true)
    {
        var stream = new FileStream(
            path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, FileOptions.SequentialScan);
        TraceReader reader = Open(stream, path, keepRegisters);
        if (reader.Header.Format >= TraceFormat.Compact && stream.CanSeek && LastLines.FindClockRate(stream, path) is { } rate)
        {
            reader._decoder.KnowRate(rate);
        }

        return reader;
    }

    /// <summary>Opens a file again where another reader was: what comes is what came behind that place.</summary>
    /// <param name="path">The file of that reader, which may have grown since.</param>
    /// <exception cref="IOException">The file cannot be read, or is shorter than it was.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    public static TraceReader Open(string path, TracePlace place)
    {
        var stream = new FileStream(
            path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0, FileOptions.SequentialScan);
        if (stream.Length < place.Offset)
        {
            stream.Dispose();
            throw new IOException($"{path} is shorter than it was");
        }

        var reader = new TraceReader(stream, path, place);
        if (reader.Header.Format >= TraceFormat.Compact && LastLines.FindClockRate(stream, path) is { } rate)
        {
            reader._decoder.KnowRate(rate);
        }

        stream.Position = place.Offset;
        return reader;
    }

    /// <summary>The place behind the record that was read last.</summary>
    public TracePlace Place() => new(Header, _lines.Offset, _lines.Number, new RecordDecoder(_decoder));

    /// <param name="stream">Belongs to the reader from now on, also when this throws.</param>
    /// <param name="name">What error messages call it.</param>
    /// <param name="keepRegisters">See the other overload.</param>
    /// <exception cref="MalformedFileException">No trace, or one of a newer format.</exception>
    public static TraceReader Open(Stream stream, string name, bool keepRegisters = true)
    {
        try
        {
            return new TraceReader(stream, name, keepRegisters);
        }
        catch
        {
            stream.Dispose();
            throw;
        }
    }

    /// <summary>Whether a file is meant to be a trace, by its first bytes.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static bool BeginsLikeATrace(string path)
    {
        ReadOnlySpan<byte> beginning = "{\"type\":\"header\""u8;
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 0);
        Span<byte> bytes = stackalloc byte[beginning.Length];
        return file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false) == bytes.Length && bytes.SequenceEqual(beginning);
    }

    /// <summary>All records, the header first (from a place in the middle on: those behind it). Can be asked for once.</summary>
    /// <exception cref="MalformedFileException">While enumerating: the file says something that cannot be true.</exception>
    public IEnumerable<TraceRecord> ReadAll() => ReadLines().Where(line => line.Decoded.Record is not null).Select(line => line.Decoded.Record!);

    /// <summary>As <see cref="ReadAll"/>, for a file that is a slow pipe.</summary>
    public async IAsyncEnumerable<TraceRecord> ReadAllAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        Start();
        if (_headerLine is not null)
        {
            yield return Header;
        }

        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (!TryReadLine(out TraceLine line, out bool more))
            {
                if (!more)
                {
                    yield break;
                }

                await _lines.FillAsync(cancellationToken).ConfigureAwait(false);
            }
            else if (line.Decoded.Record is { } record)
            {
                yield return record;
            }
        }
    }

    public void Dispose() => _stream.Dispose();

    /// <summary>One line and what it is. The bytes are valid until the next line is asked for.</summary>
    internal readonly record struct TraceLine(ReadOnlyMemory<byte> Utf8, DecodedLine Decoded);

    /// <summary>All lines, the header first, those that are no records included.</summary>
    internal IEnumerable<TraceLine> ReadLines()
    {
        Start();
        if (_headerLine is not null)
        {
            yield return new TraceLine(_headerLine, new DecodedLine(Header));
            _headerLine = null;
        }

        while (true)
        {
            if (TryReadLine(out TraceLine line, out bool more))
            {
                yield return line;
            }
            else if (more)
            {
                _lines.Fill();
            }
            else
            {
                yield break;
            }
        }
    }

    private void Start()
    {
        if (_started)
        {
            throw new InvalidOperationException("a trace reader reads its file once: open it again");
        }

        _started = true;
    }

    private TraceRecord.Header ReadHeader()
    {
        while (true)
        {
            if (TryReadLine(out TraceLine line, out bool more))
            {
                if (line.Decoded.Record is TraceRecord.Header header)
                {
                    _headerLine = line.Utf8.ToArray();
                    return header;
                }
            }
            else if (more)
            {
                _lines.Fill();
            }
            else
            {
                throw new MalformedFileException(
                    File, LineSource.Section(Math.Max(_lines.Number, 1)), 0,
                    _lines.Number == 0 ? "empty: no trace, or one that was cut off at once" : "no ktrace trace, or one that was cut off in its header");
            }
        }
    }

    /// <param name="line">The next line that holds something.</param>
    /// <param name="more">When there is none: whether bytes must be fetched first. False at the end of the file.</param>
    private bool TryReadLine(out TraceLine line, out bool more)
    {
        while (true)
        {
            LineSource.Found found = _lines.Take(out ReadOnlyMemory<byte> utf8);
            line = default;
            more = found == LineSource.Found.NeedsBytes;
            switch (found)
            {
                case LineSource.Found.ZeroTail:
                    Truncated = true;
                    return false;
                case LineSource.Found.NeedsBytes or LineSource.Found.EndOfFile:
                    return false;
            }

            utf8 = WithoutMarks(utf8);
            if (utf8.Length == 0)
            {
                continue;
            }

            // A record that lacks only its line feed is complete.
            if (found == LineSource.Found.LastLineWithoutEnd && !RecordJson.IsComplete(utf8.Span))
            {
                Truncated = true;
                return false;
            }

            DecodedLine decoded = Decode(utf8);
            End ??= decoded.Record as TraceRecord.End;
            line = new TraceLine(utf8, decoded);
            return true;
        }
    }

    private ReadOnlyMemory<byte> WithoutMarks(ReadOnlyMemory<byte> line)
    {
        ReadOnlySpan<byte> mark = [0xef, 0xbb, 0xbf];
        if (_lines.Number == 1 && line.Span.StartsWith(mark))
        {
            line = line[mark.Length..];
        }

        ReadOnlySpan<byte> blanks = [(byte)' ', (byte)'\t', (byte)'\r'];
        return line[..(line.Span.LastIndexOfAnyExcept(blanks) + 1)];
    }

    private DecodedLine Decode(ReadOnlyMemory<byte> line)
    {
        if (!Utf8.IsValid(line.Span))
        {
            throw Fail(0, "invalid UTF-8: no trace, or a damaged one");
        }

        try
        {
            return _decoder.Decode(line, _lines.Number);
        }
        catch (JsonException e)
        {
            throw Fail(e.BytePositionInLine ?? 0, "invalid JSON: no trace, or a damaged one");
        }
        catch (InvalidOperationException)
        {
            throw Fail(0, "a string that is no text (half of a surrogate pair)");
        }

        [DoesNotReturn]
        MalformedFileException Fail(long column, string what) =>
            throw new MalformedFileException(File, LineSource.Section(_lines.Number), column, what);
    }
}
