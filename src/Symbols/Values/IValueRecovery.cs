using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Values;

/// <summary>What becomes of a value where debug information ends: somebody who reads the machine code is asked. Implementations never guess.</summary>
public interface IValueRecovery
{
    /// <summary>What a register held when the function of a physical frame was entered; null when the code does not show it.</summary>
    /// <param name="stack">The stack in question.</param>
    /// <param name="frame">Index into <see cref="UnwindResult.Frames"/>; its function was called by the next one, or by a tail call from there.</param>
    /// <param name="register">Index in the architecture's register names.</param>
    ulong? RegisterAtEntry(UnwindResult stack, int frame, int register, IMemoryReader memory);

    /// <summary>
    /// What a word of the stack held when the function of a physical frame was entered: an argument that was passed there. Null when the code does not show it, or may have
    /// written over it.
    /// </summary>
    /// <param name="offset">Bytes from the frame's CFA: 0 is the word above the return address.</param>
    ulong? StackSlotAtEntry(UnwindResult stack, int frame, long offset, IMemoryReader memory);

    /// <summary>What a register held just before the instruction at <paramref name="address"/> of a frame's function, when this activation last passed there.</summary>
    /// <param name="address">A run-time address in the function, on the way that this activation must have taken.</param>
    ulong? RegisterAt(UnwindResult stack, int frame, ulong address, int register, IMemoryReader memory);
}
