namespace KTrace.Symbols.Dwarf;

/// <summary>UTF-8 text under construction. Names and paths go from the file's mapping to the output as the bytes that they are.</summary>
internal sealed class ByteBuffer
{
    private const int Enough = 64 << 10;

    private readonly Stream? _sink;
    private byte[] _bytes;

    public ByteBuffer(int capacity = 256) => _bytes = new byte[capacity];

    /// <summary>A buffer that <see cref="FlushIfFull"/> empties into a stream.</summary>
    public ByteBuffer(Stream sink)
        : this(Enough + 4096) => _sink = sink;

    /// <summary>Makes text fit for a terminal: what <see cref="AppendClean"/> does with anything but printable ASCII. Null to leave it as it is.</summary>
    public Func<string, string>? Clean { get; init; }

    public int Length { get; private set; }

    public ReadOnlySpan<byte> Written => new(_bytes, 0, Length);

    public void Clear() => Length = 0;

    /// <summary>Between two answers: writes to the sink when there is enough to be worth a system call.</summary>
    public void FlushIfFull()
    {
        if (Length >= Enough)
        {
            Flush();
        }
    }

    /// <summary>Writes everything to the sink.</summary>
    public void Flush()
    {
        if (_sink is not null && Length > 0)
        {
            _sink.Write(_bytes, 0, Length);
            _sink.Flush();
            Length = 0;
        }
    }

    public void Append(byte value)
    {
        if (Length == _bytes.Length)
        {
            Reserve(1);
        }

        _bytes[Length++] = value;
    }

    public void Append(ReadOnlySpan<byte> bytes)
    {
        Reserve(bytes.Length);
        bytes.CopyTo(new Span<byte>(_bytes, Length, bytes.Length));
        Length += bytes.Length;
    }

    public void Append(string text)
    {
        Reserve(System.Text.Encoding.UTF8.GetMaxByteCount(text.Length));
        Length += System.Text.Encoding.UTF8.GetBytes(text, new Span<byte>(_bytes, Length, _bytes.Length - Length));
    }

    /// <summary>A name or path out of a file, which may hold anything.</summary>
    public void AppendClean(ReadOnlySpan<byte> utf8)
    {
        if (Clean is null || utf8.IndexOfAnyExceptInRange((byte)' ', (byte)'~') < 0)
        {
            Append(utf8);
        }
        else
        {
            Append(Clean(System.Text.Encoding.UTF8.GetString(utf8)));
        }
    }

    public void AppendDecimal(ulong value)
    {
        Reserve(20);
        var digits = 1;
        for (var rest = value; rest >= 10; rest /= 10)
        {
            digits++;
        }

        for (var i = Length + digits - 1; i >= Length; i--)
        {
            _bytes[i] = (byte)('0' + (value % 10));
            value /= 10;
        }

        Length += digits;
    }

    /// <summary>Lower-case digits, at least <paramref name="digits"/> of them.</summary>
    public void AppendHex(ulong value, int digits = 1)
    {
        Reserve(16);
        while (digits < 16 && value >> (4 * digits) != 0)
        {
            digits++;
        }

        for (var shift = 4 * (digits - 1); shift >= 0; shift -= 4)
        {
            var nibble = (int)(value >> shift) & 15;
            _bytes[Length++] = (byte)(nibble < 10 ? '0' + nibble : 'a' + nibble - 10);
        }
    }

    private void Reserve(int count)
    {
        if (count > _bytes.Length - Length)
        {
            var larger = new byte[Math.Max(Length + count, _bytes.Length * 2)];
            System.Array.Copy(_bytes, larger, Length);
            _bytes = larger;
        }
    }
}
