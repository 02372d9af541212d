namespace KTrace.Symbols.Values.Expressions;

internal enum TokenKind
{
    End,
    Identifier,

    /// <summary>A name of one source file: <c>file.c::name</c>; <see cref="Token.Text"/> is <c>file.c:name</c>.</summary>
    ScopedIdentifier,

    /// <summary><c>$rdi</c>; the text is without the dollar sign.</summary>
    Register,
    Number,
    Character,
    String,
    Punctuator,
}

/// <summary>A word of an expression.</summary>
/// <param name="Start">Characters from the text's start.</param>
/// <param name="Text">A name, a punctuator; of a number its suffix in lower case.</param>
/// <param name="Value">Of a number or character.</param>
/// <param name="IsDecimal">A number that was written without 0x, 0b or 0: it never becomes unsigned by itself (ISO C 6.4.4.1).</param>
/// <param name="Bytes">Of a string, without its NUL.</param>
internal readonly record struct Token(TokenKind Kind, int Start, int End, string Text, ulong Value = 0, bool IsDecimal = false, byte[]? Bytes = null)
{
    public bool Is(string punctuator) => Kind == TokenKind.Punctuator && Text == punctuator;

    public bool IsWord(string word) => Kind == TokenKind.Identifier && Text == word;
}
