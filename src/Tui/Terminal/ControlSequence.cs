namespace KTrace.Tui.Terminal;

/// <summary>
/// A control sequence (ECMA-48 5.4) between its introducer and its final byte: <c>1;5</c> of <c>ESC [ 1 ; 5 A</c>. Parameters may have parts behind colons
/// (<c>97:65;5:3</c>, as kitty writes them).
/// </summary>
internal readonly ref struct ControlSequence(ReadOnlySpan<byte> text, char final)
{
    // More than any parameter that means something: columns, code points.
    private const int Largest = 0x10ffff;

    private readonly ReadOnlySpan<byte> _parameters = text.Length > 0 && text[0] is >= (byte)'<' and <= (byte)'?' ? text[1..] : text;

    public char Final { get; } = final;

    /// <summary>The private marker before the parameters (<c>&lt;</c>, <c>=</c>, <c>&gt;</c>, <c>?</c>), or 0.</summary>
    public char Prefix { get; } = text.Length > 0 && text[0] is >= (byte)'<' and <= (byte)'?' ? (char)text[0] : '\0';

    public bool HasParameters => _parameters.Length > 0;

    /// <summary>The byte before the final one that is no parameter (<c>$</c>), or 0.</summary>
    public char Intermediate => _parameters.Length > 0 && _parameters[^1] is >= 0x20 and <= 0x2f and var last ? (char)last : '\0';

    /// <summary>A parameter, or a part of one; <paramref name="missing"/> where it is not written.</summary>
    public int Parameter(int index, int part = 0, int missing = 0)
    {
        int at = 0;
        for (; at < _parameters.Length && index > 0; at++)
        {
            index -= _parameters[at] == ';' ? 1 : 0;
        }

        for (; at < _parameters.Length && part > 0 && _parameters[at] != ';'; at++)
        {
            part -= _parameters[at] == ':' ? 1 : 0;
        }

        if (index > 0 || part > 0)
        {
            return missing;
        }

        int value = -1;
        for (; at < _parameters.Length && _parameters[at] is >= (byte)'0' and <= (byte)'9'; at++)
        {
            value = Math.Min(Largest, (Math.Max(value, 0) * 10) + (_parameters[at] - '0'));
        }

        return value < 0 ? missing : value;
    }
}
