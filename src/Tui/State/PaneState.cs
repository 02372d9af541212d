namespace KTrace.Tui.State;

/// <summary>Where a person is in a pane.</summary>
/// <param name="Cursor">The chosen row.</param>
/// <param name="Top">The first row that is on the screen.</param>
/// <param name="Left">Cells that are scrolled out at the left.</param>
/// <param name="Search">What <c>n</c> and <c>N</c> look for; null: no search.</param>
public sealed record PaneState(int Cursor = 0, int Top = 0, int Left = 0, string? Search = null)
{
    public static PaneState Start { get; } = new();

    /// <summary>Of the cursor, where a pane has items beside each other (registers).</summary>
    public int Column { get; init; }

    /// <summary>New rows at the end take the cursor along.</summary>
    public bool Follows { get; init; }
}
