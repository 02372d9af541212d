using System.Collections.Immutable;

namespace KTrace.Symbols.Unwind;

/// <summary>A stack: its physical frames, innermost first, and why there are no more.</summary>
/// <param name="Frames">Never empty, except for a CPU that was stopped in user mode.</param>
public sealed record UnwindResult(ImmutableArray<UnwoundFrame> Frames, UnwindStop Stop);
