using KTrace.Symbols.Kernel;

namespace KTrace.Symbols.Types;

/// <summary>
/// Types, variables and functions of a live kernel and of the modules that are loaded at the moment, at run-time addresses. What is quick to ask (BTF) is asked everywhere
/// before anything is searched (DWARF); modules before the kernel where that takes long, as they are small. For one thread at a time, like its map.
/// </summary>
public sealed class KernelTypes : ITypeSource
{
    private readonly KernelMap _map;

    public KernelTypes(KernelMap map) => _map = map;

    public int AddressSize => _map.Image.Types.AddressSize;

    private IEnumerable<ObjectTypes> Modules
    {
        get
        {
            foreach (var module in _map.Modules)
            {
                if (module.TypesOver(_map.Image.Types) is { } types)
                {
                    yield return types;
                }
            }
        }
    }

    public CType? FindType(TypeTag tag, string name)
    {
        CType? incomplete = null;
        foreach (var deep in (bool[])[false, true])
        {
            foreach (var types in deep ? [.. Modules, _map.Image.Types] : (IEnumerable<ObjectTypes>)[_map.Image.Types, .. Modules])
            {
                if (types.FindType(tag, name, deep) is { } found)
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

    public Variable? FindVariable(string name) => Find(types => types.FindVariable(name));

    public Variable? FindFunction(string name) => Find(types => types.FindFunction(name));

    public (EnumType Type, long Value)? FindEnumerator(string name)
    {
        foreach (var deep in (bool[])[false, true])
        {
            foreach (var types in deep ? [.. Modules, _map.Image.Types] : (IEnumerable<ObjectTypes>)[_map.Image.Types, .. Modules])
            {
                if (types.FindEnumerator(name, deep) is { } found)
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
        _map.Image.Types.Suggest(near);
        foreach (var types in Modules)
        {
            types.Suggest(near);
        }

        return near.Names;
    }

    private Variable? Find(Func<ObjectTypes, Variable?> ask)
    {
        if (ask(_map.Image.Types) is { } found)
        {
            // x86-64 links per-cpu variables from 0 on: they are offsets into a CPU's area, and nothing that the kernel's displacement moves.
            return found.IsPerCpu && found.Address < _map.Image.KernelMapBase ? found : found with { Address = _map.ToRunTime(found.Address) };
        }

        foreach (var types in Modules)
        {
            if (ask(types) is { } inModule)
            {
                return inModule;
            }
        }

        return null;
    }
}
