using KTrace.Debugger.Tracepoints;
using KTrace.Rsp.Commands;

namespace KTrace.Debugger.Breakpoints;

/// <summary>A place, or memory, at which a session stops for a person.</summary>
public sealed class Breakpoint
{
    internal Breakpoint(int number, BreakpointKind kind, string text) => (Number, Kind, Text) = (number, kind, text);

    /// <summary>1-based, never used again.</summary>
    public int Number { get; }

    public BreakpointKind Kind { get; }

    /// <summary>As a person wrote it.</summary>
    public string Text { get; }

    /// <summary>Gone after its first stop (<c>tbreak</c>).</summary>
    public bool IsTemporary { get; init; }

    public bool IsEnabled { get; internal set; } = true;

    /// <summary>How often it was reached with its condition holding, counting those that were ignored.</summary>
    public long Hits { get; internal set; }

    /// <summary>So many further hits are counted and do not stop.</summary>
    public long IgnoreCount { get; set; }

    /// <summary>Only hits of this CPU; null: of any.</summary>
    public int? Cpu { get; set; }

    /// <summary>What is watched, at its run-time address; null for code.</summary>
    public BreakpointSite? Watched { get; init; }

    /// <summary>Where in code it is; null for watchpoints.</summary>
    public Tracepoint? Place { get; init; }
}
