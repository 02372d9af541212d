namespace KTrace.Symbols.Types;

/// <summary>Several object files asked one after the other: a module's before the kernel's.</summary>
public sealed class LayeredTypes(IReadOnlyList<ObjectTypes> layers) : ITypeSource
{
    public int AddressSize => layers[0].AddressSize;

    public CType? FindType(TypeTag tag, string name)
    {
        CType? incomplete = null;
        foreach (var deep in (bool[])[false, true])
        {
            foreach (var layer in layers)
            {
                if (layer.FindType(tag, name, deep) is { } found)
                {
                    if (!ObjectTypes.IsIncomplete(found))
                    {
                        return found;
                    }

                    incomplete ??= found;
                }
            }
        }

        return incomplete;
    }

    public Variable? FindVariable(string name) => Best(layer => layer.FindVariable(name));

    public Variable? FindFunction(string name) => Best(layer => layer.FindFunction(name));

    public (EnumType Type, long Value)? FindEnumerator(string name)
    {
        foreach (var deep in (bool[])[false, true])
        {
            foreach (var layer in layers)
            {
                if (layer.FindEnumerator(name, deep) is { } found)
                {
                    return found;
                }
            }
        }

        return null;
    }

    public IReadOnlyList<string> SuggestTypes(string name, int limit)
    {
        var near = new NearTypeNames(name, limit);
        foreach (var layer in layers)
        {
            layer.Suggest(near);
        }

        return near.Names;
    }

    /// <summary>The first that knows the type as well, or else the first.</summary>
    private Variable? Best(Func<ObjectTypes, Variable?> ask)
    {
        Variable? best = null;
        foreach (var layer in layers)
        {
            if (ask(layer) is { } found)
            {
                if (found.Type is not VoidType)
                {
                    return found;
                }

                best ??= found;
            }
        }

        return best;
    }
}
