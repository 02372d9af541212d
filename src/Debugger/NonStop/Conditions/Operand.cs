using KTrace.Symbols.Types;

namespace KTrace.Debugger.NonStop.Conditions;

/// <summary>An expression's value on the way: what <see cref="Symbols.Values.Expressions.Place"/> is at a stop.</summary>
/// <param name="Type">As C has it.</param>
internal sealed record Operand(CType Type)
{
    /// <summary>The value, extended as its type has it; null for what is in memory and was not read.</summary>
    public ConditionNode? Value { get; init; }

    /// <summary>Where it lies; null for what is in a register or was computed.</summary>
    public ConditionNode? Address { get; init; }

    /// <summary>The same for reading there: a pointer on the way that is NULL or an error makes the condition one that cannot be asked.</summary>
    public ConditionNode? Reading { get; init; }

    /// <summary>Lowest bit of a bit field, from the first byte on.</summary>
    public int BitOffset { get; init; }

    /// <summary>Bits of a bit field; 0 for everything else.</summary>
    public int BitSize { get; init; }

    public static Operand Computed(CType type, ConditionNode value) => new(type) { Value = value };

    public static Operand InMemory(CType type, ConditionNode address) => new(type) { Address = address, Reading = address };

    /// <summary>A part of what lies in memory, so many bytes further on.</summary>
    public Operand Part(CType type, ConditionNode offset) => new(type)
    {
        Address = Address is null ? null : ConditionNode.Add(Address, offset), Reading = Reading is null ? null : ConditionNode.Add(Reading, offset),
    };
}

/// <summary>A number or pointer with its type: what <see cref="Symbols.Values.Expressions.Scalar"/> is at a stop.</summary>
/// <param name="BitSize">Bits of the bit field that it was read from; 0 for everything else.</param>
internal readonly record struct Number(CType Type, ConditionNode Node, int BitSize = 0)
{
    public bool IsPointer => Type.Resolved is PointerType;

    public long? Constant => Node is ConditionNode.Constant { IsKernelAddress: false } constant ? constant.Bits : null;
}
