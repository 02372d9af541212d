namespace KTrace.Tui.Terminal;

/// <summary>There is no terminal, or none that can show a screen.</summary>
/// <param name="message">What is missing.</param>
/// <param name="remedy">What to do.</param>
public sealed class TerminalException(string message, string remedy) : IOException(message)
{
    public string Remedy { get; } = remedy;
}
