using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Text;

namespace KTrace.Symbols;

/// <summary>
/// A little-endian cursor over one section. It never reads outside: running off the end is a
/// <see cref="MalformedFileException"/> that names file, section and offset. Lives inside one synchronous call.
/// </summary>
public ref struct ByteReader
{
    private readonly SectionData _section;
    private readonly ReadOnlySpan<byte> _bytes;
    private int _position;

    public ByteReader(SectionData section, int position)
    {
        _section = section;
        _bytes = section.Span;
        _position = position;
    }

    internal readonly SectionData Section => _section;

    /// <summary>Offset inside the section, in bytes.</summary>
    public int Position
    {
        readonly get => _position;
        set
        {
            if ((uint)value > (uint)_bytes.Length)
            {
                ThrowEnd();
            }

            _position = value;
        }
    }

    public readonly int Length => _bytes.Length;

    public readonly bool AtEnd => _position >= _bytes.Length;

    public readonly int Remaining => _bytes.Length - _position;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte ReadU8()
    {
        if ((uint)_position >= (uint)_bytes.Length)
        {
            ThrowEnd();
        }

        return _bytes[_position++];
    }

    public ushort ReadU16() => BinaryPrimitives.ReadUInt16LittleEndian(Take(2));

    /// <summary>Three bytes (DW_FORM_strx3, DW_FORM_addrx3).</summary>
    public uint ReadU24()
    {
        var bytes = Take(3);
        return (uint)(bytes[0] | (bytes[1] << 8) | (bytes[2] << 16));
    }

    public uint ReadU32() => BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

    public ulong ReadU64() => BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

    /// <summary>An address of 1, 2, 4 or 8 bytes.</summary>
    public ulong ReadAddress(int size) => size switch
    {
        8 => ReadU64(),
        4 => ReadU32(),
        2 => ReadU16(),
        1 => ReadU8(),
        _ => throw Malformed($"an address size of {size} bytes"),
    };

    /// <summary>ULEB128 (DWARF 5, section 7.6). More than 64 bits of value is malformed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong ReadUleb128()
    {
        if ((uint)_position < (uint)_bytes.Length && _bytes[_position] < 0x80)
        {
            return _bytes[_position++];
        }

        return ReadLongUleb128();
    }

    private ulong ReadLongUleb128()
    {
        ulong result = 0;
        for (var shift = 0; ; shift += 7)
        {
            var b = ReadU8();
            // Producers may pad with 0x80 bytes (linkers do); only set bits beyond 64 are an error.
            if (shift < 64)
            {
                result |= (ulong)(b & 0x7f) << shift;
            }

            if (shift > 63 && (b & 0x7f) != 0)
            {
                throw Malformed("a ULEB128 of more than 64 bits");
            }

            if ((b & 0x80) == 0)
            {
                return result;
            }
        }
    }

    /// <summary>SLEB128 (DWARF 5, section 7.6).</summary>
    public long ReadSleb128()
    {
        long result = 0;
        for (var shift = 0; ; shift += 7)
        {
            var b = ReadU8();
            if (shift < 64)
            {
                result |= (long)(b & 0x7f) << shift;
            }

            if ((b & 0x80) == 0)
            {
                return shift + 7 < 64 && (b & 0x40) != 0 ? result | (-1L << (shift + 7)) : result;
            }
        }
    }

    /// <summary>A NUL-terminated string, as UTF-8 with bad bytes replaced.</summary>
    public string ReadString() => Encoding.UTF8.GetString(ReadStringBytes());

    /// <summary>The bytes of a NUL-terminated string, without the NUL.</summary>
    public ReadOnlySpan<byte> ReadStringBytes()
    {
        var rest = _bytes[_position..];
        var end = rest.IndexOf((byte)0);
        if (end < 0)
        {
            throw Malformed("a string without its terminating NUL");
        }

        _position += end + 1;
        return rest[..end];
    }

    /// <summary>The next <paramref name="count"/> bytes; advances past them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ReadOnlySpan<byte> Take(int count)
    {
        if ((uint)count > (uint)(_bytes.Length - _position))
        {
            ThrowEnd();
        }

        var taken = _bytes.Slice(_position, count);
        _position += count;
        return taken;
    }

    /// <summary>Skips <paramref name="count"/> bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Skip(ulong count)
    {
        if (count > (ulong)(_bytes.Length - _position))
        {
            ThrowEnd();
        }

        _position += (int)count;
    }

    public readonly MalformedFileException Malformed(string what) => _section.Malformed(_position, what);

    private readonly void ThrowEnd() => throw Malformed($"the data ends early (section size 0x{_bytes.Length:x})");
}
