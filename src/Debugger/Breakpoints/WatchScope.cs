using KTrace.Debugger.Stepping;

namespace KTrace.Debugger.Breakpoints;

/// <summary>The end of a watched local variable: its function has returned.</summary>
/// <param name="Address">Where the caller goes on, …</param>
/// <param name="Caller">… in this activation.</param>
internal sealed record WatchScope(ulong Address, FrameMark Caller);
