using System.Collections.Immutable;
using KTrace.Debugger.Stepping;

namespace KTrace.Debugger.Breakpoints;

/// <summary>The end of a watched local variable: its function has returned.</summary>
/// <param name="Address">Where the caller goes on, …</param>
/// <param name="Caller">… in this activation.</param>
/// <param name="Edges">Where its memory is put on the stack, and taken off it before the return: outside of that it must not be watched.</param>
/// <param name="IsOnStack">It is there now; else the function has only been entered.</param>
internal sealed record WatchScope(ulong Address, FrameMark Caller, ImmutableArray<FrameEdge> Edges, bool IsOnStack);
