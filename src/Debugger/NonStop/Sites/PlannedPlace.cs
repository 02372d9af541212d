using KTrace.Debugger.NonStop.Relocation;
using KTrace.Debugger.NonStop.Trampolines;

namespace KTrace.Debugger.NonStop.Sites;

/// <summary>How one place is traced, and what that takes.</summary>
/// <param name="Reason">Why that way, in words for people.</param>
/// <param name="Nop">The tracer's no-op that is to be replaced, at the addresses of the question; null where the machine stops, and where <paramref name="Relocation"/> is given.</param>
/// <param name="Condition">The tracepoint's condition for this function, or null: it has none.</param>
/// <param name="Relocation">The first instructions are to be moved, as there is no no-op.</param>
public sealed record PlannedPlace(CaptureWay Way, string Reason, TracerNop? Nop = null, CompiledCondition? Condition = null, RelocationPlan? Relocation = null);
