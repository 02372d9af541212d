using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Symbols.Types;
using KTrace.Symbols.Values.Expressions;

namespace KTrace.Debugger.NonStop.Conditions;

/// <summary>C's operators over nodes, with the conversions of <see cref="Arithmetic"/> and <see cref="PointerArithmetic"/>.</summary>
internal sealed class OperatorLowering(BasicTypes types, Evaluation state)
{
    private int WordBits => 8 * types.AddressSize;

    /// <exception cref="UncompilableException">A number does not fit into a register.</exception>
    public void CheckSize(CType type)
    {
        if (type.Size > types.AddressSize)
        {
            throw new UncompilableException($"{Evaluation.Article(type)} has more than {WordBits} bits");
        }
    }

    public CType Promote(Number value)
    {
        CheckSize(value.Type);
        return Arithmetic.Promote(new Scalar(value.Type, 0, value.BitSize), types);
    }

    /// <summary>The value as the type holds it.</summary>
    public ConditionNode Convert(ConditionNode value, CType type)
    {
        CheckSize(type);
        return value is ConditionNode.Constant { IsKernelAddress: false } constant ? new ConditionNode.Constant(Arithmetic.Convert(constant.Bits, type))
            : type.Resolved is IntegerType { Encoding: IntegerEncoding.Boolean } ? new ConditionNode.Unary(ConditionOperation.IsNotZero, value)
            : type.Size <= 0 ? value
            : ConditionNode.Extend(value, 8 * (int)type.Size, Arithmetic.IsSigned(type), WordBits);
    }

    /// <exception cref="UncompilableException">C has no such operation, or it has no result.</exception>
    public Operand Combine(Syntax.Binary node, Number left, Number right)
    {
        if (left.IsPointer || right.IsPointer)
        {
            return CombinePointers(node.Operator, left, right);
        }

        var (leftType, rightType) = (Promote(left), Promote(right));
        if (node.Operator is BinaryOperator.ShiftLeft or BinaryOperator.ShiftRight)
        {
            return Shift(node, left, right, leftType);
        }

        var type = Arithmetic.Common(leftType, rightType, types);
        CheckSize(type);
        var (a, b) = (Convert(left.Node, type), Convert(right.Node, type));
        var isSigned = Arithmetic.IsSigned(type);
        if (node.Operator is >= BinaryOperator.Less and <= BinaryOperator.NotEqual)
        {
            return Operand.Computed(types.Int, new ConditionNode.Binary(ComparisonOf(node.Operator, isSigned), a, b));
        }

        if (a is ConditionNode.Constant { IsKernelAddress: false } known && b is ConditionNode.Constant { IsKernelAddress: false } other)
        {
            return Arithmetic.Compute(node.Operator, known.Bits, other.Bits, type, out var refusal) is { } computed
                ? Operand.Computed(type, new ConditionNode.Constant(computed))
                : throw new UncompilableException($"{refusal}: {state.Text(node.Right)} is 0");
        }

        return Operand.Computed(type, Convert(node.Operator == BinaryOperator.Add ? ConditionNode.Add(a, b) : new ConditionNode.Binary(OperationOf(node.Operator, isSigned), a, b), type));
    }

    private Operand Shift(Syntax.Binary node, Number left, Number right, CType type)
    {
        var bits = 8 * (int)type.Size;
        if (right.Constant is { } known && (known < 0 || known >= bits))
        {
            throw new UncompilableException($"a shift by {known} of {bits} bits");
        }

        var by = right.Constant is null ? new ConditionNode.RequiredLess(right.Node, bits) : right.Node;
        var operation = node.Operator == BinaryOperator.ShiftLeft ? ConditionOperation.ShiftLeft : Arithmetic.IsSigned(type) ? ConditionOperation.ShiftRightSigned : ConditionOperation.ShiftRight;
        return Operand.Computed(type, Convert(new ConditionNode.Binary(operation, left.Node, by), type));
    }

    private Operand CombinePointers(BinaryOperator operation, Number left, Number right)
    {
        switch (operation)
        {
            case >= BinaryOperator.Less and <= BinaryOperator.NotEqual:
                return Operand.Computed(types.Int, new ConditionNode.Binary(ComparisonOf(operation, isSigned: false), left.Node, right.Node));
            case BinaryOperator.Add or BinaryOperator.Subtract when left.IsPointer != right.IsPointer && (left.IsPointer || operation == BinaryOperator.Add):
                var (pointer, index) = left.IsPointer ? (left, right.Node) : (right, left.Node);
                var stride = PointerArithmetic.Stride(((PointerType)pointer.Type.Resolved).Target);
                return Operand.Computed(pointer.Type, ConditionNode.Add(pointer.Node, ConditionNode.Scale(index, operation == BinaryOperator.Add ? stride : -stride)));
            case BinaryOperator.Subtract when left.IsPointer:
                var (one, other) = (PointerArithmetic.Stride(((PointerType)left.Type.Resolved).Target), PointerArithmetic.Stride(((PointerType)right.Type.Resolved).Target));
                if (one != other || one <= 0)
                {
                    throw new UncompilableException($"the pointers point to different things ({left.Type} and {right.Type})");
                }

                var bytes = new ConditionNode.Binary(ConditionOperation.Subtract, left.Node, right.Node);
                return Operand.Computed(types.PointerDifference, one == 1 ? bytes : new ConditionNode.Binary(ConditionOperation.DivideSigned, bytes, new ConditionNode.Constant(one)));
            default:
                throw new UncompilableException("this operation takes numbers: cast the pointer to unsigned long first");
        }
    }

    private static ConditionOperation ComparisonOf(BinaryOperator operation, bool isSigned) => operation switch
    {
        BinaryOperator.Equal => ConditionOperation.Equal,
        BinaryOperator.NotEqual => ConditionOperation.NotEqual,
        BinaryOperator.Less => isSigned ? ConditionOperation.LessSigned : ConditionOperation.Less,
        BinaryOperator.LessOrEqual => isSigned ? ConditionOperation.LessOrEqualSigned : ConditionOperation.LessOrEqual,
        BinaryOperator.Greater => isSigned ? ConditionOperation.GreaterSigned : ConditionOperation.Greater,
        _ => isSigned ? ConditionOperation.GreaterOrEqualSigned : ConditionOperation.GreaterOrEqual,
    };

    private static ConditionOperation OperationOf(BinaryOperator operation, bool isSigned) => operation switch
    {
        BinaryOperator.Subtract => ConditionOperation.Subtract,
        BinaryOperator.Multiply => ConditionOperation.Multiply,
        BinaryOperator.And => ConditionOperation.And,
        BinaryOperator.Or => ConditionOperation.Or,
        BinaryOperator.ExclusiveOr => ConditionOperation.ExclusiveOr,
        BinaryOperator.Divide => isSigned ? ConditionOperation.DivideSigned : ConditionOperation.Divide,
        BinaryOperator.Remainder => isSigned ? ConditionOperation.RemainderSigned : ConditionOperation.Remainder,
        _ => throw new ArgumentOutOfRangeException(nameof(operation)),
    };
}
