namespace KTrace.Debugger.Recording;

/// <summary>
/// Numbers the hits of one trace, however they were taken, and says when there are enough. A number is taken together with the writing of its hit: the two ways of capture take turns.
/// </summary>
/// <param name="maximum">Hits at most, or null.</param>
internal sealed class HitNumbers(long? maximum)
{
    /// <summary>The last number that was given out: hits so far.</summary>
    public long Taken { get; private set; }

    public long Remaining => maximum is { } most ? Math.Max(0, most - Taken) : long.MaxValue;

    public bool IsFull => Remaining == 0;

    /// <summary>The next hit's number.</summary>
    /// <exception cref="InvalidOperationException">There are enough hits.</exception>
    public long Take() => IsFull ? throw new InvalidOperationException("the trace has as many hits as it may") : ++Taken;
}
