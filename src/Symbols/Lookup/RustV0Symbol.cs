// The letters of the grammar in rustc's book, "v0 Symbol Format": what is no rule of its own but numbers, names and constants.
using System.Globalization;
using System.Numerics;
using System.Text;

namespace KTrace.Symbols.Lookup;

/// <summary>A symbol says what the format does not allow, or too much.</summary>
internal sealed class DamagedRustName : Exception;

/// <summary>A cursor over one symbol of the v0 format, behind <c>_R</c>.</summary>
internal sealed class RustV0Symbol(string symbol)
{
    /// <summary>Characters behind <c>_R</c>; back references count so.</summary>
    public int Position { get; set; }

    public bool AtEnd => Position == symbol.Length;

    public char Next() => Position < symbol.Length ? symbol[Position++] : throw new DamagedRustName();

    public bool Eat(char c)
    {
        if (Position < symbol.Length && symbol[Position] == c)
        {
            Position++;
            return true;
        }

        return false;
    }

    public ulong Disambiguator() => Eat('s') ? Base62() + 1 : 0;

    /// <summary><c>_</c> is 0, <c>0_</c> is 1, and so on.</summary>
    public ulong Base62()
    {
        if (Eat('_'))
        {
            return 0;
        }

        ulong value = 0;
        while (true)
        {
            var c = Next();
            if (c == '_')
            {
                return value == ulong.MaxValue ? throw new DamagedRustName() : value + 1;
            }

            var digit = c switch
            {
                >= '0' and <= '9' => c - '0',
                >= 'a' and <= 'z' => c - 'a' + 10,
                >= 'A' and <= 'Z' => c - 'A' + 36,
                _ => throw new DamagedRustName(),
            };
            if (value > (ulong.MaxValue - (ulong)digit) / 62)
            {
                throw new DamagedRustName();
            }

            value = (value * 62) + (ulong)digit;
        }
    }

    public string Identifier()
    {
        var isPunycode = Eat('u');
        var length = 0;
        var first = Next();
        if (!char.IsAsciiDigit(first))
        {
            throw new DamagedRustName();
        }

        length = first - '0';
        while (first != '0' && Position < symbol.Length && char.IsAsciiDigit(symbol[Position]) && length <= symbol.Length)
        {
            length = (length * 10) + symbol[Position++] - '0';
        }

        // Separates the length from a name that begins with a digit or an underscore.
        Eat('_');
        if (length > symbol.Length - Position)
        {
            throw new DamagedRustName();
        }

        var name = symbol.Substring(Position, length);
        Position += length;
        return isPunycode ? Punycode.Decode(name) ?? throw new DamagedRustName() : name;
    }

    public string Hexadecimal()
    {
        var start = Position;
        while (!Eat('_'))
        {
            if (!char.IsAsciiHexDigitLower(Next()))
            {
                throw new DamagedRustName();
            }
        }

        return symbol[start..(Position - 1)];
    }

    public static string Number(string hexadecimal) =>
        hexadecimal.Length <= 16
            ? (hexadecimal.Length == 0 ? 0 : ulong.Parse(hexadecimal, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)).ToString(CultureInfo.InvariantCulture)
            : hexadecimal.Length <= 32 ? BigInteger.Parse("0" + hexadecimal, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture).ToString(CultureInfo.InvariantCulture)
            : throw new DamagedRustName();

    public static string Character(string hexadecimal) =>
        hexadecimal.Length is > 0 and <= 6 && int.Parse(hexadecimal, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture) is var code && Rune.IsValid(code)
            ? "'" + Escaped(new Rune(code), '\'') + "'"
            : throw new DamagedRustName();

    public string Text()
    {
        var hexadecimal = Hexadecimal();
        if (hexadecimal.Length % 2 != 0)
        {
            throw new DamagedRustName();
        }

        var text = new StringBuilder("\"");
        foreach (var rune in Encoding.UTF8.GetString(Convert.FromHexString(hexadecimal)).EnumerateRunes())
        {
            text.Append(Escaped(rune, '"'));
        }

        return text.Append('"').ToString();
    }

    // char::escape_debug.
    private static string Escaped(Rune rune, char quote) => rune.Value switch
    {
        0 => "\\0",
        '\t' => "\\t",
        '\r' => "\\r",
        '\n' => "\\n",
        '\\' => "\\\\",
        var c when c == quote => "\\" + quote,
        _ when Rune.IsControl(rune) => "\\u{" + rune.Value.ToString("x", CultureInfo.InvariantCulture) + "}",
        _ => rune.ToString(),
    };
}
