// One form for every source of unwinding facts: DWARF call frame information (DWARF 5, section 6.4), the kernel's ORC
// tables (arch/x86/include/asm/orc_types.h) and frame pointers. ORC knows more about the shape of a frame (pt_regs, iret
// frame, end of the stack), CFI knows more registers; a row has room for both.
using System.Collections.Immutable;
using KTrace.Symbols.Dwarf;

namespace KTrace.Symbols.Unwind;

/// <summary>What stands at the frame address that a row computes.</summary>
public enum FrameShape : byte
{
    /// <summary>An ordinary call: the CFA is the caller's stack pointer, the register rules say the rest (the return address too).</summary>
    Call,

    /// <summary>A whole struct pt_regs stands at the frame address.</summary>
    SavedRegisters,

    /// <summary>Only the processor's interrupt frame (ip, cs, flags, sp, ss) stands at the frame address.</summary>
    InterruptFrame,

    /// <summary>Nothing called this code.</summary>
    EndOfStack,
}

/// <summary>How the frame address is computed.</summary>
public enum CfaKind : byte
{
    /// <summary>register + Offset.</summary>
    Register,

    /// <summary>the word at [register + Offset], plus OffsetAfter: the stack was switched, or realigned.</summary>
    Dereferenced,

    /// <summary>A DWARF expression's value.</summary>
    Expression,
}

/// <summary>The frame address: for a call the caller's stack pointer, otherwise where the saved registers stand.</summary>
/// <param name="Register">DWARF register number.</param>
/// <param name="Offset">Bytes, added to the register.</param>
/// <param name="OffsetAfter">Bytes, added after the dereference.</param>
public readonly record struct CfaRule(CfaKind Kind, int Register, long Offset, long OffsetAfter = 0, CallFrameExpression? Expression = null);

/// <summary>How one register of the caller is found (DWARF 5, section 6.4.1).</summary>
public enum RegisterRuleKind : byte
{
    /// <summary>Nothing is said: the ABI decides (callee-saved registers keep their value, the others are lost).</summary>
    Unspecified,

    Undefined,

    SameValue,

    /// <summary>Saved in memory at CFA + Offset.</summary>
    AtCfa,

    /// <summary>Its value is CFA + Offset.</summary>
    CfaPlus,

    /// <summary>It is in register number Offset.</summary>
    InRegister,

    /// <summary>Saved in memory at (its own present value) + Offset: ORC's bp rule for realigned stacks.</summary>
    AtSelf,

    /// <summary>Saved in memory at the expression's value.</summary>
    AtExpression,

    /// <summary>Its value is the expression's value.</summary>
    Expression,
}

/// <summary>One register's rule.</summary>
public readonly record struct RegisterRule(RegisterRuleKind Kind, long Offset = 0, CallFrameExpression? Expression = null);

/// <summary>A register's number beside its rule.</summary>
public readonly record struct SavedRegister(int Register, RegisterRule Rule);

/// <summary>How to find the caller of code at one address. Immutable; addresses do not occur in it, so it holds at any slide.</summary>
/// <param name="Rule">Which source made it.</param>
/// <param name="Shape">What stands at the frame address.</param>
/// <param name="Cfa">The frame address; meaningless for <see cref="FrameShape.EndOfStack"/>.</param>
/// <param name="Saved">Registers about which something is said; the return address is the rule of the pc. Empty for pt_regs.</param>
/// <param name="IsInterrupted">
/// The caller's pc is not a return address but the instruction that was interrupted (CFI's "S" augmentation, ORC's signal flag).
/// </param>
/// <param name="KeepsCalleeSaved">
/// Registers without a rule follow the ABI. False for ORC, which says nothing about them: they become unknown.
/// </param>
public sealed record UnwindRow(
    UnwindRule Rule,
    FrameShape Shape,
    CfaRule Cfa,
    ImmutableArray<SavedRegister> Saved,
    bool IsInterrupted = false,
    bool KeepsCalleeSaved = true)
{
    /// <summary>The row of code that nothing called.</summary>
    public static UnwindRow End(UnwindRule rule) => new(rule, FrameShape.EndOfStack, default, []);

    /// <summary>The rule of one register; <see cref="RegisterRuleKind.Unspecified"/> when nothing is said.</summary>
    public RegisterRule RuleOf(int register)
    {
        foreach (var saved in Saved)
        {
            if (saved.Register == register)
            {
                return saved.Rule;
            }
        }

        return default;
    }
}
