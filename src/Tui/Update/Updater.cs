using System.Collections.Immutable;
using KTrace.Tui.State;

namespace KTrace.Tui.Update;

/// <summary>What a state becomes by an event, and what is to be done outside. Pure: no clock, no file, no target.</summary>
public static class Updater
{
    public static (UiState State, ImmutableArray<UiEffect> Effects) Update(UiState state, UiEvent happened) => (state, []);
}
