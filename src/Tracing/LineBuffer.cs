using System.Buffers.Text;

namespace KTrace.Tracing;

/// <summary>Whole lines on their way to the file.</summary>
internal sealed class LineBuffer
{
    private const int LongestNumber = 24;

    private byte[] _bytes = new byte[64 << 10];

    public int Length { get; private set; }

    public ReadOnlySpan<byte> Written => _bytes.AsSpan(0, Length);

    public void Clear() => Length = 0;

    public void Add(ReadOnlySpan<byte> text)
    {
        text.CopyTo(Room(text.Length));
        Length += text.Length;
    }

    public void Add(ulong number)
    {
        Utf8Formatter.TryFormat(number, Room(LongestNumber), out int written);
        Length += written;
    }

    private Span<byte> Room(int length)
    {
        if (_bytes.Length - Length < length)
        {
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, Length + length));
        }

        return _bytes.AsSpan(Length);
    }
}
