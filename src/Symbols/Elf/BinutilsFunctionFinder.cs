// Which symbol binutils 2.40 (bfd, "find the function to a particular section and offset, for error reporting") names an address after, when
// DWARF has no function there: the nearest symbol at or below it, of several at one address the largest. Its answers depend on the questions
// before: as long as the address lies in the symbol that it found last, it does not search again, though a label may be nearer.
// `ktrace sym --format addr2line` promises the same lines, so that memory is modelled too. (Later versions choose differently.)
namespace KTrace.Symbols.Elf;

/// <summary>Questions must come in the order in which addr2line would ask them. Not thread-safe.</summary>
internal sealed class BinutilsFunctionFinder
{
    private const byte VisibilityHidden = 2;

    private readonly ElfSymbolTable _table;
    private readonly Candidate[]?[] _bySection;
    private int _lastSection = -1;
    private Candidate _function;
    private bool _hasFunction;

    private struct Candidate
    {
        public ulong Value;
        public ulong Size;
        public int Symbol;

        /// <summary>The STT_FILE symbol that names its source file; 0 when there is none, as for global symbols.</summary>
        public int File;
        public byte Type;
    }

    public BinutilsFunctionFinder(ElfSymbolTable table)
    {
        _table = table;
        _bySection = new Candidate[table.Sections.Length][];
    }

    /// <param name="section">Index of the section.</param>
    /// <param name="offset">Bytes from its start.</param>
    /// <param name="symbol">The symbol's index.</param>
    /// <param name="file">Index of the STT_FILE symbol that names its file, or 0.</param>
    public bool TryFind(int section, ulong offset, out int symbol, out int file)
    {
        if (_lastSection != section || !_hasFunction || offset < _function.Value || offset >= _function.Value + _function.Size)
        {
            Search(section, offset);
        }

        (symbol, file) = _hasFunction ? (_function.Symbol, _function.File) : (0, 0);
        return _hasFunction;
    }

    private void Search(int section, ulong offset)
    {
        _lastSection = section;
        var candidates = _bySection[section] ??= CandidatesOf(section);
        var (low, high) = (-1, candidates.Length);
        while (high - low > 1)
        {
            var middle = (low + high) / 2;
            if (candidates[middle].Value <= offset)
            {
                low = middle;
            }
            else
            {
                high = middle;
            }
        }

        _hasFunction = low >= 0;
        _function = low >= 0 ? candidates[low] : default;
    }

    private Candidate[] CandidatesOf(int section)
    {
        var found = new Dwarf.GrowingArray<Candidate>(256);
        var start = _table.AddressOf(_table.Sections[section]);
        var file = 0;
        var (symbolSeen, fileAfterSymbol) = (false, false);
        for (var i = 1; i < _table.Count; i++)
        {
            var raw = _table.At(i);
            if (raw.Type == ElfSymbol.TypeFile)
            {
                file = i;
                fileAfterSymbol |= symbolSeen;
                continue;
            }

            symbolSeen = true;
            // FUNC, NOTYPE and what an operating system defines; not OBJECT, SECTION, TLS, RELC and SRELC.
            if (raw.Section != section || raw.Type is ElfSymbol.TypeObject or ElfSymbol.TypeSection or 5 or 6 or 8 or 9)
            {
                continue;
            }

            var isLocal = raw.Binding == ElfSymbol.BindingLocal;
            if (raw.Size == 0 && isLocal && raw.Type == ElfSymbol.TypeNone && (raw.Other & 3) == VisibilityHidden)
            {
                continue;
            }

            found.Add(new Candidate
            {
                Value = raw.Value - start,
                Size = raw.Size == 0 ? 1 : raw.Size,
                Symbol = i,
                File = isLocal || !fileAfterSymbol ? file : 0,
                Type = raw.Type,
            });
        }

        var keys = new ulong[found.Count];
        var order = new int[found.Count];
        for (var i = 0; i < order.Length; i++)
        {
            keys[i] = found[i].Value;
            order[i] = i;
        }

        Dwarf.AddressSort.Sort(keys, order, order.Length);
        // One at each value: the largest, of equal ones the first.
        var kept = new Dwarf.GrowingArray<Candidate>(order.Length);
        foreach (var index in order)
        {
            ref var candidate = ref found[index];
            if (kept.Count == 0 || kept.Last.Value != candidate.Value)
            {
                kept.Add(in candidate);
            }
            else if (candidate.Size > kept.Last.Size)
            {
                kept.Last = candidate;
            }
        }

        var result = new Candidate[kept.Count];
        Array.Copy(kept.Items, result, result.Length);
        return result;
    }
}
