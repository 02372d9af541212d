// Lines of a file of which nothing is known: the buffer grows to TraceFormat.MaxLineBytes and no further.
using KTrace.Symbols;

namespace KTrace.Tracing;

/// <summary>Cuts a stream into lines, without copying them.</summary>
/// <param name="offset">Of the stream's first byte in the file.</param>
/// <param name="number">Lines before it.</param>
internal sealed class LineSource(Stream stream, string file, long offset = 0, long number = 0)
{
    private const int FirstBuffer = 64 << 10;

    private byte[] _buffer = new byte[FirstBuffer];
    private int _start;
    private int _end;
    private int _scanned;
    private bool _endOfFile;
    private long _bufferOffset = offset;
    private bool _zeros;

    public enum Found
    {
        /// <summary>Fill the buffer and ask again.</summary>
        NeedsBytes,

        Line,

        /// <summary>The bytes after the last line feed.</summary>
        LastLineWithoutEnd,

        /// <summary>The file ends in NUL bytes, as after a power cut: space was reserved, and never written.</summary>
        ZeroTail,

        EndOfFile,
    }

    /// <summary>Number of the line that <see cref="Take"/> found last, from 1.</summary>
    public long Number { get; private set; } = number;

    /// <summary>Where the next line begins in the file.</summary>
    public long Offset => _bufferOffset + _start;

    /// <param name="line">Without line feed; valid until the next <see cref="Fill"/>.</param>
    /// <exception cref="MalformedFileException">A line is too long, or NUL bytes stand where text follows.</exception>
    public Found Take(out ReadOnlyMemory<byte> line)
    {
        line = default;
        if (!_zeros && _start < _end && _buffer[_start] == 0)
        {
            _zeros = true;
            Number++;
        }

        if (_zeros)
        {
            return TakeZeros();
        }

        int feed = _buffer.AsSpan(_scanned, _end - _scanned).IndexOf((byte)'\n');
        int length = feed < 0 ? _end - _start : _scanned + feed - _start;
        if (length > TraceFormat.MaxLineBytes)
        {
            throw new MalformedFileException(
                file, Section(Number + 1), TraceFormat.MaxLineBytes, $"a line of more than {TraceFormat.MaxLineBytes} bytes: no trace");
        }

        _scanned = _end;
        if (feed < 0 && !_endOfFile)
        {
            return Found.NeedsBytes;
        }

        if (feed < 0 && length == 0)
        {
            return Found.EndOfFile;
        }

        line = _buffer.AsMemory(_start, length);
        _start = feed < 0 ? _end : _start + length + 1;
        _scanned = _start;
        Number++;
        return feed < 0 ? Found.LastLineWithoutEnd : Found.Line;
    }

    public void Fill()
    {
        MakeRoom();
        Filled(stream.Read(_buffer, _end, _buffer.Length - _end));
    }

    public async ValueTask FillAsync(CancellationToken cancellationToken)
    {
        MakeRoom();
        Filled(await stream.ReadAsync(_buffer.AsMemory(_end), cancellationToken).ConfigureAwait(false));
    }

    /// <summary>What an error message calls a line.</summary>
    public static string Section(long number) => $"line {number}";

    private Found TakeZeros()
    {
        int other = _buffer.AsSpan(_start, _end - _start).IndexOfAnyExcept((byte)0);
        if (other >= 0)
        {
            throw new MalformedFileException(file, Section(Number), 0, "NUL bytes: no trace, or a damaged one");
        }

        _start = _scanned = _end = 0;
        return _endOfFile ? Found.ZeroTail : Found.NeedsBytes;
    }

    private void MakeRoom()
    {
        if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            _end -= _start;
            _scanned -= _start;
            _bufferOffset += _start;
            _start = 0;
        }

        if (_end == _buffer.Length)
        {
            // Take refuses longer lines before the buffer can grow beyond twice the limit.
            Array.Resize(ref _buffer, _buffer.Length * 2);
        }
    }

    private void Filled(int count)
    {
        _end += count;
        _endOfFile = count == 0;
    }
}
