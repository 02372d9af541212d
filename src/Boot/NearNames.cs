namespace KTrace.Boot;

/// <summary>How far two names are apart, to suggest what was meant.</summary>
internal static class NearNames
{
    /// <summary>Levenshtein's distance, for names of ordinary length; a large number for longer ones.</summary>
    public static int Distance(string a, string b)
    {
        if (Math.Abs(a.Length - b.Length) > 3 || a.Length > 64 || b.Length > 64)
        {
            return int.MaxValue;
        }

        var previous = Enumerable.Range(0, b.Length + 1).ToArray();
        for (var i = 1; i <= a.Length; i++)
        {
            var current = new int[b.Length + 1];
            current[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                current[j] = Math.Min(Math.Min(current[j - 1], previous[j]) + 1, previous[j - 1]
                    + (a[i - 1] == b[j - 1] ? 0 : 1));
            }

            previous = current;
        }

        return previous[b.Length];
    }

    /// <summary>The nearest of <paramref name="candidates"/>, or null if none is near.</summary>
    public static string? Nearest(string name, IEnumerable<string> candidates) =>
        candidates.Select(candidate => (candidate, distance: Distance(name, candidate)))
            .Where(pair => pair.distance <= Math.Max(2, name.Length / 3))
            .OrderBy(pair => pair.distance).Select(pair => pair.candidate).FirstOrDefault();
}
