using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values;

/// <summary>
/// Remembers what names mean. The same expression asks for the same names at every hit, and finding a name (or that there is none) may take a look through all debug information.
/// For one thread at a time.
/// </summary>
public sealed class RememberedTypes(ITypeSource types) : ITypeSource
{
    private readonly Dictionary<(TypeTag Tag, string Name), CType?> _types = [];
    private readonly Dictionary<string, Variable?> _variables = [];
    private readonly Dictionary<string, Variable?> _functions = [];
    private readonly Dictionary<string, (EnumType Type, long Value)?> _enumerators = [];

    public int AddressSize => types.AddressSize;

    /// <summary>After a module came or went.</summary>
    public void Forget()
    {
        _types.Clear();
        _variables.Clear();
        _functions.Clear();
        _enumerators.Clear();
    }

    public CType? FindType(TypeTag tag, string name) => Find(_types, (tag, name), key => types.FindType(key.Item1, key.Item2));

    public Variable? FindVariable(string name) => Find(_variables, name, types.FindVariable);

    public Variable? FindFunction(string name) => Find(_functions, name, types.FindFunction);

    public (EnumType Type, long Value)? FindEnumerator(string name) => Find(_enumerators, name, types.FindEnumerator);

    public IReadOnlyList<string> SuggestTypes(string name, int limit) => types.SuggestTypes(name, limit);

    private static TValue Find<TKey, TValue>(Dictionary<TKey, TValue> known, TKey key, Func<TKey, TValue> find)
        where TKey : notnull
    {
        // Names come from people: a handful.
        const int MaximumKnown = 4096;
        if (known.TryGetValue(key, out var found))
        {
            return found;
        }

        if (known.Count >= MaximumKnown)
        {
            known.Clear();
        }

        return known[key] = find(key);
    }
}
