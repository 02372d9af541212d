using System.Collections.Immutable;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;

namespace KTrace.Tui.State;

/// <summary>Everything that the screen shows, and nothing else. Plain and immutable: the same state gives the same picture.</summary>
public sealed record UiState(TerminalSize Size, TerminalLooks Looks, TargetAbilities Abilities)
{
    /// <summary>What is kept between sessions.</summary>
    public Remembered Remembered { get; init; } = Remembered.Nothing;

    public static UiState Begin(TerminalSize size, TerminalLooks looks, TargetAbilities abilities, Remembered remembered) =>
        new(size, looks, abilities) { Remembered = remembered };
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
    public static Remembered Nothing { get; } = new([], [], 1, ImmutableDictionary<string, double>.Empty, []);
}
