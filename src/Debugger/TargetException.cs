namespace KTrace.Debugger;

/// <summary>The live target, or what was asked of it, is not as needed: the wrong vmlinux, an unknown symbol, a kernel that never came up.</summary>
public sealed class TargetException : Exception
{
    /// <param name="message">What is wrong, in the user's words.</param>
    /// <param name="remedy">What to do about it, or null where nothing helps.</param>
    public TargetException(string message, string? remedy)
        : base(message) => Remedy = remedy;

    public string? Remedy { get; }
}
