namespace KTrace.Symbols.Recovery;

/// <summary>
/// Where a value that the machine code computed can still be found, in terms of one frame's registers and stack. It holds for every activation that stands at the same place,
/// so it is worked out once per place and then only followed.
/// </summary>
public abstract record ValueRecipe
{
    private ValueRecipe()
    {
    }

    /// <summary>How many low bits of the result are the value's: 8, 16, 32 or 64 (a 32-bit move keeps 32 of a register's). All of a word on i386 is 32.</summary>
    public int Bits { get; init; } = 64;

    /// <summary>The code loads a number (an address of the object is at link time; see <paramref name="IsAddress"/>).</summary>
    /// <param name="IsAddress">The number is an address inside the object, to which the slide is added.</param>
    public sealed record Constant(ulong Value, bool IsAddress) : ValueRecipe;

    /// <summary>A register of the frame as it stands, plus a number.</summary>
    public sealed record Register(int Index, long Addend) : ValueRecipe;

    /// <summary>A slot of the frame's stack that nothing has overwritten.</summary>
    /// <param name="CfaOffset">Bytes from the frame's CFA (the stack pointer in the caller's frame).</param>
    /// <param name="Size">Bytes of the slot: 1, 2, 4 or 8.</param>
    public sealed record StackSlot(long CfaOffset, int Size, long Addend) : ValueRecipe;

    /// <summary>The frame's CFA plus a number: the address of something on the stack.</summary>
    public sealed record StackAddress(long CfaOffset) : ValueRecipe;

    /// <summary>What a register held when the function was entered, plus a number: the caller's frame is asked next.</summary>
    public sealed record EntryRegister(int Index, long Addend) : ValueRecipe;

    /// <summary>What stood on the stack above the return address when the function was entered (an argument that the caller pushed), plus a number: the caller's frame is asked next.</summary>
    /// <param name="CfaOffset">Bytes from the CFA: 0 is the word above the return address.</param>
    public sealed record EntrySlot(long CfaOffset, int Size, long Addend) : ValueRecipe;

    /// <summary>What the call that is under way passes in a register, plus a number: the function that was called may still know it.</summary>
    public sealed record Passed(int Index, long Addend) : ValueRecipe;

    /// <summary>What that call passes on the stack, plus a number.</summary>
    /// <param name="CfaOffset">Bytes from the called function's CFA.</param>
    public sealed record PassedSlot(long CfaOffset, int Size, long Addend) : ValueRecipe;
}
