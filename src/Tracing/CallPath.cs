using System.Collections.Immutable;

namespace KTrace.Tracing;

/// <summary>
/// The frames of a hit, innermost first. Each physical frame, and each that left by a tail call, comes after the functions that were inlined
/// into it. Immutable and
/// compared by content; its hash is computed once, so that a recorder that keeps its paths makes the writer's look-up cheap.
/// </summary>
public sealed class CallPath : IEquatable<CallPath>
{
    private readonly int _hash;

    public CallPath(ImmutableArray<TraceFrame> frames)
    {
        Frames = frames.IsDefault ? [] : frames;
        var hash = new HashCode();
        int physical = 0;
        int tailCalls = 0;
        foreach (TraceFrame frame in Frames)
        {
            hash.Add(frame);
            physical += frame.IsInline || frame.IsTailCall ? 0 : 1;
            tailCalls += frame.IsTailCall ? 1 : 0;
        }

        _hash = hash.ToHashCode();
        PhysicalCount = physical;
        TailCallCount = tailCalls;
    }

    public static CallPath Empty { get; } = new([]);

    public ImmutableArray<TraceFrame> Frames { get; }

    /// <summary>Number of frames with a stack frame, neither inline nor left by a tail call: one pc each.</summary>
    public int PhysicalCount { get; }

    /// <summary>Number of frames that were left by a tail call.</summary>
    public int TailCallCount { get; }

    public bool Equals(CallPath? other) => ReferenceEquals(this, other)
        || (other is not null && _hash == other._hash && Frames.AsSpan().SequenceEqual(other.Frames.AsSpan()));

    public override bool Equals(object? obj) => Equals(obj as CallPath);

    public override int GetHashCode() => _hash;

    public override string ToString() => string.Join(" < ", Frames.Select(f => f.Function));
}
