using System.Collections.Immutable;
using KTrace.Tracing;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;
using KTrace.Tui.Views;

namespace KTrace.Tui.State;

/// <summary>Everything that the screen shows, and nothing else. Plain and immutable: the same state gives the same picture.</summary>
public sealed record UiState(TerminalSize Size, TerminalLooks Looks, TargetAbilities Abilities)
{
    /// <summary>What is kept between sessions.</summary>
    public Remembered Remembered { get; init; } = Remembered.Nothing;

    public SessionState Session { get; init; } = new();

    /// <summary>
    /// The panes that were looked at in this layout, the last first: a slot shows the first of these that it has, or its own first. The first of all has the focus. Never empty.
    /// </summary>
    public ImmutableArray<PaneKind> Recent { get; init; } = [PaneKind.CallPath];

    /// <summary>Where a person is in each pane.</summary>
    public ImmutableDictionary<PaneKind, PaneState> Panes { get; init; } = ImmutableDictionary<PaneKind, PaneState>.Empty;

    /// <summary>The focused pane has the whole screen.</summary>
    public bool IsZoomed { get; init; }

    /// <summary>Keys go to the guest's console.</summary>
    public bool IsTyping { get; init; }

    /// <summary>While typing: an Escape came that is not sent yet, as a second one leaves.</summary>
    public bool IsEscapePending { get; init; }

    /// <summary>The keys are shown, from this row on; null: they are not.</summary>
    public int? Help { get; init; }

    public Prompt? Prompt { get; init; }

    public Confirmation? Confirmation { get; init; }

    public Message? Message { get; init; }

    /// <summary>A border that the mouse holds.</summary>
    public string? Dragged { get; init; }

    /// <summary>Counts ticks while something moves.</summary>
    public long Ticks { get; init; }

    public Timeline Timeline { get; init; } = Timeline.Empty;

    public Scrollback Console { get; init; } = Scrollback.Empty;

    public ImmutableArray<BreakpointRow> Breakpoints { get; init; } = [];

    public ImmutableArray<ModuleRow> Modules { get; init; } = [];

    public VariableTree Variables { get; init; } = VariableTree.Empty;

    public ImmutableArray<VariableRow> VariableRows => Variables.Rows;

    /// <summary>Index in the call path of the frame whose source and variables are shown.</summary>
    public int ChosenFrame { get; init; }

    /// <summary>Code that was asked for by place; null: the chosen frame's.</summary>
    public CodeListing? Listing { get; init; }

    public TargetNews.MemoryRead? Memory { get; init; }

    /// <summary>The address of <see cref="Memory"/> as it was asked for.</summary>
    public string MemoryExpression { get; init; } = "";

    /// <summary>Bytes before the memory that is shown, to see what changed; null: nothing was read before.</summary>
    public TargetNews.MemoryRead? MemoryBefore { get; init; }

    public TraceRecord.Interrupts? Interrupts { get; init; }

    public DiffState? Diff { get; init; }

    /// <summary>Answers of the command line and what happened, oldest first.</summary>
    public AppendOnlyList<TextLine> Output { get; init; } = AppendOnlyList<TextLine>.Empty;

    /// <summary>Frames of the call path whose arguments are shown a line each, with their provenance.</summary>
    public ImmutableHashSet<int> OpenFrames { get; init; } = [];

    public ViewOptions Options { get; init; } = new();

    public PaneKind Focus => Recent[0];

    /// <summary>Something on the screen moves by itself: <see cref="UiEvent.Tick"/> has to come.</summary>
    public bool IsMoving => Session.IsBusy || Message is not null;

    /// <summary>The number of a run or stop that the screen does not show as it is yet: <see cref="UiEvent.Lasted"/> has to come; null: there is none.</summary>
    public long? HeldBack => Session.IsBrief ? Session.Changes : null;

    /// <summary>
    /// What the screen shows. A step takes milliseconds; a screen that says "running" for so long and takes it back flickers, and sends everything twice over a slow line. Keys work with the state as it is.
    /// </summary>
    public UiState OnScreen => Session is { IsBrief: true, Run: RunState.Running } ? this with { Session = Session with { Run = RunState.Stopped } } : this;

    public PaneState Pane(PaneKind kind) => Panes.GetValueOrDefault(kind, PaneState.Start);

    public UiState WithPane(PaneKind kind, PaneState pane) => this with { Panes = Panes.SetItem(kind, pane) };

    /// <summary>A pane comes to the front of its slot; with the focus or without. One that has the focus keeps it.</summary>
    public UiState Raise(PaneKind kind, bool focus)
    {
        focus |= Recent is [var front, ..] && front == kind;
        var others = Recent.Remove(kind);
        return this with { Recent = others.Insert(focus ? 0 : Math.Min(1, others.Length), kind) };
    }

    public static UiState Begin(TerminalSize size, TerminalLooks looks, TargetAbilities abilities, Remembered remembered)
    {
        var layout = Layouts.Find(remembered.Layout) is { } known ? known.Number : 1;
        var state = new UiState(size, looks, abilities)
        {
            Remembered = remembered with { Layout = layout },
            Session = new SessionState { Run = RunState.Starting },
            Variables = VariableTree.Empty.WithWatches(remembered.Watches),
            Panes = ImmutableDictionary<PaneKind, PaneState>.Empty
                .Add(PaneKind.Console, PaneState.Start with { Follows = true }).Add(PaneKind.Output, PaneState.Start with { Follows = true })
                .Add(PaneKind.Hits, PaneState.Start with { Follows = abilities.IsLive }),
        };
        return state with { Recent = [Layouts.Of(state).FirstFocus] };
    }
}

/// <summary>What is kept of a scenario between sessions.</summary>
/// <param name="Breakpoints">Commands that set them again.</param>
/// <param name="Watches">Expressions.</param>
/// <param name="Layout">By its key.</param>
/// <param name="Splits">Where borders were dragged to, by layout and border: fractions.</param>
/// <param name="History">Of the command line, oldest first; bounded.</param>
public sealed record Remembered(
    ImmutableArray<string> Breakpoints, ImmutableArray<string> Watches, int Layout, ImmutableDictionary<string, double> Splits, ImmutableArray<string> History)
{
    /// <summary>Those of <see cref="Breakpoints"/> that were switched off.</summary>
    public ImmutableArray<string> Disabled { get; init; } = [];

    public static Remembered Nothing { get; } = new([], [], 1, ImmutableDictionary<string, double>.Empty, []);
}

/// <summary>What panes show of what they could (<c>:set NAME</c>, <c>:set noNAME</c>).</summary>
public sealed record ViewOptions
{
    /// <summary>Instruction bytes in the disassembly.</summary>
    public bool Bytes { get; init; }

    /// <summary>The arguments below each frame of the call path.</summary>
    public bool Arguments { get; init; } = true;

    /// <summary>Source lines between instructions.</summary>
    public bool Lines { get; init; } = true;

    /// <summary>Interrupts without a handler, too.</summary>
    public bool AllInterrupts { get; init; }
}
