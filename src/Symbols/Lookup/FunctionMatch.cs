using System.Collections.Immutable;

namespace KTrace.Symbols.Lookup;

/// <summary>One function of the source, and everywhere its code is.</summary>
/// <param name="Name">As in the source (Rust: readable).</param>
/// <param name="Declaration">Where it is written, or null when no DWARF tells.</param>
/// <param name="File">The file by which a person tells it from others of its name (<c>file:name</c> finds it), or null.</param>
/// <param name="Places">Where it is entered, ascending, each address once: the function, its copies, its inline instances.</param>
public sealed record FunctionMatch(string Name, SourceLine? Declaration, string? File, ImmutableArray<CodePlace> Places)
{
    /// <summary>Calls that were replaced by its body.</summary>
    public int InlineCount => Places.Count(p => p.Kind == CodePlaceKind.Inline);

    /// <summary>Symbols of the copies that the compiler made of it.</summary>
    public IEnumerable<string> Clones => Places.Where(p => p.Kind == CodePlaceKind.Clone).Select(p => p.Symbol);

    /// <summary>Copies of its own code: one, or one for each unit that has it (a static function of a header).</summary>
    public int EntryCount => Places.Count(p => p.Kind == CodePlaceKind.Entry);

    /// <summary>What a person should know before tracing it (<c>inlined at 12 places; also sum.isra.0</c>), or null when it is one place under its own name.</summary>
    public string? Describe()
    {
        var parts = new List<string>();
        if (InlineCount > 0)
        {
            parts.Add($"{Name} is inlined at {InlineCount} place{(InlineCount == 1 ? "" : "s")}{(EntryCount == 0 ? "" : EntryCount == 1 ? " and has code of its own" : $" and has code of its own {EntryCount} times")}");
        }
        else if (EntryCount > 1)
        {
            parts.Add($"{Name} exists {EntryCount} times, one in each file that includes it");
        }

        var clones = Clones.Distinct().ToList();
        if (clones.Count > 0)
        {
            parts.Add((parts.Count == 0 && EntryCount == 0 ? $"{Name} is compiled as " : "also ") + string.Join(", ", clones));
        }

        return parts.Count == 0 ? null : string.Join("; ", parts);
    }
}
