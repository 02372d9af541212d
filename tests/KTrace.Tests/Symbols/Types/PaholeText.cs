using System.Text.RegularExpressions;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Types;

/// <summary>
/// What pahole prints, without what KTrace leaves out on purpose: attributes and the bit fields without a name that pahole 1.24 makes up to force them ("Force alignment",
/// "Force padding", "forced alignments", "Bitfield combined": guesses from the layout that no debug information has), and its own spacing ("const char  *").
/// [0] and [] are one: BTF does not tell them apart, and pahole decides by the place.
/// </summary>
internal static partial class PaholeText
{
    public static IReadOnlyList<(string Name, string Text)> Structures(params string[] arguments)
    {
        var found = new List<(string, string)>();
        var block = new List<string>();
        foreach (var line in PeerProgram.Run("pahole", arguments).Split('\n'))
        {
            block.Add(line);
            if (line.StartsWith('}'))
            {
                if (Head().Match(string.Join('\n', block)) is { Success: true } head)
                {
                    found.Add((head.Groups["name"].Value, Normalize(string.Join('\n', block))));
                }

                block.Clear();
            }
        }

        return found;
    }

    public static string Normalize(string text)
    {
        text = Attribute().Replace(text, "");
        var lines = text.Split('\n').Select(l => Spaces().Replace(l, " ").Trim())
            .Where(l => l.Length > 0 && !Guess().IsMatch(l))
            .Select(l => Stars().Replace(l, m => new string('*', m.Value.Count(c => c == '*'))));
        // "} name;" and "};" may have a space before the semicolon where an attribute stood.
        return string.Join('\n', lines.Select(l => l.Replace(" ;", ";", StringComparison.Ordinal).Replace("( ", "(", StringComparison.Ordinal)
            .Replace(" )", ")", StringComparison.Ordinal).Replace(" ,", ",", StringComparison.Ordinal).Replace("[0]", "[]", StringComparison.Ordinal)));
    }

    /// <summary>
    /// The texts differ only in what pahole 1.24 gets wrong: where const belongs (of function pointers, arrays and constant pointers), pointers to arrays (it drops the array),
    /// functions that return function pointers (it writes them inside out), and the summary that it prints in the middle, for "const struct {...}".
    /// </summary>
    public static bool IsExplained(string ours, string paholes)
    {
        var left = Constants(ours);
        var right = Constants(paholes);
        return left.Except(right).All(l => l.Contains(")[", StringComparison.Ordinal) || l.Contains("(*(*", StringComparison.Ordinal))
            && right.Except(left).All(l => l.Contains("()(", StringComparison.Ordinal) || Summary().IsMatch(l) || left.Any(o => o.Contains(")[", StringComparison.Ordinal) && SamePlace(o, l)));
    }

    private static List<string> Constants(string text) =>
        [.. text.Split('\n').Select(l => Constant().Replace(l, "")).Select(l => l.Replace(" ", "", StringComparison.Ordinal))];

    private static bool SamePlace(string a, string b) => Place(a) == Place(b);

    private static string Place(string line) => line[Math.Max(0, line.IndexOf("/*", StringComparison.Ordinal))..];

    [GeneratedRegex(@"\bconst\b")]
    private static partial Regex Constant();

    [GeneratedRegex(@"^/\*(size|summembers|lastcacheline|padding)")]
    private static partial Regex Summary();

    [GeneratedRegex(@"^struct (?<name>\w+) \{", RegexOptions.Multiline)]
    private static partial Regex Head();

    [GeneratedRegex(@"\s*__attribute__\(\(__\w+__(\(\d+\))?\)\)")]
    private static partial Regex Attribute();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    [GeneratedRegex(@"\*( \*)+| ?\*+ ?")]
    private static partial Regex Stars();

    [GeneratedRegex(@"Force (alignment|padding)|forced alignments|Bitfield combined|^[\w ]+ :\d+;$|BRAIN FART")]
    private static partial Regex Guess();
}
