// ISO C 6.5 by precedence climbing. Where C needs to know whether a name is a type, "(name) * x", the parser is told which names are (see TypeNames), and notes those
// that would matter: both readings are grammatical, so that errors of syntax do not depend on any kernel's types.
using System.Collections.Immutable;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>Reads one expression of a text.</summary>
internal sealed class Parser
{
    public const int MaximumLength = 4096;
    private const int MaximumDepth = 128;

    private static readonly HashSet<string> TypeWords =
    [
        "struct", "union", "enum", "const", "volatile", "restrict", "_Atomic", "unsigned", "signed", "void", "char", "short", "int", "long", "float", "double", "_Bool", "bool",
        "__int128",
    ];

    /// <summary>Words of the grammar around expressions: never the operand of a cast, so that <c>if (irq) print irq</c> is what it looks like.</summary>
    private static readonly HashSet<string> OuterWords = ["print", "return", "if"];

    private static readonly Dictionary<string, (BinaryOperator Operator, int Precedence)> BinaryOperators = new()
    {
        ["*"] = (BinaryOperator.Multiply, 11), ["/"] = (BinaryOperator.Divide, 11), ["%"] = (BinaryOperator.Remainder, 11),
        ["+"] = (BinaryOperator.Add, 10), ["-"] = (BinaryOperator.Subtract, 10),
        ["@"] = (BinaryOperator.Slice, 9), // between + and <<, as in gdb's c-exp.y
        ["<<"] = (BinaryOperator.ShiftLeft, 8), [">>"] = (BinaryOperator.ShiftRight, 8),
        ["<"] = (BinaryOperator.Less, 7), [">"] = (BinaryOperator.Greater, 7), ["<="] = (BinaryOperator.LessOrEqual, 7), [">="] = (BinaryOperator.GreaterOrEqual, 7),
        ["=="] = (BinaryOperator.Equal, 6), ["!="] = (BinaryOperator.NotEqual, 6), ["=~"] = (BinaryOperator.Matches, 6),
        ["&"] = (BinaryOperator.And, 5), ["^"] = (BinaryOperator.ExclusiveOr, 4), ["|"] = (BinaryOperator.Or, 3),
        ["&&"] = (BinaryOperator.LogicalAnd, 2), ["||"] = (BinaryOperator.LogicalOr, 1),
    };

    private static readonly Dictionary<string, UnaryOperator> UnaryOperators = new()
    {
        ["+"] = UnaryOperator.Plus, ["-"] = UnaryOperator.Minus, ["~"] = UnaryOperator.Complement, ["!"] = UnaryOperator.Not,
        ["*"] = UnaryOperator.Dereference, ["&"] = UnaryOperator.AddressOf,
    };

    private static readonly Dictionary<string, (Macro Macro, int Arguments)> Macros = new()
    {
        ["per_cpu"] = (Macro.PerCpu, 2), ["per_cpu_ptr"] = (Macro.PerCpuPointer, 2),
        ["this_cpu"] = (Macro.ThisCpu, 1), ["this_cpu_read"] = (Macro.ThisCpu, 1), ["this_cpu_ptr"] = (Macro.ThisCpuPointer, 1),
        ["IS_ERR"] = (Macro.IsError, 1), ["IS_ERR_OR_NULL"] = (Macro.IsErrorOrNull, 1), ["PTR_ERR"] = (Macro.PointerError, 1), ["ARRAY_SIZE"] = (Macro.ArraySize, 1),
        ["ntohs"] = (Macro.BigEndian16, 1), ["be16_to_cpu"] = (Macro.BigEndian16, 1), ["ntohl"] = (Macro.BigEndian32, 1), ["be32_to_cpu"] = (Macro.BigEndian32, 1),
    };

    private static readonly HashSet<string> Assignments = ["=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=", "++", "--"];

    private readonly Lexer _lexer;
    private readonly IReadOnlySet<string> _typeNames;
    private readonly HashSet<string> _ambiguous = [];
    private Token _current;
    private int _depth;

    /// <param name="typeNames">Names that are types and nothing else where the expression is evaluated.</param>
    public Parser(string text, int position, IReadOnlySet<string> typeNames)
    {
        if (text.Length > MaximumLength)
        {
            throw new ExpressionSyntaxException($"the text has more than {MaximumLength} characters", MaximumLength);
        }

        _lexer = new Lexer(text);
        _typeNames = typeNames;
        _current = _lexer.Read(position);
    }

