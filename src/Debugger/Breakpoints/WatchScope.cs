using System.Collections.Immutable;
using KTrace.Debugger.Stepping;

namespace KTrace.Debugger.Breakpoints;

/// <summary>The end of a watched local variable: its function has returned.</summary>
/// <param name="Address">Where the caller goes on, …</param>
/// <param name="Caller">… in this activation.</param>
/// <param name="Teardowns">Where the memory is taken off the stack before that, and must not be watched any longer.</param>
internal sealed record WatchScope(ulong Address, FrameMark Caller, ImmutableArray<FrameTeardown> Teardowns);
