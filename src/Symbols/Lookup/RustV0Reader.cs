// Grammar and printing: rustc's book, "v0 Symbol Format"; back references and lifetimes as there. Hostile input: recursion and output are bounded, as back
// references can make a short symbol say something very long.
using System.Globalization;
using System.Numerics;
using System.Text;

namespace KTrace.Symbols.Lookup;

/// <summary>One symbol of the v0 format, read and written at once by recursive descent.</summary>
internal sealed class RustV0Reader
{
    private const int MaximumDepth = 200;
    private const int MaximumOutput = 4096;
    private const int MaximumSteps = 20000;

    private readonly string _symbol;
    private readonly StringBuilder _output = new();
    private int _at;
    private int _depth;
    private int _steps;
    private int _silent;
    private ulong _boundLifetimes;

    private RustV0Reader(string symbol) => _symbol = symbol;

    private sealed class Damaged : Exception;

    public static bool TryRead(string symbol, out string name)
    {
        // Positions in back references count from behind "_R"; what a compiler appended begins with a dot or a dollar.
        var end = symbol.AsSpan().IndexOfAny('.', '$');
        var reader = new RustV0Reader(symbol[2..(end < 0 ? symbol.Length : end)]);
        name = "";
        try
        {
            reader.Path(inValue: true);
            if (reader._at < reader._symbol.Length)
            {
                // The crate that a generic function was instantiated in is not shown.
                reader._silent++;
                reader.Path(inValue: false);
            }
        }
        catch (Damaged)
        {
            return false;
        }

        name = reader._output.ToString();
        return reader._at == reader._symbol.Length && name.Length > 0;
    }

    private char Next() => _at < _symbol.Length ? _symbol[_at++] : throw new Damaged();

    private bool Eat(char c)
    {
        if (_at < _symbol.Length && _symbol[_at] == c)
        {
            _at++;
            return true;
        }

        return false;
    }

    private void Write(string text)
    {
        if (_silent == 0)
        {
            _output.Append(text);
            if (_output.Length > MaximumOutput)
            {
                throw new Damaged();
            }
        }
    }

    private void Enter()
    {
        if (++_depth > MaximumDepth || ++_steps > MaximumSteps)
        {
            throw new Damaged();
        }
    }

    /// <param name="inValue">Generic arguments of a value's path stand behind <c>::</c>.</param>
    private void Path(bool inValue)
    {
        Enter();
        switch (Next())
        {
            case 'C':
                Disambiguator();
                Write(Identifier());
                break;
            case 'N':
                NestedPath(inValue);
                break;
            case 'M':
                ImplPath();
                Write("<");
                Type();
                Write(">");
                break;
            case 'X':
                ImplPath();
                QualifiedPath();
                break;
            case 'Y':
                QualifiedPath();
                break;
            case 'I':
                Path(inValue);
                Write(inValue ? "::<" : "<");
                List(GenericArgument);
                Write(">");
                break;
            case 'B':
                BackReference(() => Path(inValue));
                break;
            default:
                throw new Damaged();
        }

        _depth--;
    }

    private void NestedPath(bool inValue)
    {
        var space = Next();
        if (!char.IsAsciiLetter(space))
        {
            throw new Damaged();
        }

        Path(inValue);
        var disambiguator = Disambiguator();
        var name = Identifier();
        if (char.IsAsciiLetterUpper(space))
        {
            // Things without a name of their own.
            Write("::{" + space switch { 'C' => "closure", 'S' => "shim", _ => space.ToString() });
            Write((name.Length > 0 ? ":" + name : "") + "#" + disambiguator.ToString(CultureInfo.InvariantCulture) + "}");
        }
        else if (name.Length > 0)
        {
            Write("::" + name);
        }
    }

    /// <summary>Where an impl block stands: not shown, as the type says more.</summary>
    private void ImplPath()
    {
        Disambiguator();
        _silent++;
        Path(inValue: false);
        _silent--;
    }

    private void QualifiedPath()
    {
        Write("<");
        Type();
        Write(" as ");
        Path(inValue: false);
        Write(">");
    }

    private void GenericArgument()
    {
        if (Eat('L'))
        {
            Lifetime(Base62());
        }
        else if (Eat('K'))
        {
            Constant();
        }
        else
        {
            Type();
        }
    }

    private int List(Action element, string separator = ", ")
    {
        var count = 0;
        while (!Eat('E'))
        {
            Enter();
            if (count++ > 0)
            {
                Write(separator);
            }

            element();
            _depth--;
        }

        return count;
    }

