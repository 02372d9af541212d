// The syntax tree of expressions: ISO C 6.5, with gdb's @ and the kernel's macros that debug information cannot know.
using System.Collections.Immutable;

namespace KTrace.Symbols.Values.Expressions;

internal enum UnaryOperator
{
    Plus,
    Minus,
    Complement,
    Not,
    Dereference,
    AddressOf,
}

internal enum BinaryOperator
{
    Multiply,
    Divide,
    Remainder,
    Add,
    Subtract,
    Slice,
    ShiftLeft,
    ShiftRight,
    Less,
    Greater,
    LessOrEqual,
    GreaterOrEqual,
    Equal,
    NotEqual,
    Matches,
    And,
    ExclusiveOr,
    Or,
    LogicalAnd,
    LogicalOr,
}

/// <summary>Macros of the kernel that take values. See <see cref="Parser"/> for those that take types.</summary>
internal enum Macro
{
    /// <summary><c>per_cpu(variable, cpu)</c></summary>
    PerCpu,

    /// <summary><c>per_cpu_ptr(pointer, cpu)</c></summary>
    PerCpuPointer,

    /// <summary><c>this_cpu(variable)</c>, <c>this_cpu_read(variable)</c></summary>
    ThisCpu,

    /// <summary><c>this_cpu_ptr(pointer)</c></summary>
    ThisCpuPointer,

    IsError,
    IsErrorOrNull,
    PointerError,
    ArraySize,

    /// <summary><c>ntohs</c>, <c>be16_to_cpu</c></summary>
    BigEndian16,

    /// <summary><c>ntohl</c>, <c>be32_to_cpu</c></summary>
    BigEndian32,
}

/// <param name="Start">Characters from the text's start.</param>
/// <param name="Depth">Nodes on the longest way down; evaluation recurses so deep.</param>
internal abstract record Syntax(int Start, int End, int Depth)
{
    internal sealed record Number(int Start, int End, ulong Value, string Suffix, bool IsDecimal) : Syntax(Start, End, 1);

    internal sealed record Character(int Start, int End, byte Value) : Syntax(Start, End, 1);

    internal sealed record Text(int Start, int End, byte[] Bytes) : Syntax(Start, End, 1);

    /// <param name="Name"><c>file.c:name</c> when scoped.</param>
    internal sealed record Identifier(int Start, int End, string Name, bool IsScoped) : Syntax(Start, End, 1);

    internal sealed record Register(int Start, int End, string Name) : Syntax(Start, End, 1);

    internal sealed record Unary(int Start, int End, UnaryOperator Operator, Syntax Operand) : Syntax(Start, End, Operand.Depth + 1);

    internal sealed record Binary(BinaryOperator Operator, Syntax Left, Syntax Right, int OperatorStart)
        : Syntax(Left.Start, Right.End, Math.Max(Left.Depth, Right.Depth) + 1);

    internal sealed record Conditional(Syntax Condition, Syntax Then, Syntax Otherwise)
        : Syntax(Condition.Start, Otherwise.End, Math.Max(Condition.Depth, Math.Max(Then.Depth, Otherwise.Depth)) + 1);

    internal sealed record MemberAccess(Syntax Operand, string Name, int NameStart, int End) : Syntax(Operand.Start, End, Operand.Depth + 1);

    internal sealed record Index(Syntax Array, Syntax Subscript, int End) : Syntax(Array.Start, End, Math.Max(Array.Depth, Subscript.Depth) + 1);

    internal sealed record Cast(int Start, TypeName Type, Syntax Operand) : Syntax(Start, Operand.End, Operand.Depth + 1);

    internal sealed record SizeOfType(int Start, int End, TypeName Type) : Syntax(Start, End, 1);

    internal sealed record SizeOf(int Start, int End, Syntax Operand) : Syntax(Start, End, Operand.Depth + 1);

    internal sealed record OffsetOf(int Start, int End, TypeName Type, ImmutableArray<Designator> Path) : Syntax(Start, End, 1);

    internal sealed record ContainerOf(int Start, int End, Syntax Pointer, TypeName Type, ImmutableArray<Designator> Path) : Syntax(Start, End, Pointer.Depth + 1);

    internal sealed record MacroCall(int Start, int End, Macro Macro, Syntax First, Syntax? Second)
        : Syntax(Start, End, Math.Max(First.Depth, Second?.Depth ?? 0) + 1);
}

/// <summary>A type as it was written; what it means is asked of the scope's types.</summary>
internal sealed record TypeName(string Text, int Start, int End);

/// <summary>One step into a type: a member's name, or an index.</summary>
internal readonly record struct Designator(string? Name, long Index, int Start, int End);
