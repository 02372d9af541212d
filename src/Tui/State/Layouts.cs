// Which panes are on the screen together. A layout is a tree of splits whose leaves are slots: a slot shows one of its panes and has the others as tabs. Each layout exists twice:
// for terminals with room, and folded into two or three slots for small ones (80×24). Every pane is in every layout, so that nothing is out of reach.
using System.Collections.Immutable;
using static KTrace.Tui.State.PaneKind;

namespace KTrace.Tui.State;

/// <summary>A part of the screen.</summary>
public abstract record LayoutNode
{
    private LayoutNode()
    {
    }

    /// <param name="Panes">The first is shown until another was looked at.</param>
    public sealed record Slot(ImmutableArray<PaneKind> Panes) : LayoutNode;

    /// <param name="Name">Of its border, unique in its layout: what it was dragged to is kept under it.</param>
    /// <param name="IsColumns">Side by side; otherwise one above the other.</param>
    /// <param name="Fraction">The first part's share.</param>
    public sealed record Split(string Name, bool IsColumns, double Fraction, LayoutNode First, LayoutNode Second) : LayoutNode;
}

/// <param name="Number">The key that chooses it.</param>
/// <param name="FirstFocus">The pane that has the focus when the layout is chosen.</param>
public sealed record Layout(int Number, string Name, string Meaning, PaneKind FirstFocus, LayoutNode Wide, LayoutNode Small);

/// <summary>The layouts by number.</summary>
public static class Layouts
{
    // What is smaller gets the folded form.
    private const int WideColumns = 110;
    private const int WideRows = 30;

    /// <summary>Key 1 of a live session.</summary>
    private static readonly Layout Live = new(1, "live", "where the machine stands: call path, source, registers, variables, console", CallPath,
        Columns("main", 0.60,
            Rows("left", 0.68, Rows("code", 0.42, Slot(CallPath, Hits, Diff), Slot(Source, Disassembly, Memory)), Slot(PaneKind.Console, Output, Interrupts)),
            Rows("right", 0.40, Slot(Variables), Rows("machine", 0.55, Slot(Registers, Cpus), Slot(Breakpoints, Modules)))),
        Rows("main", 0.40,
            Slot(CallPath, Hits, Cpus, Breakpoints, Modules, Interrupts, Diff),
            Rows("code", 0.56, Slot(Source, Disassembly, Variables, Registers, Memory), Slot(PaneKind.Console, Output))));

    /// <summary>Key 1 of a trace.</summary>
    private static readonly Layout Recorded = new(1, "trace", "the hits of the trace, and the call path of the chosen one", Hits,
        Rows("main", 0.34, Slot(Hits),
            Columns("path", 0.62, Slot(CallPath, Source, Disassembly, Diff),
                Rows("right", 0.55, Slot(Variables, Registers, Cpus, Memory), Slot(PaneKind.Console, Output, Interrupts, Breakpoints, Modules)))),
        Rows("main", 0.40, Slot(Hits, Breakpoints, Modules, Interrupts, PaneKind.Console, Output),
            Slot(CallPath, Variables, Registers, Source, Disassembly, Diff, Cpus, Memory)));

    private static readonly Layout[] Rest =
    [
        new(2, "source", "source and disassembly, with variables", Source,
            Columns("main", 0.62,
                Rows("code", 0.72, Columns("source", 0.55, Slot(Source), Slot(Disassembly, Memory)), Slot(PaneKind.Console, Output, Hits, Diff)),
                Rows("right", 0.45, Slot(CallPath, Cpus), Rows("values", 0.6, Slot(Variables), Slot(Registers, Breakpoints, Modules, Interrupts)))),
            Rows("main", 0.62,
                Slot(Source, Disassembly, Memory, Diff),
                Slot(Variables, CallPath, Registers, Breakpoints, Hits, Cpus, Modules, Interrupts, PaneKind.Console, Output))),
        new(3, "diff", "two hits or two traces beside each other", Hits,
            Rows("main", 0.30, Columns("hits", 0.70, Slot(Hits), Slot(Breakpoints, Modules, Cpus, Registers, Interrupts)),
                Slot(PaneKind.Diff, CallPath, Source, Disassembly, Variables, Memory, PaneKind.Console, Output)),
            Rows("main", 0.32, Slot(Hits, Breakpoints, Modules, Cpus, Registers, Interrupts), Slot(PaneKind.Diff, CallPath, Source, Disassembly, Variables, Memory, PaneKind.Console, Output))),
        new(4, "irq", "the kernel's interrupts, and who runs on which CPU", Interrupts,
            Rows("main", 0.55, Slot(Interrupts),
                Columns("below", 0.5, Slot(Cpus, CallPath, Hits, Registers, Variables, Diff), Slot(PaneKind.Console, Output, Modules, Breakpoints, Source, Disassembly, Memory))),
            Rows("main", 0.65, Slot(Interrupts, CallPath, Hits, Source, Disassembly, Diff, Memory), Slot(Cpus, Registers, Variables, Modules, Breakpoints, PaneKind.Console, Output))),
        new(5, "machine", "instructions, registers and memory", Disassembly,
            Columns("main", 0.56,
                Rows("left", 0.62, Slot(Disassembly, Source, CallPath), Slot(Memory, PaneKind.Console, Output, Hits, Diff)),
                Rows("right", 0.62, Slot(Registers), Slot(Cpus, Modules, Breakpoints, Variables, Interrupts))),
            Rows("main", 0.5, Slot(Disassembly, Source, CallPath, Hits, Diff), Slot(Registers, Memory, Cpus, Modules, Breakpoints, Variables, Interrupts, PaneKind.Console, Output))),
        new(6, "console", "the guest's console with what was asked", PaneKind.Console,
            Columns("main", 0.66, Slot(PaneKind.Console, Source, Disassembly, Interrupts, Memory),
                Rows("right", 0.5, Slot(CallPath, Variables, Registers, Cpus, Diff), Slot(Output, Hits, Breakpoints, Modules))),
            Rows("main", 0.7, Slot(PaneKind.Console, Source, Disassembly, Interrupts, Memory, Diff), Slot(Output, CallPath, Hits, Variables, Registers, Cpus, Breakpoints, Modules))),
    ];

    public static int Count => Rest.Length + 1;

    /// <summary>In the order of their keys.</summary>
    public static IEnumerable<Layout> All(bool isLive) => Rest.Prepend(isLive ? Live : Recorded);

    public static Layout? Find(int number, bool isLive = true) => All(isLive).FirstOrDefault(l => l.Number == number);

    /// <summary>The one that is on the screen.</summary>
    public static Layout Of(UiState state) => Find(state.Remembered.Layout, state.Abilities.IsLive) ?? Live;

    /// <summary>Its form for the terminal.</summary>
    public static LayoutNode Tree(UiState state) =>
        state.Size.Columns >= WideColumns && state.Size.Rows >= WideRows ? Of(state).Wide : Of(state).Small;

    private static LayoutNode.Slot Slot(params ReadOnlySpan<PaneKind> panes) => new([.. panes]);

    private static LayoutNode.Split Columns(string name, double fraction, LayoutNode first, LayoutNode second) => new(name, IsColumns: true, fraction, first, second);

    private static LayoutNode.Split Rows(string name, double fraction, LayoutNode first, LayoutNode second) => new(name, IsColumns: false, fraction, first, second);
}
