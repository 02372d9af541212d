// C declares inside out: what is known so far of the declarator stands around the name's place (ISO C 6.7.6).
using System.Text;

namespace KTrace.Symbols.Types;

/// <summary>Declarations as C writes them.</summary>
internal static class Declaration
{
    // Deeper than any declaration that a person can read; a cycle of types ends here.
    private const int MaximumDepth = 24;

    // A function type may name other function types many times each.
    private const int MaximumTypes = 200;

    // What stands around the name is copied at every step inwards.
    private const int MaximumLength = 4096;

    public static string Of(CType type, string name)
    {
        var left = MaximumTypes;
        return Declare(type, name, 0, ref left);
    }

    private static string Declare(CType type, string declarator, int depth, ref int left)
    {
        if (depth > MaximumDepth || --left < 0 || declarator.Length > MaximumLength)
        {
            return Join("…", declarator);
        }

        switch (type)
        {
            case PointerType pointer:
                return Declare(pointer.Target, "*" + declarator, depth + 1, ref left);
            case ArrayType array:
                return Declare(array.Element, $"{Inner(declarator)}[{array.Count}]", depth + 1, ref left);
            case FunctionType function:
                return Declare(function.Returns, $"{Inner(declarator)}({Parameters(function, depth, ref left)})", depth + 1, ref left);
            case QualifiedType { Target: ArrayType array } qualified:
                // A qualified array is an array of qualified elements (ISO C 6.7.3), and the compiler may have said both.
                var element = array.Element;
                return Declare(
                    element is QualifiedType inner && inner.Qualifier == qualified.Qualifier ? element : new QualifiedType(qualified.Qualifier, element),
                    $"{Inner(declarator)}[{array.Count}]", depth + 1, ref left);
            case QualifiedType { Qualifier: var qualifier } qualified:
                // A qualifier of a pointer stands behind the star, of anything else before the name.
                return qualified.Target is PointerType
                    ? Declare(qualified.Target, " " + Word(qualifier) + (declarator.Length > 0 ? " " + declarator : ""), depth + 1, ref left)
                    : Word(qualifier) + " " + Declare(qualified.Target, declarator, depth + 1, ref left);
            case StructType composite:
                return Join((composite.Kind switch { StructKind.Struct => "struct ", StructKind.Union => "union ", _ => "class " }) + Tag(composite.Name), declarator);
            case EnumType enumeration:
                return Join("enum " + Tag(enumeration.Name), declarator);
            default:
                return Join(type.Name.Length > 0 ? type.Name : "?", declarator);
        }
    }

    private static string Parameters(FunctionType function, int depth, ref int left)
    {
        var text = new StringBuilder();
        foreach (var parameter in function.Parameters)
        {
            if (left < 0 || text.Length > MaximumLength)
            {
                return text.Append(", …").ToString();
            }

            text.Append(text.Length > 0 ? ", " : "").Append(Declare(parameter.Type, "", depth + 1, ref left));
        }

        return function.IsVariadic ? text.Append(text.Length > 0 ? ", ..." : "...").ToString() : text.Length > 0 ? text.ToString() : "void";
    }

    private static string Tag(string name) => name.Length > 0 ? name : "{...}";

    private static string Word(TypeQualifier qualifier) => qualifier switch
    {
        TypeQualifier.Const => "const",
        TypeQualifier.Volatile => "volatile",
        TypeQualifier.Restrict => "restrict",
        _ => "_Atomic",
    };

    private static string Inner(string declarator) => declarator.TrimStart() is ['*', ..] ? $"({declarator})" : declarator;

    private static string Join(string name, string declarator) =>
        declarator.Length == 0 || declarator[0] == '[' ? name + declarator : name + " " + declarator.TrimStart();
}
