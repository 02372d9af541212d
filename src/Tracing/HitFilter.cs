using System.Collections.Immutable;
using System.Globalization;
using System.IO.Enumeration;

namespace KTrace.Tracing;

/// <summary>
/// Which hits are wanted: terms <c>key=value</c> that must all hold. Keys: <c>tracepoint</c> (id, requested text or symbol),
/// <c>function</c> and <c>module</c> (of any frame), <c>task</c> (comm or pid), <c>cpu</c>. Text values may use * and ?.
/// </summary>
public sealed class HitFilter
{
    private const string Form = "a filter is tracepoint=, function=, module=, task= or cpu=, such as function=e1000_* or task=ifconfig,cpu=0";

    private readonly ImmutableArray<(string Key, string Value)> _terms;

    private HitFilter(ImmutableArray<(string Key, string Value)> terms) => _terms = terms;

    public static HitFilter All { get; } = new([]);

    public bool IsAll => _terms.IsEmpty;

    /// <param name="texts">Each one term, or several with commas between them.</param>
    /// <exception cref="TraceQueryException">A term that means nothing.</exception>
    public static HitFilter Parse(IEnumerable<string> texts) => new([.. texts.SelectMany(text => text.Split(',')).Select(Term)]);

    /// <param name="hit">The hit in question.</param>
    /// <param name="tracepoints">The trace's tracepoints.</param>
    public bool Matches(TraceRecord.Hit hit, TracepointTable tracepoints) => _terms.All(term => term.Key switch
    {
        "tracepoint" => IsId(term.Value, hit.Tracepoint) || (tracepoints.Find(hit.Tracepoint) is { } tracepoint
            && (IsLike(term.Value, tracepoint.Requested) || IsLike(term.Value, tracepoint.Symbol))),
        "function" => hit.Path.Frames.Any(frame => IsLike(term.Value, frame.Function)),
        "module" => hit.Path.Frames.Any(frame => IsLike(term.Value, frame.Module)),
        "task" => hit.Task is { } task && (IsId(term.Value, task.Pid) || IsLike(term.Value, task.Comm)),
        _ => IsId(term.Value, hit.Cpu),
    });

    public override string ToString() => string.Join(",", _terms.Select(term => $"{term.Key}={term.Value}"));

    private static (string Key, string Value) Term(string text)
    {
        int mark = text.IndexOf('=');
        string key = mark < 0 ? "" : text[..mark].Trim();
        string value = mark < 0 ? "" : text[(mark + 1)..].Trim();
        if (key is not ("tracepoint" or "function" or "module" or "task" or "cpu") || value.Length == 0)
        {
            throw new TraceQueryException($"'{text}': {Form}");
        }

        return key != "cpu" || int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out _)
            ? (key, value)
            : throw new TraceQueryException($"'{text}': cpu= takes a number");
    }

    private static bool IsId(string value, int id) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number == id;

    private static bool IsLike(string pattern, string? text) =>
        text is not null && FileSystemName.MatchesSimpleExpression(pattern, text, ignoreCase: false);
}
