// Arithmetic of DWARF expressions: DWARF 5, sections 2.5.1.4 and 2.5.1.5. A value has the generic type (an integer of an address' size, of no particular sign: division
// and comparison take it as signed, the rest and the remainder as unsigned) or a base type of 1 to 8 bytes. Kept in 64 bits: signed types sign-extended, all others
// zero-extended. Floating point numbers can be moved and converted, and not reckoned with: kernels have none.
namespace KTrace.Symbols.Dwarf.Locations;

/// <summary>Operators over typed values. A type is 0 (generic) or DW_ATE_* in the upper byte and the size in the lower.</summary>
internal static class ExpressionArithmetic
{
    private const int Boolean = 2, Float = 4, Signed = 5, SignedCharacter = 6;

    public static bool IsFloat(ushort type) => type >> 8 == Float;

    /// <summary>Brings bits into the form in which a value of that type is kept.</summary>
    public static ulong Normalize(ulong value, ushort type, int addressSize)
    {
        var bits = (type == 0 ? addressSize : type & 0xff) * 8;
        if (bits >= 64)
        {
            return value;
        }

        value <<= 64 - bits;
        return type >> 8 is Signed or SignedCharacter ? (ulong)((long)value >> (64 - bits)) : value >> (64 - bits);
    }

    /// <summary>Sign-extends a generic value.</summary>
    public static long AsSigned(ulong value, ushort type, int addressSize) =>
        type == 0 && addressSize == 4 ? (int)value : (long)value;

    /// <summary>DW_OP_convert. False for a floating-point size that does not exist.</summary>
    public static bool TryConvert(ulong value, ushort from, ushort to, int addressSize, out ulong converted)
    {
        converted = value;
        if (!IsFloat(from) && !IsFloat(to))
        {
            converted = to >> 8 == Boolean ? value == 0 ? 0u : 1u : Normalize(value, to, addressSize);
            return true;
        }

        double number;
        if (!IsFloat(from))
        {
            number = from == 0 || IsSigned(from) ? AsSigned(value, from, addressSize) : value;
        }
        else if ((from & 0xff) is 4 or 8)
        {
            number = (from & 0xff) == 4 ? BitConverter.UInt32BitsToSingle((uint)value) : BitConverter.UInt64BitsToDouble(value);
        }
        else
        {
            return false;
        }

        if (!IsFloat(to))
        {
            converted = Normalize(number < 0 || IsSigned(to) ? (ulong)(long)number : (ulong)number, to, addressSize);
            return true;
        }

        converted = (to & 0xff) == 4 ? BitConverter.SingleToUInt32Bits((float)number) : BitConverter.DoubleToUInt64Bits(number);
        return (to & 0xff) is 4 or 8;
    }

    /// <summary>DW_OP_abs, neg and not.</summary>
    public static ulong Unary(byte op, ulong value, ushort type, int addressSize)
    {
        var signed = type == 0 || IsSigned(type);
        return Normalize(op switch
        {
            DwOp.Abs => signed && AsSigned(value, type, addressSize) < 0 ? 0 - value : value,
            DwOp.Neg => 0 - value,
            _ => ~value,
        }, type, addressSize);
    }

    /// <summary>An operator of two values of one type. False for an unknown operator and for a division by zero. A comparison's result is generic.</summary>
    public static bool TryBinary(byte op, ulong a, ulong b, ushort type, int addressSize, out ulong result, out ushort resultType)
    {
        resultType = op is >= DwOp.Eq and <= DwOp.Ne ? (ushort)0 : type;
        result = 0;
        var isSigned = type == 0 || IsSigned(type);
        var (left, right) = (AsSigned(a, type, addressSize), AsSigned(b, type, addressSize));
        var width = (type == 0 ? addressSize : type & 0xff) * 8;
        switch (op)
        {
            case DwOp.And:
                result = a & b;
                break;
            case DwOp.Or:
                result = a | b;
                break;
            case DwOp.Xor:
                result = a ^ b;
                break;
            case DwOp.Plus:
                result = a + b;
                break;
            case DwOp.Minus:
                result = a - b;
                break;
            case DwOp.Mul:
                result = a * b;
                break;
            case DwOp.Div or DwOp.Mod when b == 0:
                return false;
            case DwOp.Div:
                result = !isSigned ? a / b : right == -1 ? 0 - (ulong)left : (ulong)(left / right);
                break;
            case DwOp.Mod:
                // Only the remainder of a signed base type has a sign.
                result = type == 0 || !isSigned ? a % b : right == -1 ? 0 : (ulong)(left % right);
                break;
            case DwOp.Shl:
                result = b >= (ulong)width ? 0 : a << (int)b;
                break;
            case DwOp.Shr:
                result = b >= (ulong)width ? 0 : Normalize(a, (ushort)(type == 0 ? 0 : (7 << 8) | (type & 0xff)), addressSize) >> (int)b;
                break;
            case DwOp.Shra:
                var extended = (long)(a << (64 - width)) >> (64 - width);
                result = (ulong)(extended >> (int)Math.Min(b, 63));
                break;
            case DwOp.Eq:
                result = a == b ? 1u : 0;
                return true;
            case DwOp.Ne:
                result = a != b ? 1u : 0;
                return true;
            case DwOp.Lt or DwOp.Le or DwOp.Gt or DwOp.Ge:
                var order = isSigned ? left.CompareTo(right) : a.CompareTo(b);
                result = (op == DwOp.Lt ? order < 0 : op == DwOp.Le ? order <= 0 : op == DwOp.Gt ? order > 0 : order >= 0) ? 1u : 0;
                return true;
            default:
                return false;
        }

        result = Normalize(result, type, addressSize);
        return true;
    }

    private static bool IsSigned(ushort type) => type >> 8 is Signed or SignedCharacter;
}
