using System.Collections.Immutable;
using KTrace.Tui.Panes;
using KTrace.Tui.State;
using KTrace.Tui.Update;
using Spectre.Console.Rendering;

namespace KTrace.Tui.App;

/// <summary>What a loop runs: how events change the state, and how a state looks. Both pure.</summary>
/// <param name="Update">The state after an event, and what is to be done outside. Gives the same state where nothing changed: then nothing is painted.</param>
/// <param name="View">The picture of a state, and where its cursor stands.</param>
/// <param name="Moves">Whether a state changes by itself: it gets ticks.</param>
public sealed record UiProgram(
    Func<UiState, UiEvent, (UiState State, ImmutableArray<UiEffect> Effects)> Update,
    Func<UiState, (IRenderable Picture, (int Column, int Row)? Cursor)> View,
    Func<UiState, bool> Moves)
{
    /// <summary>The number of a run or stop that the screen does not show as it is yet; null: there is none.</summary>
    public Func<UiState, long?> HeldBack { get; init; } = static state => state.HeldBack;

    /// <summary>The debugger's.</summary>
    public static UiProgram Debugger { get; } = new(
        Updater.Update,
        static state =>
        {
            var root = new RootView(state);
            return (root, root.Cursor);
        },
        static state => state.IsMoving);
}
