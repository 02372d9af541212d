namespace KTrace.Tui.Commands;

/// <summary>A line that is no command, with what could have been meant.</summary>
public sealed class CommandSyntaxException(string message, string? remedy = null) : Exception(message)
{
    public string? Remedy { get; } = remedy;
}
