using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values.Printers;

/// <summary>The names of the typedefs on the way to a type: <c>gfp_t</c>, <c>atomic_long_t</c>, <c>atomic64_t</c>.</summary>
internal readonly struct TypeNameChain(CType type)
{
    private const int MaximumChain = 16;

    public bool Has(string name)
    {
        var at = type;
        for (var i = 0; i < MaximumChain; i++)
        {
            switch (at)
            {
                case TypedefType typedef when typedef.Name == name:
                    return true;
                case TypedefType typedef:
                    at = typedef.Target;
                    break;
                case QualifiedType qualified:
                    at = qualified.Target;
                    break;
                default:
                    return false;
            }
        }

        return false;
    }
}
