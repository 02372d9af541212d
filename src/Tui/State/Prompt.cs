using System.Collections.Immutable;

namespace KTrace.Tui.State;

public enum PromptKind
{
    /// <summary><c>:</c></summary>
    Command,

    /// <summary><c>/</c></summary>
    Search,

    /// <summary><c>&amp;</c></summary>
    Filter,
}

/// <summary>The line that is being written at the bottom of the screen.</summary>
/// <param name="Cursor">Characters (UTF-16) before the cursor; never within a surrogate pair.</param>
public sealed record Prompt(PromptKind Kind, string Text, int Cursor)
{
    /// <summary>Which line of the history is shown, counted from the newest; -1: what was written here.</summary>
    public int FromHistory { get; init; } = -1;

    /// <summary>What was written before the history was looked at.</summary>
    public string Draft { get; init; } = "";

    /// <summary>Words that could stand at <see cref="CompletionStart"/>.</summary>
    public ImmutableArray<string> Completions { get; init; } = [];

    public int CompletionStart { get; init; }

    /// <summary>The completion that was put in; -1: none yet.</summary>
    public int Completion { get; init; } = -1;

    /// <summary>Of a search: where the cursor was before.</summary>
    public PaneState? Origin { get; init; }

    public string Sign => Kind switch { PromptKind.Search => "/", PromptKind.Filter => "&", _ => ":" };
}

/// <summary>Asked before something that cannot be undone.</summary>
/// <param name="Question">With what y does.</param>
public sealed record Confirmation(string Question, UiEffect Effect);

/// <summary>Something to read in the bottom line, until the next key or for some seconds.</summary>
/// <param name="Remedy">What helps.</param>
public sealed record Message(string Text, string? Remedy = null, bool IsWarning = false)
{
    /// <summary>Ticks that it stays; it goes with the next key that does something.</summary>
    public int TicksLeft { get; init; } = 24;
}
