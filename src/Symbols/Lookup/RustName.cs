// Rust's symbol names. v0: RFC 2603 and rustc's book, "v0 Symbol Format" (rustc 1.37 and later; the default of Rust for Linux). Legacy: _ZN…17h<16 hexadecimal
// digits>E with $…$ escapes (rustc's default until 1.9x), which look like C++ and are told by their hash.
// Shown as c++filt and gdb show them: without the hashes of crates and the types of constants.
namespace KTrace.Symbols.Lookup;

/// <summary>Makes readable what rustc mangled.</summary>
public static class RustName
{
    // Longer than any real name: rustc itself hashes what would be longer.
    private const int MaximumSymbol = 8192;
    private const int LegacyHash = 16;
    private const int LeastDigits = 5;

    /// <summary>False when the symbol is none of rustc's, or is damaged. What the compiler put behind the name (<c>.llvm.123</c>) is left out.</summary>
    public static bool TryDemangle(string symbol, out string name)
    {
        name = "";
        if (symbol.Length is < 3 or > MaximumSymbol)
        {
            return false;
        }

        if (symbol.StartsWith("_R", StringComparison.Ordinal) && symbol[2] is >= 'A' and <= 'Z')
        {
            return RustV0Reader.TryRead(symbol, out name);
        }

        return symbol.StartsWith("_ZN", StringComparison.Ordinal) && TryDemangleLegacy(symbol, out name);
    }

    /// <summary>The readable name, or the symbol as it is.</summary>
    public static string Demangle(string symbol) => TryDemangle(symbol, out var name) ? name : symbol;

    /// <summary>Quick: false for nearly every symbol that is not Rust's.</summary>
    internal static bool MayBe(ReadOnlySpan<byte> symbol) => symbol.Length > 2 && symbol[0] == '_' && (symbol[1] == 'R' || (symbol[1] == 'Z' && symbol[2] == 'N'));

    private static bool TryDemangleLegacy(string symbol, out string name)
    {
        name = "";
        var parts = new List<string>();
        var at = 3;
        while (at < symbol.Length && symbol[at] != 'E')
        {
            var length = 0;
            var start = at;
            while (at < symbol.Length && char.IsAsciiDigit(symbol[at]) && length < MaximumSymbol)
            {
                length = (length * 10) + symbol[at++] - '0';
            }

            if (at == start || length == 0 || length > symbol.Length - at)
            {
                return false;
            }

            parts.Add(symbol.Substring(at, length));
            at += length;
        }

        // C++ has the same form. Only rustc ends with a hash, and a real hash has many different digits.
        if (at >= symbol.Length || parts.Count < 2 || parts[^1] is not ['h', .. { Length: LegacyHash } hash]
            || hash.Any(c => !char.IsAsciiHexDigitLower(c)) || hash.Distinct().Count() < LeastDigits || symbol[(at + 1)..] is not ("" or ['.', ..]))
        {
            return false;
        }

        var readable = new List<string>();
        foreach (var part in parts.SkipLast(1))
        {
            if (!TryUnescape(part, out var text))
            {
                return false;
            }

            readable.Add(text);
        }

        name = string.Join("::", readable);
        return true;
    }

    private static bool TryUnescape(string part, out string text)
    {
        var result = new System.Text.StringBuilder(part.Length);
        text = "";
        // An identifier must not begin with $, so rustc puts _ in front.
        var at = part.StartsWith("_$", StringComparison.Ordinal) ? 1 : 0;
        while (at < part.Length)
        {
            if (part[at] == '$')
            {
                var end = part.IndexOf('$', at + 1);
                if (end < 0)
                {
                    return false;
                }

                var escape = part[(at + 1)..end];
                string? replacement = escape switch
                {
                    "SP" => "@", "BP" => "*", "RF" => "&", "LT" => "<", "GT" => ">", "LP" => "(", "RP" => ")", "C" => ",", _ => null,
                };
                if (replacement is null)
                {
                    if (escape.Length is < 2 or > 7 || escape[0] != 'u' || !int.TryParse(escape.AsSpan(1), System.Globalization.NumberStyles.AllowHexSpecifier, null, out var code)
                        || !System.Text.Rune.IsValid(code) || System.Text.Rune.IsControl(new System.Text.Rune(code)))
                    {
                        return false;
                    }

                    replacement = new System.Text.Rune(code).ToString();
                }

                result.Append(replacement);
                at = end + 1;
            }
            else if (part[at] == '.' && at + 1 < part.Length && part[at + 1] == '.')
            {
                result.Append("::");
                at += 2;
            }
            else
            {
                result.Append(part[at++]);
            }
        }

        text = result.ToString();
        return true;
    }
}
