namespace KTrace.Tracing;

/// <summary>In what a duration is counted: what the trace's clock counts.</summary>
public enum GraphUnit
{
    /// <summary>The CPU's time-stamp counter.</summary>
    Ticks,

    Nanoseconds,
    Instructions,
    Jiffies,
}

/// <summary>The time between a function's entry and its return.</summary>
public readonly record struct GraphDuration(ulong Amount, GraphUnit Unit);

/// <summary>One line of a function graph. A sum type: exactly one of the nested records.</summary>
/// <param name="Cpu">Where it happened.</param>
/// <param name="Depth">How many calls are open around it that are part of the graph.</param>
public abstract record GraphLine(int Cpu, int Depth)
{
    /// <summary>A call in which nothing else of the graph happened, or whose return was not recorded.</summary>
    /// <param name="Return">Null: not recorded.</param>
    /// <param name="IsReturnMissing">Returns of this tracepoint are recorded, but not this one: the function never returned, or the recording ended first.</param>
    public sealed record Call(int Cpu, int Depth, TraceRecord.Hit Hit, TraceRecord.Return? Return, GraphDuration? Duration, bool IsReturnMissing) : GraphLine(Cpu, Depth);

    /// <summary>A function is entered in which more happens.</summary>
    public sealed record Enter(int Cpu, int Depth, TraceRecord.Hit Hit) : GraphLine(Cpu, Depth);

    /// <summary>It returns.</summary>
    public sealed record Leave(int Cpu, int Depth, TraceRecord.Hit Hit, TraceRecord.Return Return, GraphDuration? Duration) : GraphLine(Cpu, Depth);

    /// <summary>A CPU goes on with another task.</summary>
    /// <param name="From">Null: nothing of the graph ran there before.</param>
    public sealed record Switch(int Cpu, TraceTask? From, TraceTask? To) : GraphLine(Cpu, 0);

    /// <summary>A task is interrupted, or goes on after it was.</summary>
    public sealed record Context(int Cpu, int Depth, CodeContext From, CodeContext To) : GraphLine(Cpu, Depth);
}
