// All functions of one object at once, for those who want thousands of them: the symbol table is read once, and which file a function comes from is told by .debug_aranges and the names of
// the units (2,400 in a kernel: milliseconds), or by line tables where a header is asked for. No DIE but the units' own is read.
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Lookup;

/// <summary>
/// The functions that have code of their own in one object (the kernel, or a module): each address once, ascending, whatever the number of its names. Copies that the compiler made
/// (<c>foo.isra.0</c>) are functions too; pieces that are only jumped to (<c>.cold</c>) and padding are none. Not thread-safe.
/// </summary>
public sealed class FunctionTable
{
    private readonly Symbolizer _symbolizer;
    private readonly ElfSymbolTable _symbols;
    private readonly Func<string, string> _shortPath;
    private readonly ulong[] _addresses;
    private readonly int[] _names;
    private readonly Dictionary<int, string?> _unitNames = [];
    private int[]? _units;
    private Dictionary<string, int>? _byName;

    /// <param name="symbolizer">The object.</param>
    /// <param name="shortPath">Makes a path of the debug information one as a person writes it; null leaves it.</param>
    public FunctionTable(Symbolizer symbolizer, Func<string, string>? shortPath = null)
    {
        _symbolizer = symbolizer;
        _symbols = symbolizer.Symbols;
        _shortPath = shortPath ?? (path => path);
        var addresses = new ulong[1024];
        var indexes = new int[1024];
        var count = 0;
        for (var i = 1; i < _symbols.Count; i++)
        {
            var raw = _symbols.At(i);
            if (raw.Type != ElfSymbol.TypeFunction || !_symbols.IsCandidate(in raw) || !_symbols.Sections[raw.Section].IsExecutable || !IsEntry(_symbols.NameBytes(raw.NameOffset)))
            {
                continue;
            }

            if (count == addresses.Length)
            {
                Array.Resize(ref addresses, count * 2);
                Array.Resize(ref indexes, count * 2);
            }

            addresses[count] = raw.Value;
            indexes[count++] = i;
        }

        AddressSort.Sort(addresses, indexes, count);
        var kept = 0;
        for (var i = 0; i < count; i++)
        {
            if (kept > 0 && addresses[kept - 1] == addresses[i])
            {
                continue;
            }

            addresses[kept] = addresses[i];
            // Of several names of one address the one that frames are called by.
            indexes[kept] = _symbols.TryFindNearestIndex(addresses[i], out int best) && _symbols.At(best) is var named && named.Value == addresses[i] && IsEntry(_symbols.NameBytes(named.NameOffset))
                ? best : indexes[i];
            kept++;
        }

        _addresses = addresses[..kept];
        _names = indexes[..kept];
    }

    public int Count => _addresses.Length;

    /// <summary>Where function <paramref name="index"/> is entered: at link time in the kernel, where the symbolizer has it in a module.</summary>
    public ulong AddressOf(int index) => _addresses[index];

    /// <summary>Its symbol.</summary>
    public string SymbolOf(int index) => _symbols.NameOf(_symbols.At(_names[index]).NameOffset);

    /// <summary>What the source calls it; readable for Rust.</summary>
    public string NameOf(int index) => Symbolizer.Readable(SymbolOf(index)).Function;

    /// <summary>The compiler made it of a function: it may take other parameters than the source says.</summary>
    public bool IsClone(int index)
    {
        var name = _symbols.NameBytes(_symbols.At(_names[index]).NameOffset);
        return CloneName.SourceLength(name) < name.Length;
    }

    /// <summary>The source file that was compiled into it (<c>kernel/irq/chip.c</c>), or null when no DWARF tells.</summary>
    public string? FileOf(int index) => UnitOf(index) is var unit and >= 0 ? UnitName(unit) : null;

    /// <summary>The function that is entered at an address, or -1.</summary>
    public int Find(ulong address) => Array.BinarySearch(_addresses, address) is var index and >= 0 ? index : -1;

    /// <summary>
    /// The functions whose source name a pattern matches, or whose symbol is exactly that: ascending by address.
    /// </summary>
    public IEnumerable<int> Named(NamePattern pattern)
    {
        for (var i = 0; i < _addresses.Length; i++)
        {
            if (Matches(pattern, i))
            {
                yield return i;
            }
        }
    }

