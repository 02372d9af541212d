// The words of C expressions: ISO C 6.4, as far as an expression over a stopped program needs them. From gdb: $register, file.c::name, 'file.c'::name and @.
// Our own: =~ compares text with a pattern. In C that is an assignment of a complement, and assignments are refused anyway.
using System.Globalization;
using System.Text;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>Reads one token at a time, only as far as somebody asks: what follows an expression may be something else.</summary>
internal sealed class Lexer(string text)
{
    private static readonly string[] Punctuators =
    [
        "<<=", ">>=", "...", "->", "++", "--", "<<", ">>", "<=", ">=", "==", "!=", "=~", "&&", "||", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "::",
        "+", "-", "*", "/", "%", "&", "|", "^", "~", "!", "<", ">", "=", "?", ":", "(", ")", "[", "]", ".", ",", "@", "{", "}", ";",
    ];

    public string Text => text;

    public Token Read(int position)
    {
        while (position < text.Length && char.IsWhiteSpace(text[position]))
        {
            position++;
        }

        if (position >= text.Length)
        {
            return new Token(TokenKind.End, text.Length, text.Length, "");
        }

        var c = text[position];
        if (IsNameStart(c))
        {
            return ReadName(position);
        }

        if (char.IsAsciiDigit(c))
        {
            return ReadNumber(position);
        }

        return c switch
        {
            '$' => ReadRegister(position),
            '"' => ReadString(position),
            '\'' => ReadCharacter(position),
            _ => ReadPunctuator(position),
        };
    }

    private static bool IsNameStart(char c) => char.IsAsciiLetter(c) || c == '_';

    private static bool IsNamePart(char c) => char.IsAsciiLetterOrDigit(c) || c == '_';

    private int EndOfName(int position)
    {
        while (position < text.Length && IsNamePart(text[position]))
        {
            position++;
        }

        return position;
    }

    private Token ReadName(int start)
    {
        var end = EndOfName(start);

        // A path with a dot in it, up to "::".
        var path = end;
        while (path < text.Length && (IsNamePart(text[path]) || text[path] is '.' or '/' or '-' or '+'))
        {
            path++;
        }

        return path > end && text.AsSpan(path).StartsWith("::") && text.AsSpan(start, path - start).Contains('.')
            ? ReadScoped(start, text[start..path], path)
            : new Token(TokenKind.Identifier, start, end, text[start..end]);
    }

    private Token ReadScoped(int start, string file, int colons)
    {
        var name = colons + 2;
        var end = EndOfName(name);
        return end > name && IsNameStart(text[name])
            ? new Token(TokenKind.ScopedIdentifier, start, end, file + ":" + text[name..end])
            : throw new ExpressionSyntaxException("a name is expected after ::", name);
    }

    private Token ReadRegister(int start)
    {
        var end = EndOfName(start + 1);
        return end > start + 1
            ? new Token(TokenKind.Register, start, end, text[(start + 1)..end])
            : throw new ExpressionSyntaxException("a register's name is expected after $", start);
    }

    private Token ReadNumber(int start)
    {
        var (radix, digits) = text[start] == '0' && start + 1 < text.Length
            ? char.ToLowerInvariant(text[start + 1]) switch
            {
                'x' => (16u, start + 2),
                'b' => (2u, start + 2),
                _ => (8u, start),
            }
            : (10u, start);
        ulong value = 0;
        var end = digits;
        for (; end < text.Length && (char.IsAsciiDigit(text[end]) || (radix == 16 && char.IsAsciiHexDigit(text[end]))); end++)
        {
            var digit = (uint)Convert.ToInt32(text[end].ToString(), 16);
            if (digit >= radix)
            {
                throw new ExpressionSyntaxException($"{text[end]} is no digit of {(radix == 8 ? "an octal" : "a binary")} number", end);
            }

            var wide = ((UInt128)value * radix) + digit;
            if (wide > ulong.MaxValue)
            {
                throw new ExpressionSyntaxException("the number does not fit into 64 bits", start);
            }

            value = (ulong)wide;
        }

        if (end == digits)
        {
            throw new ExpressionSyntaxException("the number has no digits", start);
        }

        var suffix = EndOfName(end);
        var letters = text[end..suffix].ToLowerInvariant();
        if (letters is not ("" or "u" or "l" or "ul" or "lu" or "ll" or "ull" or "llu"))
        {
            throw new ExpressionSyntaxException($"'{text[start..suffix]}' is no number", start);
        }

        if (suffix < text.Length && text[suffix] == '.' && !text.AsSpan(suffix).StartsWith("..."))
        {
            throw new ExpressionSyntaxException("floating-point numbers are not supported", start);
        }

        return new Token(TokenKind.Number, start, suffix, letters, value, radix == 10);
    }