    /// <summary>The token behind what was read.</summary>
    public Token Next => _current;

    /// <summary>Names that stand in parentheses before an operator that is unary as well as binary.</summary>
    public IReadOnlySet<string> AmbiguousNames => _ambiguous;

    /// <summary>Reads up to the first token that cannot go on an expression.</summary>
    public Syntax ParseExpression()
    {
        var condition = ParseBinary(1);
        if (_current.Is("?"))
        {
            Advance();
            var then = Nested(ParseExpression);
            Expect(":", "the conditional expression");
            condition = Checked(new Syntax.Conditional(condition, then, Nested(ParseExpression)));
        }

        if (_current.Kind == TokenKind.Punctuator && Assignments.Contains(_current.Text))
        {
            throw new ExpressionSyntaxException($"{_current.Text} would change the guest: assignments are refused (equality is ==)", _current.Start);
        }

        return condition;
    }

    private Syntax ParseBinary(int minimum)
    {
        var left = ParseUnary();
        while (_current.Kind == TokenKind.Punctuator && BinaryOperators.TryGetValue(_current.Text, out var found) && found.Precedence >= minimum)
        {
            var start = _current.Start;
            Advance();
            left = Checked(new Syntax.Binary(found.Operator, left, Nested(() => ParseBinary(found.Precedence + 1)), start));
        }

        return left;
    }

    private Syntax ParseUnary()
    {
        var start = _current.Start;
        if (_current.Kind == TokenKind.Punctuator && UnaryOperators.TryGetValue(_current.Text, out var unary))
        {
            Advance();
            var operand = Nested(ParseUnary);
            return Checked(new Syntax.Unary(start, operand.End, unary, operand));
        }

        if (_current.Is("++") || _current.Is("--"))
        {
            throw new ExpressionSyntaxException($"{_current.Text} would change the guest: assignments are refused", start);
        }

        if (_current.IsWord("sizeof"))
        {
            return ParseSizeOf();
        }

        if (_current.Is("(") && IsCast())
        {
            Advance();
            var type = ParseTypeName();
            Expect(")", "the cast");
            return Checked(new Syntax.Cast(start, type, Nested(ParseUnary)));
        }

        return ParsePostfix();
    }

    private Syntax ParseSizeOf()
    {
        var start = _current.Start;
        Advance();
        if (_current.Is("(") && IsTypeWithoutDoubt(out _))
        {
            Advance();
            var type = ParseTypeName();
            var end = _current.End;
            Expect(")", "sizeof");
            return new Syntax.SizeOfType(start, end, type);
        }

        // (name) may be a type as well; both end at the parenthesis.
        var operand = _current.Is("(") ? ParsePostfix() : Nested(ParseUnary);
        return Checked(new Syntax.SizeOf(start, operand.End, operand));
    }

    private Syntax ParsePostfix()
    {
        var node = ParsePrimary();
        while (_current.Kind == TokenKind.Punctuator)
        {
            if (_current.Is(".") || _current.Is("->"))
            {
                Advance();
                if (_current.Kind != TokenKind.Identifier)
                {
                    throw new ExpressionSyntaxException("a member's name is expected here", _current.Start);
                }

                node = Checked(new Syntax.MemberAccess(node, _current.Text, _current.Start, _current.End));
                Advance();
            }
            else if (_current.Is("["))
            {
                Advance();
                var subscript = Nested(ParseExpression);
                var end = _current.End;
                Expect("]", "the index");
                node = Checked(new Syntax.Index(node, subscript, end));
            }
            else if (_current.Is("("))
            {
                throw new ExpressionSyntaxException($"{Excerpt(node)}(…) would run code in the guest: calls are refused", node.Start);
            }
            else
            {
                break;
            }
        }

        return node;
    }

