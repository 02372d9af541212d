using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;

namespace KTrace.Tui.State;

/// <summary>Everything that can change the state.</summary>
public abstract record UiEvent
{
    private UiEvent()
    {
    }

    public sealed record Input(InputEvent What) : UiEvent;

    public sealed record News(TargetNews What) : UiEvent;

    /// <summary>A quarter of a second has gone by; comes only while something moves (a spinner, a message that fades).</summary>
    public sealed record Tick : UiEvent;

    /// <summary>A tenth of a second has gone by since the run or stop of this number (<see cref="UiState.HeldBack"/>).</summary>
    public sealed record Lasted(long Change) : UiEvent;
}

/// <summary>What an update asks the outside to do.</summary>
public abstract record UiEffect
{
    private UiEffect()
    {
    }

    public sealed record Ask(TargetRequest Request) : UiEffect;

    /// <summary>Keeps breakpoints, watches, layout and history for the next session.</summary>
    public sealed record Remember : UiEffect;

    /// <summary>Gives the terminal back and stops this process until it is continued (Ctrl-Z).</summary>
    public sealed record Suspend : UiEffect;

    /// <summary>Paints everything again (Ctrl-L).</summary>
    public sealed record Repaint : UiEffect;

    public sealed record Quit : UiEffect;
}
