using System.Collections.Immutable;

namespace KTrace.Tracing;

/// <summary>
/// The frames of a hit, innermost first. Each physical frame comes after the functions that were inlined into it. Immutable and
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
        foreach (TraceFrame frame in Frames)
        {
            hash.Add(frame);
            physical += frame.IsInline ? 0 : 1;
        }

        _hash = hash.ToHashCode();
        PhysicalCount = physical;
    }

    public static CallPath Empty { get; } = new([]);

    public ImmutableArray<TraceFrame> Frames { get; }

    /// <summary>Number of frames that are not inline: one return address each.</summary>
    public int PhysicalCount { get; }

    /// <summary>For each frame the index of its address in <see cref="TraceRecord.Hit.Pcs"/>: an inline frame shares its caller's.</summary>
    public IEnumerable<(TraceFrame Frame, int PcIndex)> WithPcIndexes()
    {
        int index = 0;
        foreach (TraceFrame frame in Frames)
        {
            yield return (frame, index);
            index += frame.IsInline ? 0 : 1;
        }
    }

    public bool Equals(CallPath? other) => ReferenceEquals(this, other)
        || (other is not null && _hash == other._hash && Frames.AsSpan().SequenceEqual(other.Frames.AsSpan()));

    public override bool Equals(object? obj) => Equals(obj as CallPath);

    public override int GetHashCode() => _hash;

    public override string ToString() => string.Join(" < ", Frames.Select(f => f.Function));
}
