namespace KTrace.Symbols.Elf;

/// <summary>Comparing names that a person typed with names of the symbol table, as bytes.</summary>
internal static class SymbolNameMatching
{
    private const int MaximumLength = 128;

    /// <summary><c>*</c> stands for any run of bytes, <c>?</c> for one.</summary>
    public static bool Glob(ReadOnlySpan<byte> pattern, ReadOnlySpan<byte> name)
    {
        var (p, n) = (0, 0);
        var (star, resume) = (-1, 0);
        while (n < name.Length)
        {
            if (p < pattern.Length && (pattern[p] == '?' || (pattern[p] == name[n] && pattern[p] != '*')))
            {
                p++;
                n++;
            }
            else if (p < pattern.Length && pattern[p] == '*')
            {
                star = p++;
                resume = n;
            }
            else if (star >= 0)
            {
                p = star + 1;
                n = ++resume;
            }
            else
            {
                return false;
            }
        }

        while (p < pattern.Length && pattern[p] == '*')
        {
            p++;
        }

        return p == pattern.Length;
    }

    /// <summary>Letters to insert, delete, replace or swap with their neighbour; <paramref name="limit"/> + 1 as soon as it is more than the limit.</summary>
    public static int Distance(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b, int limit)
    {
        if (Math.Abs(a.Length - b.Length) > limit || b.Length > MaximumLength || a.Length > MaximumLength)
        {
            return limit + 1;
        }

        Span<int> rows = stackalloc int[3 * (MaximumLength + 1)];
        var before = rows[..(MaximumLength + 1)];
        var previous = rows.Slice(MaximumLength + 1, MaximumLength + 1);
        var current = rows[(2 * (MaximumLength + 1))..];
        for (var j = 0; j <= b.Length; j++)
        {
            previous[j] = j;
        }

        for (var i = 1; i <= a.Length; i++)
        {
            current[0] = i;
            var smallest = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var cost = a[i - 1] == b[j - 1] ? 0 : 1;
                var value = Math.Min(Math.Min(previous[j] + 1, current[j - 1] + 1), previous[j - 1] + cost);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    value = Math.Min(value, before[j - 2] + 1);
                }

                current[j] = value;
                smallest = Math.Min(smallest, value);
            }

            if (smallest > limit)
            {
                return limit + 1;
            }

            var reused = before;
            before = previous;
            previous = current;
            current = reused;
        }

        return previous[b.Length];
    }
}
