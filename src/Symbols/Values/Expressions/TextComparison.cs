// "current->comm == "ifconfig"" compares text where C would compare addresses, as gdb does for arrays; here also for char pointers.
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>Compares text of the guest with a literal.</summary>
internal sealed class TextComparison(ValueReader reader)
{
    private const int MaximumPatternText = 1024;

    /// <summary>Null when memory was missing (noted in the reader), or with a reason when it cannot be compared.</summary>
    public bool? Compare(TypedValue value, byte[] literal, bool isPattern, out string? refusal)
    {
        refusal = null;

        // One byte more than the literal tells whether the text goes on.
        var limit = isPattern ? MaximumPatternText : literal.Length + 1;
        byte[] text;
        switch (value.Type.Resolved)
        {
            case ArrayType { Element: var element } array when IsCharacter(element):
                if (value.Address is null || !value.Bytes.IsEmpty)
                {
                    var bytes = value.Bytes.Span;
                    var end = bytes.IndexOf((byte)0);
                    text = (end < 0 ? bytes : bytes[..end]).ToArray();
                    break;
                }

                return Read(value.Address.Value, array.Count is { } count ? (int)Math.Min(count, limit) : limit, literal, isPattern, out refusal);

            case PointerType { Target: var target } when IsCharacter(target):
                switch (reader.Load(value, out var loaded))
                {
                    case ReadState.Ok when loaded.Number is { } address:
                        // NULL is no text at all.
                        return address == 0 ? false : Read((ulong)address, limit, literal, isPattern, out refusal);
                    case ReadState.Missing:
                        return null;
                    default:
                        refusal = "cannot be read";
                        return null;
                }

            default:
                refusal = $"is {Evaluation.Article(value.Type)}: only char arrays and char pointers are compared with text";
                return null;
        }

        return IsEqual(text, literal, isPattern);
    }

    private bool? Read(ulong address, int limit, byte[] literal, bool isPattern, out string? refusal)
    {
        var (state, text, _) = reader.ReadText(address, limit);
        refusal = state is ReadState.Ok or ReadState.Missing ? null : FormattableString.Invariant($"cannot be read at 0x{address:x}");
        return state == ReadState.Ok ? IsEqual(text, literal, isPattern) : null;
    }

    private static bool IsEqual(byte[] text, byte[] literal, bool isPattern) => isPattern ? TextPattern.Matches(literal, text) : text.AsSpan().SequenceEqual(literal);

    private static bool IsCharacter(CType type) =>
        type.Resolved is IntegerType { Size: 1, Encoding: not IntegerEncoding.Boolean };
}
