using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Expressions;

/// <summary>The types that casts, sizeof, offsetof and container_of name.</summary>
internal static class TypeNames
{
    /// <summary>The type, or the reason why there is none.</summary>
    public static (CType? Type, string? Failure) Find(ITypeSource source, string text)
    {
        var end = text.IndexOf('*');
        var words = (end < 0 ? text : text[..end]).Split(' ', StringSplitOptions.RemoveEmptyEntries).Where(w => w is not ("const" or "volatile")).ToArray();
        var name = words.Length == 2 && words[0] is "struct" or "union" or "enum" ? words[1] : string.Join(' ', words);
        var tag = words.Length == 2 ? words[0] switch { "struct" => TypeTag.Struct, "union" => TypeTag.Union, "enum" => TypeTag.Enum, _ => TypeTag.Ordinary } : TypeTag.Ordinary;
        var basics = BasicTypes.Of(source.AddressSize);
        CType? type = name switch
        {
            "void" => VoidType.Instance,
            "char" => basics.Char,
            "int" => basics.Int,
            "long" => basics.Long,
            "unsigned long" => basics.UnsignedLong,
            "unsigned int" or "unsigned" => basics.UnsignedInt,
            _ => source.FindType(tag, name),
        };
        if (type is null)
        {
            return (null, $"there is no type {text}{NearMembers.Suggestion(source.SuggestTypes(name, 3))}");
        }

        for (var i = end; i >= 0 && i < text.Length; i++)
        {
            type = text[i] == '*' ? basics.PointerTo(type) : type;
        }

        return (type, null);
    }
}
