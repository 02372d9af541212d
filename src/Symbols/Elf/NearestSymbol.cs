using KTrace.Symbols.Dwarf;

namespace KTrace.Symbols.Elf;

/// <summary>Of the symbols that it is shown, the one that names an address best (see <see cref="ElfSymbolTable.TryFindNearest(ulong, out ElfSymbol)"/>).</summary>
internal struct NearestSymbol
{
    private readonly ElfSymbolTable _table;
    private readonly ulong _address;
    private int _nearest, _holder;
    private RawSymbol _nearestRaw, _holderRaw;

    public NearestSymbol(ElfSymbolTable table, ulong address)
    {
        _table = table;
        _address = address;
    }

    /// <summary>Index of the best symbol so far, or 0.</summary>
    public readonly int Best =>
        _holder > 0 && _nearest > 0 && _nearestRaw.Size > 0 && _address - _nearestRaw.Value >= _nearestRaw.Size ? _holder : _nearest;

    public void Consider(int index, in RawSymbol raw)
    {
        if (raw.Value > _address)
        {
            return;
        }

        var holds = _address - raw.Value < raw.Size;
        if (!holds && raw.Size > 0 && IsPadding(in raw))
        {
            return;
        }

        if (_nearest == 0 || raw.Value > _nearestRaw.Value || (raw.Value == _nearestRaw.Value && IsBetter(index, in raw, _nearest, in _nearestRaw)))
        {
            (_nearest, _nearestRaw) = (index, raw);
        }

        if (holds && (_holder == 0 || raw.Value > _holderRaw.Value || (raw.Value == _holderRaw.Value && IsBetter(index, in raw, _holder, in _holderRaw))))
        {
            (_holder, _holderRaw) = (index, raw);
        }
    }

    // __pfx_NAME covers the patchable bytes before a function (since Linux 6.2, CONFIG_CALL_PADDING).
    private readonly bool IsPadding(in RawSymbol raw)
    {
        var name = _table.NameBytes(raw.NameOffset);
        return name.StartsWith("__pfx_"u8) || name.StartsWith("__cfi_"u8);
    }

    private readonly bool IsBetter(int candidateIndex, in RawSymbol candidate, int thanIndex, in RawSymbol than)
    {
        var (a, b) = (Reach(in candidate), Reach(in than));
        if (a != b)
        {
            return a > b;
        }

        if (candidate.Type != than.Type)
        {
            return candidate.Type > than.Type; // FUNC 2, OBJECT 1, NOTYPE 0
        }

        if (candidate.Binding != than.Binding)
        {
            return Rank(candidate.Binding) > Rank(than.Binding);
        }

        var (mine, other) = (Underscores(_table.NameBytes(candidate.NameOffset)), Underscores(_table.NameBytes(than.NameOffset)));
        return mine != other ? mine < other : candidateIndex < thanIndex;
    }

    // Holds the address; says nothing of its size; ended before the address.
    private readonly int Reach(in RawSymbol raw) => _address - raw.Value < raw.Size ? 2 : raw.Size == 0 ? 1 : 0;

    private static int Rank(byte binding) => binding switch
    {
        ElfSymbol.BindingLocal => 0,
        ElfSymbol.BindingWeak => 1,
        _ => 2,
    };

    private static int Underscores(ReadOnlySpan<byte> name)
    {
        var count = 0;
        while (count < name.Length && name[count] == '_')
        {
            count++;
        }

        return count;
    }
}

/// <summary>Symbols by address, for many look-ups.</summary>
internal sealed class SymbolAddressIndex
{
    // The search goes back from the address until no earlier symbol of the section can hold it.
    private readonly ElfSymbolTable _table;
    private readonly ulong[] _values;
    private readonly ulong[] _highestEnd;
    private readonly int[] _symbols;
    private readonly int _count;

    public SymbolAddressIndex(ElfSymbolTable table)
    {
        _table = table;
        _values = new ulong[table.Count];
        _symbols = new int[table.Count];
        for (var i = 1; i < table.Count; i++)
        {
            var raw = table.At(i);
            if (table.IsCandidate(in raw))
            {
                _values[_count] = raw.Value;
                _symbols[_count++] = i;
            }
        }

        AddressSort.Sort(_values, _symbols, _count);
        _highestEnd = new ulong[_count];
        ulong highest = 0;
        for (var i = 0; i < _count; i++)
        {
            var end = _values[i] + table.At(_symbols[i]).Size;
            highest = Math.Max(highest, end >= _values[i] ? end : ulong.MaxValue);
            _highestEnd[i] = highest;
        }
    }

    public bool TryFindNearest(ulong address, int section, out int index)
    {
        var (low, high) = (-1, _count);
        while (high - low > 1)
        {
            var middle = (low + high) / 2;
            if (_values[middle] <= address)
            {
                low = middle;
            }
            else
            {
                high = middle;
            }
        }

        var nearest = new NearestSymbol(_table, address);
        for (var i = low; i >= 0; i--)
        {
            // The nearest address decides alone, unless what is there ended before; then only a symbol that holds the address counts.
            if (nearest.Best > 0 && _values[i] != _values[i + 1] && (_highestEnd[i] <= address || Holds(nearest.Best, address)))
            {
                break;
            }

            var raw = _table.At(_symbols[i]);
            if (raw.Section == section)
            {
                nearest.Consider(_symbols[i], in raw);
            }
        }

        index = nearest.Best;
        return index > 0;
    }

    private bool Holds(int symbol, ulong address)
    {
        var raw = _table.At(symbol);
        return raw.Size == 0 || address - raw.Value < raw.Size;
    }
}
