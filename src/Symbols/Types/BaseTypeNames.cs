// The words of C's base types come in any order (ISO C 6.7.2), and compilers write them down differently: GCC "long unsigned int", clang "unsigned long".
namespace KTrace.Symbols.Types;

/// <summary>C's own types under all of their spellings.</summary>
internal static class BaseTypeNames
{
    private static readonly string[] Words = ["signed", "unsigned", "short", "long", "int", "char", "_Bool", "float", "double", "__int128", "__signed__", "__signed", "void"];

    /// <summary>A word that C's base types are made of.</summary>
    public static bool IsWord(string word) => Array.IndexOf(Words, word) >= 0;

    /// <summary>
    /// How compilers may have called the type, the most likely first; empty when these words make no type (<c>short char</c>). "void" gives itself.
    /// </summary>
    /// <param name="words">Separated by spaces.</param>
    public static IReadOnlyList<string> Spellings(string words) => TryRead(words, out var read) ? read.Spellings : [];

    /// <summary>The type itself, as Linux' ABIs have it: for object files that do not describe it. Null when these words make no type.</summary>
    /// <param name="addressSize">Bytes of a pointer, and so of a long.</param>
    public static CType? Synthesize(string words, int addressSize)
    {
        if (!TryRead(words, out var read))
        {
            return null;
        }

        var name = read.Spellings[0];
        var sign = read.IsUnsigned ? IntegerEncoding.Unsigned : IntegerEncoding.Signed;
        return read.Kind switch
        {
            "void" => VoidType.Instance,
            "_Bool" => new IntegerType(name, 1, IntegerEncoding.Boolean),
            "char" => new IntegerType(name, 1, read.IsUnsigned ? IntegerEncoding.UnsignedCharacter : IntegerEncoding.SignedCharacter),
            "short" => new IntegerType(name, 2, sign),
            "int" => new IntegerType(name, 4, sign),
            "long" => new IntegerType(name, addressSize, sign),
            "long long" => new IntegerType(name, 8, sign),
            "__int128" => new IntegerType(name, 16, sign),
            "float" => new FloatType(name, 4),
            "double" => new FloatType(name, 8),
            _ => new FloatType(name, addressSize == 8 ? 16 : 12),
        };
    }

    private static bool TryRead(string words, out (string Kind, bool IsUnsigned, IReadOnlyList<string> Spellings) read)
    {
        read = default;
        int longs = 0, shorts = 0, ints = 0, signs = 0, unsigneds = 0;
        string? kind = null;
        foreach (var word in words.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            switch (word)
            {
                case "long":
                    longs++;
                    break;
                case "short":
                    shorts++;
                    break;
                case "int":
                    ints++;
                    break;
                case "signed" or "__signed__" or "__signed":
                    signs++;
                    break;
                case "unsigned":
                    unsigneds++;
                    break;
                case "char" or "_Bool" or "float" or "double" or "__int128" or "void" when kind is null:
                    kind = word;
                    break;
                default:
                    return false;
            }
        }

        var isUnsigned = unsigneds > 0;
        if (ints > 1 || shorts > 1 || longs > 2 || signs + unsigneds > 1 || (shorts > 0 && longs > 0)
            || (kind is not null && (ints > 0 || shorts > 0 || longs > (kind == "double" ? 1 : 0) || (signs + unsigneds > 0 && kind is not ("char" or "__int128"))))
            || (kind is null && ints + shorts + longs + signs + unsigneds == 0))
        {
            return false;
        }

        kind = kind == "double" && longs == 1 ? "long double" : kind ?? (shorts > 0 ? "short" : longs == 2 ? "long long" : longs == 1 ? "long" : "int");
        read = (kind, isUnsigned, kind switch
        {
            "char" => [isUnsigned ? "unsigned char" : signs > 0 ? "signed char" : "char"],
            "int" => isUnsigned ? ["unsigned int", "unsigned"] : ["int"],
            "short" or "long" or "long long" => isUnsigned ? [kind + " unsigned int", "unsigned " + kind, "unsigned " + kind + " int"] : [kind + " int", kind],
            "__int128" => isUnsigned ? ["__int128 unsigned", "unsigned __int128"] : ["__int128"],
            "_Bool" => ["_Bool", "bool"],
            _ => [kind],
        });
        return true;
    }
}
