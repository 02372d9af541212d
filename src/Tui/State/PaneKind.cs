namespace KTrace.Tui.State;

/// <summary>The panes, in the order in which Tab visits them.</summary>
public enum PaneKind
{
    CallPath,
    Source,
    Disassembly,
    Registers,
    Variables,
    Hits,
    Console,
    Cpus,
    Modules,
    Memory,
    Interrupts,
    Breakpoints,
    Diff,

    /// <summary>Answers of the command line.</summary>
    Output,
}
