namespace KTrace.Debugger.Stepping;

/// <summary>What a person asks for, in gdb's words.</summary>
public enum StepKind
{
    /// <summary><c>stepi</c>: one instruction.</summary>
    Instruction,

    /// <summary><c>nexti</c>: one instruction; a call runs to its return.</summary>
    InstructionOver,

    /// <summary><c>step</c>: to another source line, into calls and inlined functions.</summary>
    Line,

    /// <summary><c>next</c>: to another source line of this function, over calls and inlined functions.</summary>
    LineOver,
}
