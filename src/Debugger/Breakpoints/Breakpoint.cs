using KTrace.Debugger.Tracepoints;
using KTrace.Rsp.Commands;

namespace KTrace.Debugger.Breakpoints;

/// <summary>A place in code, or memory, at which a session stops for a person.</summary>
public sealed class Breakpoint
{
    internal Breakpoint(int number, BreakpointKind kind, string text, TracepointActions actions) =>
        (Number, Kind, Text, Actions) = (number, kind, text, actions);

    /// <summary>1-based, never used again.</summary>
    public int Number { get; }

    public BreakpointKind Kind { get; }

    /// <summary>As a person wrote it.</summary>
    public string Text { get; }

    /// <summary>Its condition, and what it prints at each stop.</summary>
    public TracepointActions Actions { get; internal set; }

    /// <summary>Gone after its first stop (<c>tbreak</c>).</summary>
    public bool IsTemporary { get; init; }

    /// <summary>Its hits are kept and the guest goes on.</summary>
    public bool IsTracepoint { get; init; }

    public bool IsEnabled { get; internal set; } = true;

    /// <summary>How often it was reached with its condition holding, counting those that were ignored.</summary>
    public long Hits { get; internal set; }

    /// <summary>So many further hits are counted and do not stop.</summary>
    public long IgnoreCount { get; set; }

    /// <summary>Only hits of this CPU; null: of any.</summary>
    public int? Cpu { get; set; }

    /// <summary>What is watched, at its run-time address; null for code.</summary>
    public BreakpointSite? Watched { get; init; }

    /// <summary>Where a watched local variable ceases to be; null for what stays.</summary>
    internal WatchScope? Scope { get; init; }

    /// <summary>Its memory is not the variable's now: the stub does not watch it.</summary>
    internal bool IsHeldBack { get; set; }

    /// <summary>Watched memory when it was last looked at, at most 8 bytes; null where it could not be read.</summary>
    public ulong? Value { get; internal set; }

    /// <summary>Where in code it is; null for watchpoints, for bare addresses, and while no kernel is known.</summary>
    public Tracepoint? Place { get; internal set; }

    /// <summary>A run-time address that was given as such (<c>*0x…</c>); null for names.</summary>
    public ulong? Address { get; init; }

    /// <summary>It waits: for the kernel to be found, or for its module.</summary>
    public bool IsPending => Watched is null && Address is null && Place?.Address is null;
}
