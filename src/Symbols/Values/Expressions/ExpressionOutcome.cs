using System.Collections.Immutable;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>What became of an evaluation.</summary>
public abstract record ExpressionOutcome
{
    private ExpressionOutcome()
    {
    }

    /// <summary>Numbers and pointers have their bytes; structures and arrays in memory have their address only.</summary>
    public sealed record Value(TypedValue Result) : ExpressionOutcome
    {
        /// <summary>
        /// The value with the name that tells what it means: of <c>dev->flags</c> "flags" of "net_device". Of a local the owner is not told: it is the frame's function.
        /// </summary>
        public NamedValue Named { get; init; } = new("", Result);

        /// <summary>Whether a condition holds: anything but zero and NULL. False for what is neither number nor pointer; see <see cref="Expression.EvaluateCondition"/>.</summary>
        public bool IsTrue => Result.Number is { } number ? number != 0 : Result.Address is not (null or 0);
    }

    /// <summary>Memory that was not fetched. Fetch all of it (or mark it as unreadable) and evaluate again.</summary>
    public sealed record Missing(ImmutableArray<MemoryRange> Ranges) : ExpressionOutcome;

    /// <summary>It has no value here.</summary>
    /// <param name="Message">One line for people: <c>desc->irq_data.chip is NULL</c>.</param>
    /// <param name="Position">Characters from the text's start to the part that it is about.</param>
    /// <param name="Length">Characters of that part.</param>
    public sealed record Failed(string Message, int Position, int Length) : ExpressionOutcome;
}
