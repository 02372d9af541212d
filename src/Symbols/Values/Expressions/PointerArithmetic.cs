using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>ISO C 6.5.6, 6.5.8 and 6.5.9 for pointers; gcc's sizes of void and functions (1).</summary>
internal sealed class PointerArithmetic(BasicTypes types)
{
    /// <summary>Bytes from one element to the next.</summary>
    public static long Stride(CType target) => target.Resolved is VoidType or FunctionType ? 1 : target.Size;

    /// <summary>At least one of both is a pointer. Null with the reason when C has no such operation.</summary>
    public Scalar? Combine(BinaryOperator operation, Scalar left, Scalar right, out string? refusal)
    {
        refusal = null;
        if (operation is >= BinaryOperator.Less and <= BinaryOperator.NotEqual)
        {
            // A number is taken as an address: -1 is the last one.
            var (a, b) = (Address(left), Address(right));
            return new Scalar(types.Int, Arithmetic.Compare(operation, a, b, isSigned: false) ? 1 : 0);
        }

        switch (operation)
        {
            case BinaryOperator.Add or BinaryOperator.Subtract when left.IsPointer != right.IsPointer && (left.IsPointer || operation == BinaryOperator.Add):
                var (pointer, index) = left.IsPointer ? (left, right.Bits) : (right, left.Bits);
                var bytes = unchecked(index * Stride(((PointerType)pointer.Type.Resolved).Target));
                return new Scalar(pointer.Type, Arithmetic.Convert(unchecked(operation == BinaryOperator.Add ? pointer.Bits + bytes : pointer.Bits - bytes), pointer.Type));
            case BinaryOperator.Subtract when left.IsPointer:
                var (one, other) = (Stride(((PointerType)left.Type.Resolved).Target), Stride(((PointerType)right.Type.Resolved).Target));
                if (one == other && one > 0)
                {
                    return new Scalar(types.PointerDifference, Arithmetic.Convert(unchecked(left.Bits - right.Bits), types.PointerDifference) / one);
                }

                refusal = $"the pointers point to different things ({left.Type} and {right.Type})";
                return null;
            default:
                refusal = "this operation takes numbers: cast the pointer to unsigned long first";
                return null;
        }
    }

    private long Address(Scalar value) => types.AddressSize == 4 ? (uint)value.Bits : value.Bits;
}
