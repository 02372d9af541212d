// The steps of conditions: a stack machine over words of the kernel's width. A step takes its operands from the top of the stack and leaves its result there; at the end one value is left, and a call counts when
// it is not 0. What C's types say about a value (its width, its sign) the steps say themselves: words are always extended as their type has it.
namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>One step of a <see cref="CompiledCondition"/>. Records of simple parts: equal text means equal code.</summary>
public abstract record ConditionStep
{
    /// <summary>How many steps that lie deeper than others may have unfinished values.</summary>
    public const int MaximumDepth = 8;

    /// <summary>Bytes of text that one step compares at most.</summary>
    public const int MaximumText = 32;

    /// <param name="IsKernelAddress">It lies in the kernel at link time: KASLR's displacement is added.</param>
    public sealed record Constant(ulong Value, bool IsKernelAddress = false) : ConditionStep;

    /// <summary>A register as it is at the function's entry; the stack pointer points to the return address.</summary>
    /// <param name="Number">The instruction set's: ax cx dx bx sp bp si di r8 … r15.</param>
    public sealed record EntryRegister(int Number) : ConditionStep;

    /// <summary>The address of the current task_struct; 0 where it is not known.</summary>
    public sealed record CurrentTask : ConditionStep;

    public sealed record CpuNumber : ConditionStep;

    /// <summary>An address is taken, and what lies there is left.</summary>
    /// <param name="Offset">Bytes that are added to the address.</param>
    /// <param name="Bytes">1 to 8, that may be touched.</param>
    /// <param name="IsOwnTask">It surely lies in the current task_struct, and needs no look at page tables.</param>
    public sealed record Load(int Offset, int Bytes, bool IsSigned, bool IsOwnTask) : ConditionStep;

    /// <summary>An address is taken; 1 is left where the text lies there, 0 otherwise. Bytes of a text that has ended are not touched.</summary>
    /// <param name="Text">A character for each byte; the last may be NUL.</param>
    /// <param name="IsPointer">NULL is no text.</param>
    public sealed record TextEquals(int Offset, string Text, bool IsPointer, bool IsOwnTask) : ConditionStep;

    /// <summary>Takes bits out of a word, and extends them.</summary>
    public sealed record Field(int BitOffset, int BitSize, bool IsSigned) : ConditionStep;

    public sealed record Operate(ConditionOperation Operation) : ConditionStep;

    /// <summary>The value stays; where it is 0 (or, with <paramref name="IsPointer"/>, an error), the condition cannot be asked.</summary>
    public sealed record Require(bool IsPointer) : ConditionStep;

    /// <summary>The value stays; where it is not less, without sign, the condition cannot be asked.</summary>
    public sealed record RequireLess(int Limit) : ConditionStep;

    /// <summary>Where the value's truth is this one, it becomes 1 or 0 and the step with number <paramref name="Target"/> is next; otherwise it is taken.</summary>
    public sealed record SkipIf(bool Truth, int Target) : ConditionStep;

    /// <summary>The value is taken; where it is 0, the step with number <paramref name="Target"/> is next.</summary>
    public sealed record JumpIfZero(int Target) : ConditionStep;

    /// <summary>The other way of a choice begins behind it: as if the value were not there.</summary>
    public sealed record Jump(int Target) : ConditionStep;
}

/// <summary>What <see cref="ConditionStep.Operate"/> does. Comparisons leave 1 or 0.</summary>
public enum ConditionOperation
{
    Negate,
    Complement,
    IsZero,
    IsNotZero,
    SwapBytes32,

    // From here on of two values, the right one on top.
    Add,
    Subtract,
    Multiply,
    And,
    Or,
    ExclusiveOr,
    ShiftLeft,
    ShiftRight,
    ShiftRightSigned,

    /// <summary>By 0: the condition cannot be asked. By −1: the left one is negated.</summary>
    DivideSigned,
    Divide,
    RemainderSigned,
    Remainder,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    LessSigned,
    LessOrEqualSigned,
    GreaterSigned,
    GreaterOrEqualSigned,
}
