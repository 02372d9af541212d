namespace KTrace.Symbols.Unwind;

/// <summary>What produced a frame.</summary>
public enum UnwindRule
{
    /// <summary>The innermost frame: the target's own registers.</summary>
    Registers,

    /// <summary>.debug_frame or .eh_frame.</summary>
    Cfi,

    /// <summary>The kernel's ORC tables.</summary>
    Orc,

    /// <summary>A frame-pointer chain, or what every call leaves on the stack (at a first instruction, inside a retpoline, in assembly without rows).</summary>
    FramePointer,

    /// <summary>Registers that an exception, interrupt or system call saved on the stack (struct pt_regs, or an iret frame).</summary>
    SavedRegisters,
}

/// <summary>One physical stack frame.</summary>
/// <param name="Registers">Registers as they were in this frame; callee-saved ones are known only where CFI restored them.</param>
/// <param name="Rule">What found this frame from the one below it.</param>
/// <param name="IsCall">
/// The pc is a return address, so names and rows are looked up at pc-1. False for the innermost frame and for frames that were interrupted.
/// </param>
public sealed record UnwoundFrame(RegisterSet Registers, UnwindRule Rule, bool IsCall)
{
    public ulong ProgramCounter => Registers.ProgramCounter;

    /// <summary>
    /// Set for code that the kernel copied while it runs (an ftrace trampoline): the pc's place in the original, whose names and rows hold for the copy; and
    /// for a piece of a function in a section of its own (<see cref="OutOfLineText"/>): the place in the function that it goes back to.
    /// </summary>
    public ulong? OriginalCounter { get; init; }

    /// <summary>The address whose function, line and unwind row describe this frame.</summary>
    public ulong LookupAddress => (OriginalCounter ?? ProgramCounter) - (IsCall ? 1ul : 0);
}
