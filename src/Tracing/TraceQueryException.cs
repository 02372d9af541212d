namespace KTrace.Tracing;

/// <summary>A question to a trace that cannot be answered: a hit that is not there, a filter that means nothing. The message says what can be asked.</summary>
public sealed class TraceQueryException(string message) : Exception(message);