    private Syntax ParsePrimary()
    {
        var token = _current;
        switch (token.Kind)
        {
            case TokenKind.Number:
                Advance();
                return new Syntax.Number(token.Start, token.End, token.Value, token.Text, token.IsDecimal);
            case TokenKind.Character:
                Advance();
                return new Syntax.Character(token.Start, token.End, (byte)token.Value);
            case TokenKind.String:
                return ParseStrings();
            case TokenKind.Register:
                Advance();
                return new Syntax.Register(token.Start, token.End, token.Text);
            case TokenKind.ScopedIdentifier:
                Advance();
                return new Syntax.Identifier(token.Start, token.End, token.Text, IsScoped: true);
            case TokenKind.Identifier when TypeWords.Contains(token.Text):
                throw new ExpressionSyntaxException($"a type ({token.Text}) stands where a value is expected; casts have parentheses: ({token.Text} …)value", token.Start);
            case TokenKind.Identifier:
                Advance();
                return _current.Is("(") ? ParseMacro(token) : new Syntax.Identifier(token.Start, token.End, token.Text, IsScoped: false);
            case TokenKind.Punctuator when token.Is("("):
                Advance();
                var inner = Nested(ParseExpression);
                var end = _current.End;
                Expect(")", "the parenthesis");
                return inner with { Start = token.Start, End = end };
            case TokenKind.End:
                throw new ExpressionSyntaxException(token.Start == 0 ? "an expression is expected" : "the expression ends where a value is expected", token.Start);
            default:
                throw new ExpressionSyntaxException($"a value is expected, not {token.Text}", token.Start);
        }
    }

    /// <summary>Strings that follow each other are one (ISO C 5.1.1.2, phase 6).</summary>
    private Syntax.Text ParseStrings()
    {
        var start = _current.Start;
        var end = start;
        var bytes = new List<byte>();
        while (_current.Kind == TokenKind.String)
        {
            bytes.AddRange(_current.Bytes!);
            end = _current.End;
            Advance();
        }

        return new Syntax.Text(start, end, [.. bytes]);
    }

    private Syntax ParseMacro(Token name)
    {
        switch (name.Text)
        {
            case "offsetof":
            {
                Advance();
                var type = ParseTypeName();
                Expect(",", "offsetof(type, member)");
                var path = ParseDesignators();
                var end = _current.End;
                Expect(")", "offsetof(type, member)");
                return new Syntax.OffsetOf(name.Start, end, type, path);
            }

            case "container_of":
            {
                Advance();
                var pointer = Nested(ParseExpression);
                Expect(",", "container_of(pointer, type, member)");
                var type = ParseTypeName();
                Expect(",", "container_of(pointer, type, member)");
                var path = ParseDesignators();
                var end = _current.End;
                Expect(")", "container_of(pointer, type, member)");
                return Checked(new Syntax.ContainerOf(name.Start, end, pointer, type, path));
            }
        }

        if (!Macros.TryGetValue(name.Text, out var macro))
        {
            throw new ExpressionSyntaxException($"{name.Text}(…) would run code in the guest: calls are refused", name.Start);
        }

        Advance();
        var first = Nested(ParseExpression);
        Syntax? second = null;
        if (macro.Arguments == 2)
        {
            Expect(",", $"{name.Text}, which takes two arguments");
            second = Nested(ParseExpression);
        }

        var close = _current.End;
        Expect(")", name.Text);
        return Checked(new Syntax.MacroCall(name.Start, close, macro.Macro, first, second));
    }

    private ImmutableArray<Designator> ParseDesignators()
    {
        var path = ImmutableArray.CreateBuilder<Designator>();
        while (true)
        {
            if (_current.Kind != TokenKind.Identifier)
            {
                throw new ExpressionSyntaxException("a member's name is expected here", _current.Start);
            }

            path.Add(new Designator(_current.Text, 0, _current.Start, _current.End));
            Advance();
            while (_current.Is("["))
            {
                Advance();
                if (_current.Kind != TokenKind.Number || _current.Value > int.MaxValue)
                {
                    throw new ExpressionSyntaxException("an index here is a number", _current.Start);
                }

                path.Add(new Designator(null, (long)_current.Value, _current.Start, _current.End));
                Advance();
                Expect("]", "the index");
            }

            if (!_current.Is("."))
            {
                return path.ToImmutable();
            }

            Advance();
        }
    }

