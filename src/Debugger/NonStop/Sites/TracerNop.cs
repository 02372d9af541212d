namespace KTrace.Debugger.NonStop.Sites;

/// <summary>The no-op that the kernel's function tracer has at a function's entry (or the call that becomes one in ftrace_init).</summary>
/// <param name="Entry">Where the function is entered.</param>
/// <param name="Patch">Its five bytes: <paramref name="Entry"/>, or behind the endbr there.</param>
/// <param name="IsInit">It lies in text that is freed after boot, or after its module's init.</param>
public readonly record struct TracerNop(ulong Entry, ulong Patch, bool IsInit);
