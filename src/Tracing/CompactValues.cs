// Values as compact hits have them: a number where JSON's numbers are exact (below 2⁵³), a string of hexadecimal digits above, an object with the text where the text says more than
// the number, null where nothing is known. Written into a buffer that is used again and again.
using System.Buffers;
using System.Buffers.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace KTrace.Tracing;

/// <summary>The values of one line, separated by commas.</summary>
public sealed class CompactValues
{
    private const long LargestExact = 1L << 53;
    private const int LongestNumber = 24;

    private byte[] _bytes = new byte[256];

    public ReadOnlySpan<byte> Written => _bytes.AsSpan(0, Length);

    public int Length { get; private set; }

    public void Clear() => Length = 0;

    /// <param name="isSigned">A negative number is written as one; a pointer is not.</param>
    public void Add(ulong value, bool isSigned)
    {
        var place = Next(LongestNumber);
        int written;
        if (isSigned ? (long)value is > -LargestExact and < LargestExact : value < (ulong)LargestExact)
        {
            Utf8Formatter.TryFormat((long)value, place, out written);
        }
        else
        {
            written = HexString(value, place);
        }

        Length += written;
    }

    /// <summary>Null: the value is not known.</summary>
    public void AddUnknown()
    {
        "null"u8.CopyTo(Next(4));
        Length += 4;
    }

    /// <param name="json">One value as <see cref="Describe"/> made it.</param>
    public void AddRaw(ReadOnlySpan<byte> json)
    {
        json.CopyTo(Next(json.Length));
        Length += json.Length;
    }

    /// <summary>A value whose text is not what its form makes of it.</summary>
    /// <param name="value">Null when it is no single number.</param>
    public static byte[] Describe(ulong? value, string text)
    {
        var buffer = new ArrayBufferWriter<byte>(64);
        using (var json = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true }))
        {
            json.WriteStartObject();
            if (value is { } number)
            {
                json.WriteString("value"u8, TraceHex.Format(number));
            }

            json.WriteString("text"u8, text);
            json.WriteEndObject();
        }

        return buffer.WrittenSpan.ToArray();
    }

    internal static int HexString(ulong value, Span<byte> place)
    {
        place[0] = (byte)'"';
        place[1] = (byte)'0';
        place[2] = (byte)'x';
        var digits = value == 0 ? 1 : (67 - System.Numerics.BitOperations.LeadingZeroCount(value)) / 4;
        for (var i = digits + 2; i > 2; i--)
        {
            place[i] = "0123456789abcdef"u8[(int)(value & 15)];
            value >>= 4;
        }

        place[digits + 3] = (byte)'"';
        return digits + 4;
    }

    private Span<byte> Next(int length)
    {
        if (_bytes.Length < Length + length + 1)
        {
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, Length + length + 1));
        }

        if (Length > 0)
        {
            _bytes[Length++] = (byte)',';
        }

        return _bytes.AsSpan(Length);
    }
}