    private Token ReadString(int start)
    {
        var bytes = new List<byte>();
        var end = ReadQuoted(start, bytes);
        return new Token(TokenKind.String, start, end, "", Bytes: [.. bytes]);
    }

    private Token ReadCharacter(int start)
    {
        var bytes = new List<byte>();
        var end = ReadQuoted(start, bytes);
        if (text.AsSpan(end).StartsWith("::"))
        {
            return ReadScoped(start, text[(start + 1)..(end - 1)], end);
        }

        return bytes.Count == 1
            ? new Token(TokenKind.Character, start, end, "", bytes[0])
            : throw new ExpressionSyntaxException(bytes.Count == 0 ? "there is no character between the quotes" : "more than one character; text is written in double quotes", start);
    }

    /// <summary>The position behind the closing quote.</summary>
    private int ReadQuoted(int start, List<byte> bytes)
    {
        var quote = text[start];
        Span<byte> utf8 = stackalloc byte[4];
        for (var i = start + 1; i < text.Length;)
        {
            if (text[i] == quote)
            {
                return i + 1;
            }

            if (text[i] == '\\')
            {
                i = ReadEscape(i, bytes);
                continue;
            }

            // A lone surrogate becomes U+FFFD.
            Rune.DecodeFromUtf16(text.AsSpan(i), out var rune, out var consumed);
            bytes.AddRange(utf8[..rune.EncodeToUtf8(utf8)]);
            i += consumed;
        }

        throw new ExpressionSyntaxException($"the closing {quote} is missing", start);
    }

    private int ReadEscape(int backslash, List<byte> bytes)
    {
        var i = backslash + 1;
        if (i >= text.Length)
        {
            throw new ExpressionSyntaxException("the text ends in a backslash", backslash);
        }

        if (text[i] == 'x')
        {
            var end = i + 1;
            while (end < text.Length && end < i + 3 && char.IsAsciiHexDigit(text[end]))
            {
                end++;
            }

            bytes.Add(end > i + 1
                ? byte.Parse(text.AsSpan(i + 1, end - i - 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)
                : throw new ExpressionSyntaxException("\\x has no digits", backslash));
            return end;
        }

        if (text[i] is >= '0' and <= '7')
        {
            var value = 0;
            var end = i;
            while (end < text.Length && end < i + 3 && text[end] is >= '0' and <= '7')
            {
                value = (value * 8) + (text[end++] - '0');
            }

            bytes.Add((byte)value);
            return end;
        }

        const string Letters = "nrtabfve\\'\"?";
        const string Codes = "\n\r\t\a\b\f\v\x1b\\'\"?";
        var index = Letters.IndexOf(text[i], StringComparison.Ordinal);
        bytes.Add(index >= 0 ? (byte)Codes[index] : throw new ExpressionSyntaxException($"'\\{text[i]}' is no escape of C", backslash));
        return i + 1;
    }

    private Token ReadPunctuator(int start)
    {
        foreach (var punctuator in Punctuators)
        {
            if (text.AsSpan(start).StartsWith(punctuator, StringComparison.Ordinal))
            {
                return new Token(TokenKind.Punctuator, start, start + punctuator.Length, punctuator);
            }
        }

        var c = text[start];
        throw new ExpressionSyntaxException(c is > ' ' and < '\x7f' ? $"'{c}' has no meaning in an expression" : $"U+{(int)c:X4} has no meaning in an expression", start);
    }
}
