using Gee.External.Capstone.X86;

namespace KTrace.Symbols.Disassembly;

/// <summary>One decoded instruction, for those who compute with it (people get <see cref="Instruction"/>).</summary>
internal struct MachineInstruction
{
    public ulong Address;
    public X86InstructionId Id;
    public byte Length;
    public byte OperandCount;

    /// <summary>A rep, repe or repne prefix: it may run any number of times, none too.</summary>
    public bool HasRepeat;

    /// <summary>The operand-size prefix.</summary>
    public bool HasNarrowPrefix;

    /// <summary>General registers that it writes without naming them, as far as Capstone knows; a bit each.</summary>
    public uint ImplicitlyWritten;

    public MachineOperand First, Second, Third, Fourth;

    public readonly ulong End => Address + Length;

    public readonly MachineOperand Operand(int index) => index switch
    {
        0 => First,
        1 => Second,
        2 => Third,
        _ => Fourth,
    };
}