    /// <summary>
    /// Functions of the source files that match: compiled from one (<c>drivers/pci/msi/*</c>), or written in one (a header's functions have code in each file that needs them). Without DWARF none.
    /// </summary>
    /// <param name="files">Of paths from the top of the source tree; a pattern without a slash is one of names of files alone. <c>*</c> stands for slashes too.</param>
    public IEnumerable<int> From(NamePattern files)
    {
        if (!_symbolizer.HasDwarf)
        {
            yield break;
        }

        var wanted = new Dictionary<int, bool>();
        var units = Units;
        LineFiles? lines = MayMeanHeaders(files.Text) ? new LineFiles(_symbolizer, path => MatchesFile(files, _shortPath(path))) : null;
        for (var i = 0; i < _addresses.Length; i++)
        {
            if (units[i] < 0)
            {
                continue;
            }

            if (!wanted.TryGetValue(units[i], out var whole))
            {
                wanted[units[i]] = whole = UnitName(units[i]) is { } name && MatchesFile(files, name);
            }

            if (whole || lines?.IsFrom(units[i], _addresses[i]) == true)
            {
                yield return i;
            }
        }
    }

    /// <summary>The source files that were compiled into the object, each once, sorted.</summary>
    public IReadOnlyList<string> Files() =>
        [.. Units.Distinct().Where(u => u >= 0).Select(UnitName).OfType<string>().Distinct().Order(StringComparer.Ordinal)];

    /// <summary>Which of the functions with the same symbol it is, in the symbol table's order: 0 for a name that only one has.</summary>
    public int OrdinalOf(int index)
    {
        var name = _symbols.NameBytes(_symbols.At(_names[index]).NameOffset);
        var before = 0;
        for (var i = 0; i < _names.Length; i++)
        {
            before += _names[i] < _names[index] && _symbols.NameBytes(_symbols.At(_names[i]).NameOffset).SequenceEqual(name) ? 1 : 0;
        }

        return before;
    }

    /// <summary>The function of a symbol: the one and only, or the one with that number among its namesakes (<see cref="OrdinalOf"/>); -1 when there is none.</summary>
    public int FindSymbol(string symbol, int ordinal)
    {
        if (_byName is null)
        {
            _byName = new Dictionary<string, int>(_names.Length, StringComparer.Ordinal);
            for (var i = 0; i < _names.Length; i++)
            {
                var name = SymbolOf(i);
                _byName[name] = _byName.ContainsKey(name) ? -1 : i;
            }
        }

        if (!_byName.TryGetValue(symbol, out var index))
        {
            return -1;
        }

        if (index >= 0)
        {
            return ordinal == 0 ? index : -1;
        }

        return Enumerable.Range(0, _names.Length).Where(i => SymbolOf(i) == symbol).OrderBy(i => _names[i]).Skip(ordinal).Select(i => (int?)i).FirstOrDefault() ?? -1;
    }

    private int[] Units => _units ??= [.. Enumerable.Range(0, _addresses.Length).Select(UnitOf)];

    private static bool IsEntry(ReadOnlySpan<byte> name)
    {
        if (name.IsEmpty || name.StartsWith("__pfx_"u8) || name.StartsWith("__cfi_"u8))
        {
            return false;
        }

        return name.IndexOf((byte)'.') < 0 || CloneName.Parse(System.Text.Encoding.UTF8.GetString(name)).IsEntry;
    }

    private static bool MatchesFile(NamePattern files, string path) =>
        files.IsMatch(path) || (!files.Text.Contains('/') && files.IsMatch(path[(path.LastIndexOf('/') + 1)..]));

    /// <summary>A file that is compiled has a unit of its own; any other may be a header, of which only line tables know.</summary>
    private static bool MayMeanHeaders(string files) => files.EndsWith(".h", StringComparison.Ordinal);

    private int UnitOf(int index) => _symbolizer.HasDwarf ? _symbolizer.Units.Find(_addresses[index]) : -1;

    private string? UnitName(int unit)
    {
        if (!_unitNames.TryGetValue(unit, out var name))
        {
            try
            {
                var read = new Unit(_symbolizer.Sections);
                read.Load(unit);
                name = read.Name.IsNone ? null : Normal(_symbolizer.Sections.Text(read.Name));
            }
            catch (MalformedFileException)
            {
                // Costs this unit only.
            }

            _unitNames[unit] = name;
        }

        return name;
    }

    private string Normal(string path)
    {
        path = _shortPath(path);
        return path.StartsWith("./", StringComparison.Ordinal) ? path[2..] : path;
    }

    private bool Matches(NamePattern pattern, int index)
    {
        var bytes = _symbols.NameBytes(_symbols.At(_names[index]).NameOffset);
        return RustName.MayBe(bytes)
            ? pattern.IsMatch(NameOf(index))
            : pattern.IsMatch(bytes[..CloneName.SourceLength(bytes)]) || pattern.IsMatch(bytes);
    }
}
