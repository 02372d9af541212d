namespace KTrace.Tui.State;

public enum ColourDepth
{
    /// <summary>NO_COLOR, or a terminal without: bold, dim, reverse and underline alone.</summary>
    None,
    Sixteen,
    TwoHundredFiftySix,
    True,
}

/// <summary>What the terminal can show.</summary>
/// <param name="IsUnicode">Box lines, arrows and ellipses; otherwise ASCII.</param>
/// <param name="IsLight">Dark text on a light background.</param>
/// <param name="HasMouse">Clicks and wheel come.</param>
/// <param name="HasSynchronisedOutput">DEC mode 2026.</param>
public sealed record TerminalLooks(ColourDepth Colours, bool IsUnicode, bool IsLight, bool HasMouse, bool HasSynchronisedOutput)
{
    public static TerminalLooks Plain { get; } = new(ColourDepth.None, true, false, false, false);
}
