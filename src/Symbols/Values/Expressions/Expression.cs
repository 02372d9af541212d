// C expressions over a stopped guest: gdb's print without its side effects. Syntax is known when the text is read; names and types when it is evaluated, because
// the same expression is evaluated at many stops. See Parser for what is different from C, and Evaluator for what is different from gdb.
using System.Collections.Frozen;
using System.Collections.Immutable;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>An expression that was read. Immutable and thread-safe; it may be evaluated any number of times.</summary>
public sealed class Expression
{
    private readonly string _source;
    private readonly int _start;
    private readonly Syntax _root;
    private readonly ImmutableArray<string> _ambiguousNames;

    // The reading for one set of type names. Almost always there is but one for the life of an expression.
    private Reading? _otherReading;

    private Expression(string source, int start, Syntax root, IReadOnlySet<string> ambiguousNames)
    {
        _source = source;
        _start = start;
        _root = root;
        _ambiguousNames = [.. ambiguousNames];
        Text = source[root.Start..root.End];
    }

    /// <summary>As it was written, without what stood around it.</summary>
    public string Text { get; }

    /// <summary>Reads a text that is one expression.</summary>
    /// <exception cref="ExpressionSyntaxException">It is not.</exception>
    public static Expression Parse(string text)
    {
        var position = 0;
        var expression = ParsePrefix(text, ref position);
        return position == text.Length ? expression : throw Unexpected(text, position);
    }

    /// <summary>Reads a text that is one or more expressions with commas between them.</summary>
    /// <exception cref="ExpressionSyntaxException">It is not.</exception>
    public static ImmutableArray<Expression> ParseList(string text)
    {
        var position = 0;
        var list = ParseListPrefix(text, ref position);
        return position == text.Length ? list : throw Unexpected(text, position);
    }

    /// <summary>
    /// Reads one expression from <paramref name="position"/> on, up to the first word that cannot belong to it: a comma, a name such as <c>print</c> after a complete value,
    /// or the end. Positions in errors and failures count from the text's start.
    /// </summary>
    /// <param name="position">Afterwards at that word (spaces skipped), or at the text's end.</param>
    /// <exception cref="ExpressionSyntaxException">There is no expression.</exception>
    public static Expression ParsePrefix(string text, ref int position)
    {
        var parser = new Parser(text, position, FrozenSet<string>.Empty);
        var expression = new Expression(text, position, parser.ParseExpression(), parser.AmbiguousNames);
        position = parser.Next.Start;
        return expression;
    }

    /// <summary>Reads expressions with commas between them, as <see cref="ParsePrefix"/> reads one.</summary>
    /// <exception cref="ExpressionSyntaxException">There is no expression, or none behind a comma.</exception>
    public static ImmutableArray<Expression> ParseListPrefix(string text, ref int position)
    {
        var list = ImmutableArray.CreateBuilder<Expression>();
        while (true)
        {
            list.Add(ParsePrefix(text, ref position));
            if (position >= text.Length || text[position] != ',')
            {
                return list.ToImmutable();
            }

            position++;
        }
    }

    /// <summary>Evaluates over what was fetched so far. Never throws for what the guest or the text holds; reads and steps are bounded.</summary>
    public ExpressionOutcome Evaluate(IExpressionScope scope) => new Evaluator(_source, scope).Run(RootFor(scope));

    /// <summary>Evaluates as a condition: a value that is neither number nor pointer is a failure, as in C.</summary>
    public ExpressionOutcome EvaluateCondition(IExpressionScope scope) => new Evaluator(_source, scope).RunCondition(RootFor(scope));

    public override string ToString() => Text;

    /// <summary>All of the text that positions count in.</summary>
    internal string Source => _source;

    /// <summary>The tree, where names in parentheses are types if the scope says so.</summary>
    internal Syntax RootFor(IExpressionScope scope)
    {
        if (_ambiguousNames.IsEmpty)
        {
            return _root;
        }

        var typeNames = _ambiguousNames.Where(name => NameLookup.IsOnlyType(scope, name)).ToFrozenSet();
        if (typeNames.Count == 0)
        {
            return _root;
        }

        if (_otherReading is { } reading && reading.TypeNames.SetEquals(typeNames))
        {
            return reading.Root;
        }

        var root = new Parser(_source, _start, typeNames).ParseExpression();
        _otherReading = new Reading(typeNames, root);
        return root;
    }

    private sealed record Reading(FrozenSet<string> TypeNames, Syntax Root);

    private static ExpressionSyntaxException Unexpected(string text, int position) =>
        new(text[position] == ',' ? "one expression is expected here, not a list" : $"an operator is expected before {text[position..Math.Min(text.Length, position + 20)]}", position);
}
