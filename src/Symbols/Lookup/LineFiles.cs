using KTrace.Symbols.Dwarf;

namespace KTrace.Symbols.Lookup;

/// <summary>Asks line tables whether code comes from one of some wanted files; a unit's program is decoded only when its table names such a file. For addresses in order: one unit is kept.</summary>
internal sealed class LineFiles(Symbolizer symbolizer, Func<string, bool> isWanted)
{
    private readonly Unit _unit = new(symbolizer.Sections);
    private readonly LineTable _lines = new();
    private readonly LineProgramHeader _header = new();
    private readonly Dictionary<string, bool> _known = new(StringComparer.Ordinal);
    private readonly HashSet<int> _wanted = [];
    private readonly HashSet<int> _without = [];
    private int _loaded = -1;

    /// <summary>The line at an address of a unit's code is one of a wanted file.</summary>
    public bool IsFrom(int unit, ulong address)
    {
        if (_without.Contains(unit))
        {
            return false;
        }

        try
        {
            if (_loaded != unit && !TryLoad(unit))
            {
                _without.Add(unit);
                return false;
            }

            return _lines.TryFind(address, out var row) && _wanted.Contains(row.File);
        }
        catch (MalformedFileException)
        {
            // A damaged table costs its own unit.
            _without.Add(unit);
            return false;
        }
    }

    private bool TryLoad(int unit)
    {
        _loaded = -1;
        _wanted.Clear();
        _unit.Load(unit);
        if (_unit.LineOffset < 0)
        {
            return false;
        }

        _header.Load(_unit);
        // Files are numbered from 1 before DWARF 5, from 0 since.
        for (var file = 0; file <= _header.FileCount; file++)
        {
            if (_header.TryFindFile(file, shortForm: true, out _, out _) && IsWanted(_header.Path(file, shortForm: true)))
            {
                _wanted.Add(file);
            }
        }

        if (_wanted.Count == 0)
        {
            return false;
        }

        _lines.Load(_unit);
        _loaded = unit;
        return true;
    }

    private bool IsWanted(string path)
    {
        if (!_known.TryGetValue(path, out var wanted))
        {
            _known[path] = wanted = isWanted(path.StartsWith("./", StringComparison.Ordinal) ? path[2..] : path);
        }

        return wanted;
    }
}
