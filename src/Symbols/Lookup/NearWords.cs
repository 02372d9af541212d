using System.Text;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Lookup;

/// <summary>What was probably meant by a misspelt name, out of names that there are.</summary>
public static class NearWords
{
    /// <summary>Up to <paramref name="count"/>, the most alike first: a few letters wrong, or the right word with something around it.</summary>
    public static IReadOnlyList<string> Of(string wanted, IEnumerable<string> candidates, int count = 5)
    {
        var bytes = Encoding.UTF8.GetBytes(wanted);
        var limit = Math.Clamp(bytes.Length / 4, 1, 4);
        return
        [
            .. candidates.Distinct().Select(c => (Name: c, Distance: DistanceTo(c)))
                .Where(c => c.Distance < int.MaxValue).OrderBy(c => c.Distance).ThenBy(c => c.Name, StringComparer.Ordinal).Take(count).Select(c => c.Name),
        ];

        int DistanceTo(string candidate)
        {
            var distance = SymbolNameMatching.Distance(bytes, Encoding.UTF8.GetBytes(candidate), limit);
            return distance <= limit ? distance
                : wanted.Length >= 3 && candidate.Contains(wanted, StringComparison.Ordinal) ? limit + 1 + candidate.Length - wanted.Length
                : int.MaxValue;
        }
    }
}