    private bool IsCast()
    {
        if (IsTypeWithoutDoubt(out var behind))
        {
            return true;
        }

        var name = _lexer.Read(_current.End);
        if (name.Kind != TokenKind.Identifier || !behind.Is(")"))
        {
            return false;
        }

        var operand = PeekOrEnd(behind.End);
        switch (operand.Kind)
        {
            case TokenKind.Identifier when OuterWords.Contains(operand.Text):
                return false;
            case TokenKind.Identifier or TokenKind.ScopedIdentifier or TokenKind.Number or TokenKind.Register or TokenKind.Character or TokenKind.String:
                return true;
            case TokenKind.Punctuator when operand.Text is "(" or "~" or "!":
                return true;
            case TokenKind.Punctuator when operand.Text is "*" or "&" or "+" or "-":
                _ambiguous.Add(name.Text);
                return _typeNames.Contains(name.Text);
            default:
                return false;
        }
    }

    /// <summary>At an opening parenthesis: whether what is in it can only be a type.</summary>
    /// <param name="behindName">The token behind the first word.</param>
    private bool IsTypeWithoutDoubt(out Token behindName)
    {
        var name = PeekOrEnd(_current.End);
        behindName = name.Kind == TokenKind.Identifier ? PeekOrEnd(name.End) : default;
        if (name.Kind != TokenKind.Identifier)
        {
            return false;
        }

        if (TypeWords.Contains(name.Text) || (behindName.Kind == TokenKind.Identifier && TypeWords.Contains(behindName.Text)))
        {
            return true;
        }

        // (name *), (name * const *), (name (*)[3]): no expression ends in a star.
        var token = behindName.Is("(") ? PeekOrEnd(behindName.End) : behindName;
        if (!token.Is("*"))
        {
            return false;
        }

        while (token.Is("*") || token.IsWord("const") || token.IsWord("volatile") || token.IsWord("restrict"))
        {
            token = PeekOrEnd(token.End);
        }

        return token.Is(")");
    }

    /// <summary>The words up to the comma or parenthesis that ends the type.</summary>
    private TypeName ParseTypeName()
    {
        var first = _current;
        if (first.Kind != TokenKind.Identifier)
        {
            throw new ExpressionSyntaxException("a type is expected here", first.Start);
        }

        var end = first.End;
        var open = 0;
        while (true)
        {
            var token = _current;
            var isPart = token.Kind is TokenKind.Identifier || (token.Kind == TokenKind.Number && open > 0)
                || (token.Kind == TokenKind.Punctuator && token.Text is "*" or "[" or "]" or "(" or ")" or "," or "...");
            if (open == 0 && (token.Is(",") || token.Is(")")))
            {
                return new TypeName(_lexer.Text[first.Start..end], first.Start, end);
            }

            if (!isPart)
            {
                throw new ExpressionSyntaxException(token.Kind == TokenKind.End ? "the type is not complete: a ) is missing" : "this is no part of a type", token.Start);
            }

            open += token.Is("(") || token.Is("[") ? 1 : token.Is(")") || token.Is("]") ? -1 : 0;
            end = token.End;
            Advance();
        }
    }

    private T Nested<T>(Func<T> parse)
    {
        if (++_depth > MaximumDepth)
        {
            throw new ExpressionSyntaxException($"the expression is nested deeper than {MaximumDepth} levels", _current.Start);
        }

        var node = parse();
        _depth--;
        return node;
    }

    private static T Checked<T>(T node)
        where T : Syntax =>
        node.Depth <= MaximumDepth ? node : throw new ExpressionSyntaxException($"the expression has more than {MaximumDepth} operators in a row", node.Start);

    private void Expect(string punctuator, string where)
    {
        if (!_current.Is(punctuator))
        {
            throw new ExpressionSyntaxException(
                _current.Kind == TokenKind.End ? $"a {punctuator} is missing in {where}" : $"a {punctuator} is expected in {where}, not {Excerpt(_current)}", _current.Start);
        }

        Advance();
    }

    private void Advance() => _current = _lexer.Read(_current.End);

    /// <summary>A look ahead does not complain: what is there may not belong to the expression.</summary>
    private Token PeekOrEnd(int position)
    {
        try
        {
            return _lexer.Read(position);
        }
        catch (ExpressionSyntaxException)
        {
            return new Token(TokenKind.End, position, position, "");
        }
    }

    private string Excerpt(Token token) => _lexer.Text[token.Start..token.End];

    private string Excerpt(Syntax node) => _lexer.Text[node.Start..node.End];
}
