using System.Collections.Immutable;
using System.Globalization;
using KTrace.Tui.Targets;

namespace KTrace.Tui.State;

/// <summary>
/// A filter of the timeline as a person writes it: words that all must be in a hit. <c>msi task:ifconfig -cpu:1 #10-20</c>: a word may be anywhere, <c>field:word</c> in one field,
/// <c>#N</c> and <c>#N-M</c> mean hits by number, a minus in front means not. Capitals do not matter.
/// </summary>
public sealed record HitFilterText
{
    private readonly ImmutableArray<Term> _terms;

    private HitFilterText(string text, ImmutableArray<Term> terms)
    {
        (Text, _terms) = (text, terms);
    }

    public static ImmutableArray<string> Fields { get; } = ["place", "task", "cpu", "context", "clock", "path", "args"];

    public string Text { get; }

    /// <summary>Null for a filter that lets everything through.</summary>
    public static HitFilterText? Parse(string text)
    {
        var terms = text.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(Term.Parse).Where(t => t.Word.Length > 0 || t.Range is not null).ToImmutableArray();
        return terms.IsEmpty ? null : new HitFilterText(text.Trim(), terms);
    }

    public bool Matches(HitSummary hit)
    {
        foreach (var term in _terms)
        {
            if (term.Matches(hit) == term.IsNegated)
            {
                return false;
            }
        }

        return true;
    }

    private readonly record struct Term(bool IsNegated, string? Field, string Word, (long First, long Last)? Range)
    {
        public static Term Parse(string text)
        {
            var isNegated = text.Length > 1 && text[0] == '-';
            var rest = isNegated ? text[1..] : text;
            if (rest.StartsWith('#') && Numbers(rest[1..]) is { } range)
            {
                return new Term(isNegated, null, "", range);
            }

            var colon = rest.IndexOf(':', StringComparison.Ordinal);
            return colon > 0 && Fields.Contains(rest[..colon].ToLowerInvariant())
                ? new Term(isNegated, rest[..colon].ToLowerInvariant(), rest[(colon + 1)..], null)
                : new Term(isNegated, null, rest, null);
        }

        public bool Matches(HitSummary hit) => this switch
        {
            { Range: { } range } => hit.Sequence >= range.First && hit.Sequence <= range.Last,
            { Field: "place" } => Has(hit.Place),
            { Field: "task" } => Has(hit.Task),
            { Field: "cpu" } => hit.Cpu.ToString(CultureInfo.InvariantCulture) == Word,
            { Field: "context" } => Has(hit.Context),
            { Field: "clock" } => Has(hit.Clock),
            { Field: "path" } => Has(hit.Path) || Has(hit.Where),
            { Field: "args" } => Has(hit.Arguments),
            _ => Has(hit.Place) || Has(hit.Where) || Has(hit.Path) || Has(hit.Task) || Has(hit.Arguments) || Has(hit.Clock) || Has(hit.Context),
        };

        private static (long First, long Last)? Numbers(string text)
        {
            var dash = text.IndexOf('-', StringComparison.Ordinal);
            return long.TryParse(dash < 0 ? text : text[..dash], NumberStyles.None, CultureInfo.InvariantCulture, out var first)
                ? dash < 0 ? (first, first)
                : dash == text.Length - 1 ? (first, long.MaxValue)
                : long.TryParse(text[(dash + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out var last) ? (first, last) : null
                : null;
        }

        private bool Has(string text) => text.Contains(Word, StringComparison.OrdinalIgnoreCase);
    }
}
