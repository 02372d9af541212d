using System.Collections.Immutable;

namespace KTrace.Tui.Targets;

/// <summary>What a live target is begun with.</summary>
/// <param name="Sources">A kernel source tree, or null.</param>
/// <param name="Breakpoints">Commands that set breakpoints, of earlier sessions or of the command line.</param>
public sealed record LiveTargetOptions(string? Sources, ImmutableArray<string> Breakpoints)
{
    /// <summary>Those of <see cref="Breakpoints"/> that are set and switched off.</summary>
    public ImmutableArray<string> Disabled { get; init; } = [];

    /// <summary>Something that a person should read at the beginning, or null.</summary>
    public string? Note { get; init; }
}
