namespace KTrace.Symbols.Values;

/// <summary>How a value is known.</summary>
public enum Provenance
{
    /// <summary>It is in a register of the frame, as its debug information says.</summary>
    Register,

    /// <summary>It is in memory, as its debug information says.</summary>
    Memory,

    /// <summary>The compiler knew it, or computed it from what is in registers and memory without keeping it (DW_OP_stack_value counts as the place of its parts).</summary>
    Constant,

    /// <summary>What the caller passed, as the call's debug information says (DW_OP_entry_value, DW_TAG_call_site_parameter).</summary>
    EntryValue,

    /// <summary>The debug information ends; the machine code shows a register or stack slot that still holds it.</summary>
    Recovered,

    /// <summary>Nothing tells.</summary>
    OptimizedOut,

    /// <summary>It is known where the value is, but the memory could not be read.</summary>
    Unreadable,
}
