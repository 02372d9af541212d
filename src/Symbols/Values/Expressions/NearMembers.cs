using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>Names that are near one that does not exist.</summary>
internal static class NearMembers
{
    private const int MaximumNames = 2000;

    /// <summary>"; near it: chip, chip_data", or nothing.</summary>
    public static string Suggestion(IReadOnlyList<string> names) => names.Count == 0 ? "" : "; near it: " + string.Join(", ", names);

    /// <summary>The members nearest to <paramref name="name"/>, best first.</summary>
    public static IReadOnlyList<string> Of(StructType structure, string name, int limit) =>
        [.. Names(structure, 0).Take(MaximumNames)
            .Select(candidate => (candidate, distance: Distance(name, candidate)))
            .Where(pair => pair.distance <= Math.Max(1, name.Length / 3))
            .OrderBy(pair => pair.distance).ThenBy(pair => pair.candidate, StringComparer.Ordinal).Select(pair => pair.candidate).Take(limit)];

    private static IEnumerable<string> Names(StructType structure, int depth)
    {
        const int MaximumDepth = 8;
        foreach (var member in structure.Members)
        {
            if (member.Name.Length > 0)
            {
                yield return member.Name;
            }
            else if (depth < MaximumDepth && member.Type.Resolved is StructType inner)
            {
                foreach (var name in Names(inner, depth + 1))
                {
                    yield return name;
                }
            }
        }
    }

    /// <summary>Levenshtein's distance; one inside the other counts as near.</summary>
    private static int Distance(string a, string b)
    {
        const int MaximumLength = 64;
        if (a.Length > MaximumLength || b.Length > MaximumLength)
        {
            return int.MaxValue;
        }

        if (a.Length > 2 && b.Contains(a, StringComparison.OrdinalIgnoreCase))
        {
            return 1;
        }

        Span<int> row = stackalloc int[b.Length + 1];
        for (var j = 0; j <= b.Length; j++)
        {
            row[j] = j;
        }

        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var next = Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1));
                diagonal = row[j];
                row[j] = next;
            }
        }

        return row[b.Length];
    }
}