    private void Type()
    {
        Enter();
        var tag = Next();
        if (Basic(tag) is { } basic)
        {
            Write(basic);
        }
        else
        {
            CompoundType(tag);
        }

        _depth--;
    }

    private void CompoundType(char tag)
    {
        switch (tag)
        {
            case 'R' or 'Q':
                Write("&");
                if (Eat('L') && Base62() is var lifetime and > 0)
                {
                    Lifetime(lifetime);
                    Write(" ");
                }

                Write(tag == 'Q' ? "mut " : "");
                Type();
                break;
            case 'P' or 'O':
                Write(tag == 'P' ? "*const " : "*mut ");
                Type();
                break;
            case 'A' or 'S':
                Write("[");
                Type();
                if (tag == 'A')
                {
                    Write("; ");
                    Constant();
                }

                Write("]");
                break;
            case 'T':
                Write("(");
                if (List(Type) == 1)
                {
                    Write(",");
                }

                Write(")");
                break;
            case 'F':
                InBinder(FunctionType);
                break;
            case 'D':
                Write("dyn ");
                InBinder(() => List(DynamicTrait, " + "));
                if (!Eat('L'))
                {
                    throw new Damaged();
                }

                if (Base62() is var bound and > 0)
                {
                    Write(" + ");
                    Lifetime(bound);
                }

                break;
            case 'B':
                BackReference(Type);
                break;
            default:
                _at--;
                Path(inValue: false);
                break;
        }
    }

    private void FunctionType()
    {
        Write(Eat('U') ? "unsafe " : "");
        if (Eat('K'))
        {
            Write("extern \"" + (Eat('C') ? "C" : Identifier().Replace('_', '-')) + "\" ");
        }

        Write("fn(");
        List(Type);
        Write(")");
        if (!Eat('u'))
        {
            Write(" -> ");
            Type();
        }
    }

    private void DynamicTrait()
    {
        var isOpen = DynamicPath();
        while (Eat('p'))
        {
            Write(isOpen ? ", " : "<");
            isOpen = true;
            Write(Identifier() + " = ");
            Type();
        }

        Write(isOpen ? ">" : "");
    }

    /// <summary>A trait's path whose generic arguments are left open, so that associated types may follow inside the same brackets.</summary>
    private bool DynamicPath()
    {
        Enter();
        var isOpen = false;
        if (Eat('B'))
        {
            BackReference(() => isOpen = DynamicPath());
        }
        else if (Eat('I'))
        {
            Path(inValue: false);
            Write("<");
            List(GenericArgument);
            isOpen = true;
        }
        else
        {
            Path(inValue: false);
        }

        _depth--;
        return isOpen;
    }

    private void InBinder(Action inner)
    {
        var bound = Eat('G') ? Base62() + 1 : 0;
        if (bound > MaximumOutput)
        {
            throw new Damaged();
        }

        if (bound > 0)
        {
            Write("for<");
            for (ulong i = 0; i < bound; i++)
            {
                Write(i > 0 ? ", " : "");
                _boundLifetimes++;
                Lifetime(1);
            }

            Write("> ");
        }

        inner();
        _boundLifetimes -= bound;
    }

    /// <summary>Counted from the innermost binder outwards; 0 is one that is not named.</summary>
    private void Lifetime(ulong index)
    {
        if (index == 0)
        {
            Write("'_");
            return;
        }

        if (index > _boundLifetimes)
        {
            throw new Damaged();
        }

        var depth = _boundLifetimes - index;
        Write(depth < 26 ? $"'{(char)('a' + depth)}" : "'_" + depth.ToString(CultureInfo.InvariantCulture));
    }

    private void Constant()
    {
        Enter();
        if (Eat('B'))
        {
            BackReference(Constant);
            _depth--;
            return;
        }

        var type = Next();
        switch (type)
        {
            case 'p':
                Write("_");
                break;
            case 'a' or 's' or 'l' or 'x' or 'n' or 'i':
                Write(Eat('n') ? "-" : "");
                Write(Number(Hexadecimal()));
                break;
            case 'h' or 't' or 'm' or 'y' or 'o' or 'j':
                Write(Number(Hexadecimal()));
                break;
            case 'b':
                Write(Hexadecimal() switch { "0" or "" => "false", "1" => "true", _ => throw new Damaged() });
                break;
            case 'c':
                Write(Character(Hexadecimal()));
                break;
            case 'e':
                // A str by itself is a place, not a value.
                Write("*" + Text());
                break;
            case 'R' or 'Q':
                if (type == 'R' && Eat('e'))
                {
                    Write(Text());
                    break;
                }

                Write(type == 'R' ? "&" : "&mut ");
                Constant();
                break;
            case 'A':
                Write("[");
                List(Constant);
                Write("]");
                break;
            case 'T':
                Write("(");
                Write(List(Constant) == 1 ? ",)" : ")");
                break;
            case 'V':
                Path(inValue: true);
                Variant();
                break;
            default:
                throw new Damaged();
        }

        _depth--;
    }

