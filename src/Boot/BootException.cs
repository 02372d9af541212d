namespace KTrace.Boot;

/// <summary>What this room says when a boot cannot be prepared or started, in the user's words. The only exception that leaves
/// it, beside cancellation.</summary>
public sealed class BootException : Exception
{
    /// <param name="message">What went wrong and with which file, program or kernel.</param>
    /// <param name="remedy">What to do about it (a command, an option), or null if there is nothing to suggest.</param>
    public BootException(string message, string? remedy = null, Exception? inner = null)
        : base(message, inner)
    {
        Remedy = remedy;
    }

    /// <summary>What the user can do, as one line.</summary>
    public string? Remedy { get; }

    /// <summary>True when the cause is that the package archive cannot be reached: the same call may succeed later, and whatever
    /// needs no network still works.</summary>
    public bool IsNetwork { get; init; }
}
