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

    private readonly RustV0Symbol _symbol;
    private readonly StringBuilder _output = new();
    private int _depth;
    private int _steps;
    private int _silent;
    private ulong _boundLifetimes;

    private RustV0Reader(RustV0Symbol symbol) => _symbol = symbol;

    public static bool TryRead(string symbol, out string name)
    {
        // Positions in back references count from behind "_R"; what a compiler appended begins with a dot or a dollar.
        var end = symbol.AsSpan().IndexOfAny('.', '$');
        var reader = new RustV0Reader(new RustV0Symbol(symbol[2..(end < 0 ? symbol.Length : end)]));
        name = "";
        try
        {
            reader.Path(inValue: true);
            if (!reader._symbol.AtEnd)
            {
                // The crate that a generic function was instantiated in is not shown.
                reader._silent++;
                reader.Path(inValue: false);
            }
        }
        catch (DamagedRustName)
        {
            return false;
        }

        name = reader._output.ToString();
        return reader._symbol.AtEnd && name.Length > 0;
    }

    private void Write(string text)
    {
        if (_silent == 0)
        {
            _output.Append(text);
            if (_output.Length > MaximumOutput)
            {
                throw new DamagedRustName();
            }
        }
    }

    private void Enter()
    {
        if (++_depth > MaximumDepth || ++_steps > MaximumSteps)
        {
            throw new DamagedRustName();
        }
    }

    /// <param name="inValue">Generic arguments of a value's path stand behind <c>::</c>.</param>
    private void Path(bool inValue)
    {
        Enter();
        switch (_symbol.Next())
        {
            case 'C':
                _symbol.Disambiguator();
                Write(_symbol.Identifier());
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
                throw new DamagedRustName();
        }

        _depth--;
    }

    private void NestedPath(bool inValue)
    {
        var space = _symbol.Next();
        if (!char.IsAsciiLetter(space))
        {
            throw new DamagedRustName();
        }

        Path(inValue);
        var disambiguator = _symbol.Disambiguator();
        var name = _symbol.Identifier();
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
        _symbol.Disambiguator();
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
        if (_symbol.Eat('L'))
        {
            Lifetime(_symbol.Base62());
        }
        else if (_symbol.Eat('K'))
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
        while (!_symbol.Eat('E'))
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
        var tag = _symbol.Next();
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
                if (_symbol.Eat('L') && _symbol.Base62() is var lifetime and > 0)
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
                if (!_symbol.Eat('L'))
                {
                    throw new DamagedRustName();
                }

                if (_symbol.Base62() is var bound and > 0)
                {
                    Write(" + ");
                    Lifetime(bound);
                }

                break;
            case 'B':
                BackReference(Type);
                break;
            default:
                _symbol.Position--;
                Path(inValue: false);
                break;
        }
    }

    private void FunctionType()
    {
        Write(_symbol.Eat('U') ? "unsafe " : "");
        if (_symbol.Eat('K'))
        {
            Write("extern \"" + (_symbol.Eat('C') ? "C" : _symbol.Identifier().Replace('_', '-')) + "\" ");
        }

        Write("fn(");
        List(Type);
        Write(")");
        if (!_symbol.Eat('u'))
        {
            Write(" -> ");
            Type();
        }
    }

    private void DynamicTrait()
    {
        var isOpen = DynamicPath();
        while (_symbol.Eat('p'))
        {
            Write(isOpen ? ", " : "<");
            isOpen = true;
            Write(_symbol.Identifier() + " = ");
            Type();
        }

        Write(isOpen ? ">" : "");
    }

    /// <summary>A trait's path whose generic arguments are left open, so that associated types may follow inside the same brackets.</summary>
    private bool DynamicPath()
    {
        Enter();
        var isOpen = false;
        if (_symbol.Eat('B'))
        {
            BackReference(() => isOpen = DynamicPath());
        }
        else if (_symbol.Eat('I'))
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
        var bound = _symbol.Eat('G') ? _symbol.Base62() + 1 : 0;
        if (bound > MaximumOutput)
        {
            throw new DamagedRustName();
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
            throw new DamagedRustName();
        }

        var depth = _boundLifetimes - index;
        Write(depth < 26 ? $"'{(char)('a' + depth)}" : "'_" + depth.ToString(CultureInfo.InvariantCulture));
    }

    private void Constant()
    {
        Enter();
        if (_symbol.Eat('B'))
        {
            BackReference(Constant);
            _depth--;
            return;
        }

        var type = _symbol.Next();
        switch (type)
        {
            case 'p':
                Write("_");
                break;
            case 'a' or 's' or 'l' or 'x' or 'n' or 'i':
                Write(_symbol.Eat('n') ? "-" : "");
                Write(RustV0Symbol.Number(_symbol.Hexadecimal()));
                break;
            case 'h' or 't' or 'm' or 'y' or 'o' or 'j':
                Write(RustV0Symbol.Number(_symbol.Hexadecimal()));
                break;
            case 'b':
                Write(_symbol.Hexadecimal() switch { "0" or "" => "false", "1" => "true", _ => throw new DamagedRustName() });
                break;
            case 'c':
                Write(RustV0Symbol.Character(_symbol.Hexadecimal()));
                break;
            case 'e':
                // A str by itself is a place, not a value.
                Write("*" + _symbol.Text());
                break;
            case 'R' or 'Q':
                if (type == 'R' && _symbol.Eat('e'))
                {
                    Write(_symbol.Text());
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
                throw new DamagedRustName();
        }

        _depth--;
    }

    private void Variant()
    {
        switch (_symbol.Next())
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
                    _symbol.Disambiguator();
                    Write(_symbol.Identifier() + ": ");
                    Constant();
                });
                Write(" }");
                break;
            default:
                throw new DamagedRustName();
        }
    }

    private void BackReference(Action what)
    {
        var origin = _symbol.Position - 1;
        var target = _symbol.Base62();
        if (target >= (ulong)origin)
        {
            throw new DamagedRustName();
        }

        if (_silent > 0)
        {
            // Nothing of it would be seen.
            return;
        }

        var after = _symbol.Position;
        _symbol.Position = (int)target;
        Enter();
        what();
        _depth--;
        _symbol.Position = after;
    }

    private static string? Basic(char tag) => tag switch
    {
        'b' => "bool", 'c' => "char", 'e' => "str", 'u' => "()", 'a' => "i8", 's' => "i16", 'l' => "i32", 'x' => "i64", 'n' => "i128", 'i' => "isize",
        'h' => "u8", 't' => "u16", 'm' => "u32", 'y' => "u64", 'o' => "u128", 'j' => "usize", 'f' => "f32", 'd' => "f64", 'z' => "!", 'p' => "_", 'v' => "...",
        _ => null,
    };
}
