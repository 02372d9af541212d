// What a condition computes, between C and machine steps: types are gone, words are left, extended as the type of each value has it. Additions of constants are folded here, so that members of members and
// addresses of variables cost nothing in the guest.
using KTrace.Debugger.NonStop.Trampolines;

namespace KTrace.Debugger.NonStop.Conditions;

/// <summary>A word that is computed at a hit.</summary>
internal abstract record ConditionNode
{
    /// <param name="IsKernelAddress">It lies in the kernel, at link time.</param>
    internal sealed record Constant(long Bits, bool IsKernelAddress = false) : ConditionNode;

    internal sealed record Register(int Number) : ConditionNode;

    internal sealed record Task : ConditionNode;

    internal sealed record Cpu : ConditionNode;

    /// <param name="BitSize">Bits of a bit field, whose lowest is <paramref name="BitOffset"/>; 0 for a number of so many bytes.</param>
    internal sealed record Load(ConditionNode Address, int Bytes, bool IsSigned, int BitOffset = 0, int BitSize = 0) : ConditionNode;

    /// <summary>The lowest bits, extended.</summary>
    internal sealed record Widen(ConditionNode Value, int Bits, bool IsSigned) : ConditionNode;

    internal sealed record Unary(ConditionOperation Operation, ConditionNode Value) : ConditionNode;

    internal sealed record Binary(ConditionOperation Operation, ConditionNode Left, ConditionNode Right) : ConditionNode;

    /// <summary>The value, which must not be 0 (with <paramref name="IsPointer"/>: nor an error) for the condition to be asked.</summary>
    internal sealed record Required(ConditionNode Value, bool IsPointer) : ConditionNode;

    /// <summary>The value, which must be less without sign.</summary>
    internal sealed record RequiredLess(ConditionNode Value, int Limit) : ConditionNode;

    internal sealed record Text(ConditionNode Address, string Wanted, bool IsPointer) : ConditionNode;

    internal sealed record Logical(bool IsOr, ConditionNode Left, ConditionNode Right) : ConditionNode;

    internal sealed record Choice(ConditionNode Condition, ConditionNode Then, ConditionNode Otherwise) : ConditionNode;

    /// <summary>The sum; what is constant in it is one constant, on the right.</summary>
    public static ConditionNode Add(ConditionNode left, ConditionNode right) => (left, right) switch
    {
        (_, Constant { Bits: 0, IsKernelAddress: false }) => left,
        (Constant { Bits: 0, IsKernelAddress: false }, _) => right,
        (Constant a, Constant b) when !(a.IsKernelAddress && b.IsKernelAddress) => new Constant(unchecked(a.Bits + b.Bits), a.IsKernelAddress || b.IsKernelAddress),
        (Constant { IsKernelAddress: false }, _) => Add(right, left),
        (Binary { Operation: ConditionOperation.Add, Right: Constant inner } sum, Constant outer) => Add(sum.Left, Add(inner, outer)),
        _ => new Binary(ConditionOperation.Add, left, right),
    };

    /// <summary>The product with a constant.</summary>
    public static ConditionNode Scale(ConditionNode value, long factor) => value switch
    {
        _ when factor == 1 => value,
        Constant { IsKernelAddress: false } constant => new Constant(unchecked(constant.Bits * factor)),
        _ => new Binary(ConditionOperation.Multiply, value, new Constant(factor)),
    };

    /// <summary>The lowest bits, extended; nothing happens where they are so already.</summary>
    /// <param name="word">Bits of a word.</param>
    public static ConditionNode Extend(ConditionNode value, int bits, bool isSigned, int word)
    {
        if (bits >= word)
        {
            return value;
        }

        var (known, knownSigned) = value switch
        {
            Load load => (load.BitSize != 0 ? load.BitSize : load.Bytes * 8, load.IsSigned),
            Widen widen => (widen.Bits, widen.IsSigned),
            Unary { Operation: ConditionOperation.IsZero or ConditionOperation.IsNotZero } or Binary { Operation: >= ConditionOperation.Equal } or Logical or Text => (1, false),
            _ => (word, false),
        };
        return (known == bits && knownSigned == isSigned) || (known < bits && (!knownSigned || isSigned)) ? value : new Widen(value, bits, isSigned);
    }
}
