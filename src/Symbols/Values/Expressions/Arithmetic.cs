// ISO C 6.3.1 (promotions, usual arithmetic conversions) and 6.5 (what operators compute), for two's complement and at most 64 bits. Where C leaves a result undefined:
// signed overflow wraps, the smallest number divided by -1 is itself; shifts by too much are refused, as people mean something else by them.
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>A number or pointer with its type.</summary>
/// <param name="Bits">Extended to 64 bits, with sign where the type has one.</param>
/// <param name="BitSize">Bits of the bit field that it was read from; 0 for everything else.</param>
internal readonly record struct Scalar(CType Type, long Bits, int BitSize = 0)
{
    public bool IsPointer => Type.Resolved is PointerType;
}

/// <summary>What C's operators do with numbers.</summary>
internal static class Arithmetic
{
    public static bool IsSigned(CType type) => type.Resolved is IntegerType { IsSigned: true } or EnumType { IsSigned: true };

    /// <summary>The value as the type holds it: truncated, then extended to 64 bits.</summary>
    public static long Convert(long bits, CType type)
    {
        if (type.Resolved is IntegerType { Encoding: IntegerEncoding.Boolean })
        {
            return bits != 0 ? 1 : 0;
        }

        var size = type.Size;
        if (size is <= 0 or >= 8)
        {
            return bits;
        }

        var shift = 64 - ((int)size * 8);
        return IsSigned(type) ? bits << shift >> shift : (long)((ulong)bits << shift >> shift);
    }

    /// <summary>6.3.1.1: what is narrower than int becomes int; a bit field does whenever int can hold its values.</summary>
    public static CType Promote(Scalar value, BasicTypes types)
    {
        var type = value.Type.Resolved;
        if (type.Size < 4 || type is IntegerType { Encoding: IntegerEncoding.Boolean } || value.BitSize is > 0 and < 32)
        {
            return types.Int;
        }

        if (value.BitSize == 32)
        {
            return IsSigned(type) ? types.Int : types.UnsignedInt;
        }

        return type is EnumType enumeration
            ? enumeration.Size > 4 ? enumeration.IsSigned ? types.Long : types.UnsignedLong : enumeration.IsSigned ? types.Int : types.UnsignedInt
            : type;
    }

    /// <summary>6.3.1.8 for two promoted types.</summary>
    public static CType Common(CType left, CType right, BasicTypes types)
    {
        var (leftRank, rightRank) = (Rank(left), Rank(right));
        if (IsSigned(left) == IsSigned(right))
        {
            return leftRank >= rightRank ? left : right;
        }

        var (signed, unsigned, signedRank, unsignedRank) = IsSigned(left) ? (left, right, leftRank, rightRank) : (right, left, rightRank, leftRank);
        if (unsignedRank >= signedRank)
        {
            return unsigned;
        }

        return signed.Size > unsigned.Size ? signed : Unsigned(signed, types);
    }

    /// <summary>Null when the operation has no result: the message says why.</summary>
    public static long? Compute(BinaryOperator operation, long left, long right, CType type, out string? refusal)
    {
        refusal = null;
        var isSigned = IsSigned(type);
        switch (operation)
        {
            case BinaryOperator.Multiply:
                return Convert(unchecked(left * right), type);
            case BinaryOperator.Add:
                return Convert(unchecked(left + right), type);
            case BinaryOperator.Subtract:
                return Convert(unchecked(left - right), type);
            case BinaryOperator.And:
                return left & right;
            case BinaryOperator.Or:
                return left | right;
            case BinaryOperator.ExclusiveOr:
                return left ^ right;
            case BinaryOperator.Divide or BinaryOperator.Remainder when right == 0:
                refusal = "division by zero";
                return null;
            case BinaryOperator.Divide when isSigned:
                return Convert(right == -1 ? unchecked(-left) : left / right, type);
            case BinaryOperator.Divide:
                return (long)((ulong)left / (ulong)right);
            case BinaryOperator.Remainder when isSigned:
                return right == -1 ? 0 : left % right;
            case BinaryOperator.Remainder:
                return (long)((ulong)left % (ulong)right);
            default:
                throw new ArgumentOutOfRangeException(nameof(operation));
        }
    }

    public static bool Compare(BinaryOperator operation, long left, long right, bool isSigned)
    {
        var order = isSigned ? left.CompareTo(right) : ((ulong)left).CompareTo((ulong)right);
        return operation switch
        {
            BinaryOperator.Less => order < 0,
            BinaryOperator.Greater => order > 0,
            BinaryOperator.LessOrEqual => order <= 0,
            BinaryOperator.GreaterOrEqual => order >= 0,
            BinaryOperator.Equal => order == 0,
            _ => order != 0,
        };
    }

    /// <summary>int and long may have the same size, and differ all the same.</summary>
    private static int Rank(CType type) =>
        ((int)type.Size * 4) + (type.Name.Contains("long long", StringComparison.Ordinal) ? 2 : type.Name.Contains("long", StringComparison.Ordinal) ? 1 : 0);

    private static IntegerType Unsigned(CType signed, BasicTypes types) => (Rank(signed) % 4) switch
    {
        0 => types.UnsignedInt,
        1 => types.UnsignedLong,
        _ => types.UnsignedLongLong,
    };
}
