// What follows the place in -b:
//   PLACE [if COND] [sample N] [first N] [print EXPR, …] [irqs] [return [if COND] [print EXPR, …] [irqs]]
// A place has no spaces, and the words if, sample, first, print, irqs and return stand where an expression cannot go on, so none of them needs quoting.
using System.Collections.Immutable;
using System.Globalization;
using KTrace.Debugger.Values;
using KTrace.Symbols.Values.Expressions;

namespace KTrace.Debugger.Tracepoints;

/// <summary>What a tracepoint does at a stop.</summary>
/// <param name="Condition">The stop counts only when it is true; null: always.</param>
/// <param name="Prints">Evaluated at each stop that counts, in order.</param>
/// <param name="Return">What to do when the function returns, or null: nothing.</param>
public sealed record TracepointActions(Expression? Condition, ImmutableArray<Expression> Prints, TracepointActions? Return)
{
    private const string Grammar =
        "after the place come: if CONDITION, sample N (one in N), first N, print EXPRESSION, …, irqs, and return with if, print and irqs for the moment when the function returns";

    private const long MaximumCount = int.MaxValue;

    public static TracepointActions None { get; } = new(null, [], null);

    /// <summary>Of the hits that count one in so many is recorded: the first, then every Nth.</summary>
    public long Sample { get; init; } = 1;

    /// <summary>Only so many hits are recorded; null: all.</summary>
    public long? First { get; init; }

    /// <summary>Take the interrupt controllers and the kernel's irq descriptors.</summary>
    public bool Interrupts { get; init; }

    /// <summary>At a return: nothing is printed but what the function returned.</summary>
    public bool PrintsReturnValueOnly => Prints is [var only] && only.ToString() == ReturnValue.ToString();

    /// <summary>At a function's return without a word: what it returned.</summary>
    public static Expression ReturnValue { get; } = Expression.Parse("$ret");

    /// <param name="text">All that was written after -b, for messages.</param>
    /// <param name="position">Where the place has ended.</param>
    /// <exception cref="TargetException">The text does not follow the grammar, or holds no expression where one belongs.</exception>
    public static TracepointActions Parse(string text, int position)
    {
        try
        {
            var actions = ParseWords(text, ref position, atReturn: false);
            return position == text.Length ? actions : throw Unexpected(text, position);
        }
        catch (ExpressionSyntaxException e)
        {
            throw new TargetException($"{e.Message}\n  {text}\n  {new string(' ', Math.Clamp(e.Position, 0, text.Length))}^", "for example: -b 'request_threaded_irq if irq == 24 print devname, *action'");
        }
    }

    private static TracepointActions ParseWords(string text, ref int position, bool atReturn)
    {
        Expression? condition = null;
        ImmutableArray<Expression> prints = [];
        TracepointActions? returning = null;
        if (TryWord(text, ref position, "if"))
        {
            condition = Expression.ParsePrefix(text, ref position);
        }

        var sample = !atReturn && TryWord(text, ref position, "sample") ? Number(text, ref position, "sample", "one hit in so many is recorded, as in sample 100") : 1;
        long? first = !atReturn && TryWord(text, ref position, "first") ? Number(text, ref position, "first", "so many hits are recorded, as in first 1000") : null;
        if (TryWord(text, ref position, "print"))
        {
            prints = Expression.ParseListPrefix(text, ref position);
        }

        var interrupts = TryWord(text, ref position, "irqs");
        if (!atReturn && TryWord(text, ref position, "return"))
        {
            returning = ParseWords(text, ref position, atReturn: true);
            returning = returning.Prints.IsEmpty ? returning with { Prints = [ReturnValue] } : returning;
        }

        return new TracepointActions(condition, prints, returning) { Interrupts = interrupts, Sample = sample, First = first };
    }

    private static long Number(string text, ref int position, string word, string meaning)
    {
        var end = position;
        while (end < text.Length && text[end] != ' ')
        {
            end++;
        }

        if (!long.TryParse(text.AsSpan(position, end - position), NumberStyles.None, CultureInfo.InvariantCulture, out var number) || number is < 1 or > MaximumCount)
        {
            throw new TargetException(
                $"{word} takes a number from 1 to {MaximumCount}{(end > position ? $", not '{text[position..end]}'" : "")}\n  {text}\n  {new string(' ', position)}^", $"{word} N: {meaning}");
        }

        while (end < text.Length && text[end] == ' ')
        {
            end++;
        }

        position = end;
        return number;
    }

    private static bool TryWord(string text, ref int position, string word)
    {
        var start = position;
        while (start < text.Length && text[start] == ' ')
        {
            start++;
        }

        var end = start + word.Length;
        if (string.CompareOrdinal(text, start, word, 0, word.Length) != 0 || (end < text.Length && (char.IsAsciiLetterOrDigit(text[end]) || text[end] == '_')))
        {
            position = start;
            return false;
        }

        while (end < text.Length && text[end] == ' ')
        {
            end++;
        }

        position = end;
        return true;
    }

    private static TargetException Unexpected(string text, int position) => new(
        $"'{text[position..].Split(' ')[0]}' is not expected here\n  {text}\n  {new string(' ', position)}^", Grammar);
}
