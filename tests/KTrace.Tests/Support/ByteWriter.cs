using System.Buffers.Binary;
using System.Text;

namespace KTrace.Tests.Support;

/// <summary>Little-endian bytes under construction, with places that are filled in later.</summary>
internal sealed class ByteWriter
{
    private readonly List<byte> _bytes = [];

    public int Length => _bytes.Count;

    public byte[] ToArray() => [.. _bytes];

    public ByteWriter U8(int value)
    {
        _bytes.Add((byte)value);
        return this;
    }

    public ByteWriter U16(int value) => Number((ulong)value, 2);

    public ByteWriter U32(ulong value) => Number(value, 4);

    public ByteWriter U64(ulong value) => Number(value, 8);

    public ByteWriter Number(ulong value, int size)
    {
        for (var i = 0; i < size; i++)
        {
            _bytes.Add((byte)(value >> (8 * i)));
        }

        return this;
    }

    public ByteWriter Uleb(ulong value)
    {
        do
        {
            var more = value >= 0x80;
            _bytes.Add((byte)((value & 0x7f) | (more ? 0x80u : 0)));
            value >>= 7;
        }
        while (value != 0);

        return this;
    }

    public ByteWriter Sleb(long value)
    {
        while (true)
        {
            var low = (byte)(value & 0x7f);
            value >>= 7;
            if ((value == 0 && (low & 0x40) == 0) || (value == -1 && (low & 0x40) != 0))
            {
                _bytes.Add(low);
                return this;
            }

            _bytes.Add((byte)(low | 0x80));
        }
    }

    public ByteWriter Text(string text) => Bytes(Encoding.UTF8.GetBytes(text)).U8(0);

    public ByteWriter Bytes(ReadOnlySpan<byte> bytes)
    {
        _bytes.AddRange(bytes);
        return this;
    }

    public ByteWriter Align(int alignment)
    {
        while (_bytes.Count % alignment != 0)
        {
            _bytes.Add(0);
        }

        return this;
    }

    /// <summary>Overwrites a 32-bit number that was written before its value was known.</summary>
    public void Patch32(int at, uint value)
    {
        Span<byte> number = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(number, value);
        for (var i = 0; i < 4; i++)
        {
            _bytes[at + i] = number[i];
        }
    }

    public void Patch64(int at, ulong value)
    {
        Patch32(at, (uint)value);
        Patch32(at + 4, (uint)(value >> 32));
    }
}
