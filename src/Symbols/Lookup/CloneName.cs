// Compilers copy functions and name the copies after them. GCC (gcc/cgraphclones.cc, clone_function_name): foo.isra.0, foo.constprop.1, foo.part.2,
// foo.cold (foo.cold.3 before GCC 9), foo.lto_priv.4, foo.localalias; several may follow each other (foo.isra.0.cold). Clang: foo.llvm.123 (ThinLTO),
// foo.__uniq.123 (-funique-internal-linkage-names), foo.cfi and foo.cfi_jt (CFI before 6.1), foo.cold, foo.specialized.1. Before a function may lie bytes with a
// symbol of their own: __cfi_foo (kCFI's type, since 6.1) and __pfx_foo (CONFIG_CALL_PADDING, since 6.2).
namespace KTrace.Symbols.Lookup;

/// <summary>A symbol's name, taken apart: what the source calls the function, and what the compiler added.</summary>
/// <param name="Source">The function's name in the source.</param>
/// <param name="Suffix">What the compiler put behind it (<c>.isra.0</c>, <c>.cold</c>), or "".</param>
/// <param name="Prefix"><c>__pfx_</c> or <c>__cfi_</c>, or "".</param>
public readonly record struct CloneName(string Source, string Suffix, string Prefix)
{
    private static readonly string[] Words =
        ["cold", "isra", "part", "constprop", "llvm", "lto_priv", "localalias", "cfi", "cfi_jt", "__uniq", "specialized", "clone", "ipa-ra", "simdclone"];

    /// <summary>
    /// Calls of the function may enter here: the function itself and its copies. Not: a piece that is only jumped to (<c>.cold</c>), padding, and the
    /// jump tables of clang's older CFI.
    /// </summary>
    public bool IsEntry => Prefix.Length == 0 && !HasWord("cold") && !HasWord("cfi_jt");

    public bool IsClone => Suffix.Length > 0;

    public static CloneName Parse(string symbol)
    {
        var prefix = symbol.StartsWith("__pfx_", StringComparison.Ordinal) ? "__pfx_"
            : symbol.StartsWith("__cfi_", StringComparison.Ordinal) && symbol.Length > 6 ? "__cfi_" : "";
        var name = symbol[prefix.Length..];
        var length = SourceLength(name);
        return new CloneName(name[..length], name[length..], prefix);
    }

    /// <summary>How much of a symbol's name the source wrote; the rest is a clone's suffix. The name as it is when it has none.</summary>
    public static int SourceLength(ReadOnlySpan<char> name)
    {
        var at = name.IndexOf('.');
        return at > 0 && IsSuffix(name[at..]) ? at : name.Length;
    }

    /// <summary>The same for bytes.</summary>
    internal static int SourceLength(ReadOnlySpan<byte> name)
    {
        var at = name.IndexOf((byte)'.');
        if (at <= 0 || name.Length - at > 256)
        {
            return name.Length;
        }

        Span<char> suffix = stackalloc char[name.Length - at];
        for (var i = 0; i < suffix.Length; i++)
        {
            suffix[i] = (char)name[at + i];
        }

        return IsSuffix(suffix) ? at : name.Length;
    }

    private bool HasWord(string word) => Suffix.Split('.').Contains(word);

    /// <summary>A known word, then words and numbers: <c>.isra.0.cold</c>. A number alone (<c>name.123</c>) is how static locals are told apart.</summary>
    private static bool IsSuffix(ReadOnlySpan<char> suffix)
    {
        var isFirst = true;
        while (!suffix.IsEmpty)
        {
            suffix = suffix[1..];
            var end = suffix.IndexOf('.');
            var part = end < 0 ? suffix : suffix[..end];
            suffix = end < 0 ? default : suffix[end..];
            if (!IsWord(part) && (isFirst || part.IsEmpty || part.ContainsAnyExcept("0123456789abcdef")))
            {
                return false;
            }

            isFirst = false;
        }

        return true;
    }

    private static bool IsWord(ReadOnlySpan<char> part)
    {
        foreach (var word in Words)
        {
            if (part.SequenceEqual(word))
            {
                return true;
            }
        }

        return false;
    }
}
