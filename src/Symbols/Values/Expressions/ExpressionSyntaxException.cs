namespace KTrace.Symbols.Values.Expressions;

/// <summary>A text is no expression. Known before anything is evaluated.</summary>
/// <param name="message">One line for people, without the position.</param>
/// <param name="position">Characters from the text's start to the place that is wrong.</param>
public sealed class ExpressionSyntaxException(string message, int position) : Exception(message)
{
    public int Position => position;
}
