using System.Buffers.Binary;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values;

/// <summary>A value with its type: in memory (an lvalue), or as bytes that were computed, or both. Immutable.</summary>
public sealed record TypedValue
{
    public required CType Type { get; init; }

    /// <summary>Where it lies in the guest's memory; null for what is in a register or was computed.</summary>
    public ulong? Address { get; init; }

    /// <summary>Its bytes, little-endian; empty while only the address is known (large structures are read when somebody looks into them).</summary>
    public ReadOnlyMemory<byte> Bytes { get; init; }

    /// <summary>Lowest bit of a bit field, from the first byte on.</summary>
    public int BitOffset { get; init; }

    /// <summary>Bits of a bit field; 0 for everything else.</summary>
    public int BitSize { get; init; }

    public Provenance Provenance { get; init; } = Provenance.Constant;

    /// <summary>Of a pointer that exists in debug information alone (DW_OP_implicit_pointer; it has no bytes): what it points to.</summary>
    public TypedValue? Target { get; init; }

    /// <summary>The bytes as a number (at most 8 of them), with sign when the type has one; null for structures, arrays and what was not read.</summary>
    public long? Number
    {
        get
        {
            if (Bytes.IsEmpty || Type.Resolved is StructType or ArrayType or FloatType or FunctionType)
            {
                return null;
            }

            Span<byte> wide = stackalloc byte[9];
            Bytes.Span[..Math.Min(Bytes.Length, wide.Length)].CopyTo(wide);
            var value = BinaryPrimitives.ReadUInt64LittleEndian(wide);
            var bits = Math.Min(64, Bytes.Length * 8);
            if (BitSize != 0)
            {
                value = BitOffset == 0 ? value : (value >> BitOffset) | ((ulong)wide[8] << (64 - BitOffset));
                bits = BitSize;
            }

            if (bits < 64)
            {
                var isSigned = Type.Resolved is IntegerType { IsSigned: true } or EnumType { IsSigned: true };
                value <<= 64 - bits;
                return isSigned ? (long)value >> (64 - bits) : (long)(value >> (64 - bits));
            }

            return (long)value;
        }
    }

    public static TypedValue OfNumber(CType type, ulong value, Provenance provenance = Provenance.Constant)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return new TypedValue { Type = type, Bytes = bytes.AsMemory(0, (int)Math.Clamp(type.Size == 0 ? 8 : type.Size, 1, 8)), Provenance = provenance };
    }
}