    private void Variant()
    {
        switch (Next())
        {
            case 'U':
                break;
            case 'T':
                Write("(");
                List(Constant);
                Write(")");
                break;
            case 'S':
                Write(" { ");
                List(() =>
                {
                    Disambiguator();
                    Write(Identifier() + ": ");
                    Constant();
                });
                Write(" }");
                break;
            default:
                throw new Damaged();
        }
    }

    private string Hexadecimal()
    {
        var start = _at;
        while (!Eat('_'))
        {
            if (!char.IsAsciiHexDigitLower(Next()))
            {
                throw new Damaged();
            }
        }

        return _symbol[start..(_at - 1)];
    }

    private static string Number(string hexadecimal) =>
        hexadecimal.Length <= 16
            ? (hexadecimal.Length == 0 ? 0 : ulong.Parse(hexadecimal, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)).ToString(CultureInfo.InvariantCulture)
            : hexadecimal.Length <= 32 ? BigInteger.Parse("0" + hexadecimal, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture).ToString(CultureInfo.InvariantCulture)
            : throw new Damaged();

    private static string Character(string hexadecimal) =>
        hexadecimal.Length is > 0 and <= 6 && int.Parse(hexadecimal, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture) is var code && Rune.IsValid(code)
            ? "'" + Escaped(new Rune(code), '\'') + "'"
            : throw new Damaged();

    private string Text()
    {
        var hexadecimal = Hexadecimal();
        if (hexadecimal.Length % 2 != 0)
        {
            throw new Damaged();
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

    private void BackReference(Action what)
    {
        var origin = _at - 1;
        var target = Base62();
        if (target >= (ulong)origin)
        {
            throw new Damaged();
        }

        if (_silent > 0)
        {
            // Nothing of it would be seen.
            return;
        }

        var after = _at;
        _at = (int)target;
        Enter();
        what();
        _depth--;
        _at = after;
    }

    private ulong Disambiguator() => Eat('s') ? Base62() + 1 : 0;

    /// <summary><c>_</c> is 0, <c>0_</c> is 1, and so on.</summary>
    private ulong Base62()
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
                return value == ulong.MaxValue ? throw new Damaged() : value + 1;
            }

            var digit = c switch
            {
                >= '0' and <= '9' => c - '0',
                >= 'a' and <= 'z' => c - 'a' + 10,
                >= 'A' and <= 'Z' => c - 'A' + 36,
                _ => throw new Damaged(),
            };
            if (value > (ulong.MaxValue - (ulong)digit) / 62)
            {
                throw new Damaged();
            }

            value = (value * 62) + (ulong)digit;
        }
    }

    private string Identifier()
    {
        var isPunycode = Eat('u');
        var length = 0;
        var first = Next();
        if (!char.IsAsciiDigit(first))
        {
            throw new Damaged();
        }

        length = first - '0';
        while (first != '0' && _at < _symbol.Length && char.IsAsciiDigit(_symbol[_at]) && length <= _symbol.Length)
        {
            length = (length * 10) + _symbol[_at++] - '0';
        }

        // Separates the length from a name that begins with a digit or an underscore.
        Eat('_');
        if (length > _symbol.Length - _at)
        {
            throw new Damaged();
        }

        var name = _symbol.Substring(_at, length);
        _at += length;
        return isPunycode ? Punycode.Decode(name) ?? throw new Damaged() : name;
    }

    private static string? Basic(char tag) => tag switch
    {
        'b' => "bool", 'c' => "char", 'e' => "str", 'u' => "()", 'a' => "i8", 's' => "i16", 'l' => "i32", 'x' => "i64", 'n' => "i128", 'i' => "isize",
        'h' => "u8", 't' => "u16", 'm' => "u32", 'y' => "u64", 'o' => "u128", 'j' => "usize", 'f' => "f32", 'd' => "f64", 'z' => "!", 'p' => "_", 'v' => "...",
        _ => null,
    };
}
