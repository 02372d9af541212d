namespace KTrace.Symbols.Disassembly;

/// <summary>What an operand is.</summary>
internal enum OperandKind : byte
{
    None,
    Register,
    Immediate,
    Memory,

    /// <summary>A register that is no general one (segment, control, vector).</summary>
    OtherRegister,
}

/// <summary>One explicit operand.</summary>
/// <param name="Size">Bytes.</param>
/// <param name="IsHighByte">ah, bh, ch or dh.</param>
/// <param name="Register">Index of the general register (<see cref="Arch.Architecture.RegisterNames"/>); of memory the base, or -1; <see cref="ProgramCounterBase"/> for rip-relative.</param>
/// <param name="IndexRegister">Of memory, or -1.</param>
/// <param name="Scale">Of the index: 1, 2, 4 or 8.</param>
/// <param name="HasSegment">An fs or gs prefix: a per-cpu or thread-local address.</param>
/// <param name="Number">The immediate, the branch target, or the displacement; of rip-relative memory the absolute address.</param>
internal readonly record struct MachineOperand(
    OperandKind Kind, byte Size, bool IsHighByte, sbyte Register, sbyte IndexRegister, byte Scale, bool HasSegment, long Number)
{
    public const sbyte NoRegister = -1;
    public const sbyte ProgramCounterBase = -2;

    public bool IsRegister => Kind == OperandKind.Register;

    public bool IsMemory => Kind == OperandKind.Memory;

    public bool IsImmediate => Kind == OperandKind.Immediate;
}
