namespace KTrace.Debugger.NonStop.Conditions;

/// <summary>A condition cannot be asked without stopping the machine. Ends its compilation, and goes no further.</summary>
/// <param name="message">Why, in words for people.</param>
internal sealed class UncompilableException(string message) : Exception(message);
