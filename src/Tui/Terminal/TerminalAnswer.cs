namespace KTrace.Tui.Terminal;

/// <summary>What a terminal says of itself when it is asked. It comes among the keys and must not be taken for them.</summary>
internal abstract record TerminalAnswer
{
    private TerminalAnswer()
    {
    }

    /// <summary>DA1: which terminal this is. Every terminal answers it, so it also says that no answer to an earlier question is still to come.</summary>
    public sealed record Attributes : TerminalAnswer;

    /// <summary>DECRPM, the answer to DECRQM.</summary>
    /// <param name="Mode">A private mode's number.</param>
    /// <param name="Setting">0 not known, 1 set, 2 reset, 3 always set, 4 always reset.</param>
    public sealed record Mode(int Number, int Setting) : TerminalAnswer;

    /// <summary>The answer to OSC 11: the background's colour, each part from 0 to 1.</summary>
    public sealed record Background(double Red, double Green, double Blue) : TerminalAnswer;
}
