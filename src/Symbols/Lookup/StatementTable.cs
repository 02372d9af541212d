// Line number programs as a stepper needs them: by address, with is_stmt (DWARF 5, section 6.2.2). GCC writes several rows for one address (views) and rows that begin no
// statement; addr2line takes the last row, whatever it is. A debugger that shows statements takes, as gdb 13 does (symtab.c: find_pc_sect_line, dwarf2/read.c:
// lnp_state_machine::record_line), the last row that begins one; another row only where none does. A row that repeats the line before it is none when the line has
// discriminators: those are blocks of one line.
using KTrace.Symbols.Dwarf;

namespace KTrace.Symbols.Lookup;

/// <summary>From <paramref name="Address"/> on, up to the next row.</summary>
/// <param name="Line">0: no line, as behind the end of a sequence.</param>
internal readonly record struct StatementRow(ulong Address, int File, int Line, bool IsStatement);

/// <summary>The rows of one unit by address.</summary>
internal sealed class StatementTable
{
    // A row costs at least a byte of the program; sequences may be read in any order: this bounds nothing real.
    private const int MaximumRows = 1 << 22;

    private readonly StatementRow[] _rows;
    private readonly LineProgramHeader _header;
    private readonly Dictionary<int, string> _paths = [];

    private StatementTable(StatementRow[] rows, LineProgramHeader header) => (_rows, _header) = (rows, header);

    /// <summary>Reads the program of a unit.</summary>
    /// <exception cref="MalformedFileException">It is damaged.</exception>
    public static StatementTable Read(Unit unit)
    {
        var header = new LineProgramHeader();
        var rows = new List<StatementRow>();
        if (unit.LineOffset >= 0)
        {
            header.Load(unit);
            ReadRows(unit.Sections.Line, header, rows);
        }

        return new StatementTable(Join(rows), header);
    }

    /// <summary>The row that covers an address, and where the next one begins; false where none does.</summary>
    public bool TryFind(ulong address, out StatementRow row, out ulong end)
    {
        var (low, high) = (-1, _rows.Length);
        while (high - low > 1)
        {
            var middle = (low + high) / 2;
            if (_rows[middle].Address <= address)
            {
                low = middle;
            }
            else
            {
                high = middle;
            }
        }

        (row, end) = (default, 0);
        if (low < 0 || high == _rows.Length || _rows[low].Line == 0)
        {
            return false;
        }

        (row, end) = (_rows[low], _rows[high].Address);
        return true;
    }

    /// <summary>A file's path, as the line table has it.</summary>
    public string PathOf(int file)
    {
        if (!_paths.TryGetValue(file, out var path))
        {
            _paths[file] = path = _header.Path(file, shortForm: true);
        }

        return path;
    }

    private static void ReadRows(SectionData section, LineProgramHeader header, List<StatementRow> into)
    {
        var r = section.ReaderAt(header.ProgramStart);
        var state = new LineProgramState(header);
        var last = default(StatementRow);
        var (line, hasDiscriminator) = (0, false);
        while (r.Position < header.ProgramEnd && into.Count < MaximumRows)
        {
            var emits = state.Execute(ref r);
            if (state.SequenceEnded)
            {
                into.Add(new StatementRow(state.Address, 0, 0, false));
                (state, last, line) = (new LineProgramState(header), default, 0);
            }
            else if (emits)
            {
                hasDiscriminator = state.Discriminator != 0 || (hasDiscriminator && state.Line == line);
                line = state.Line;
                state.Discriminator = 0;
                if (state.File != last.File || state.Line != last.Line || !hasDiscriminator)
                {
                    into.Add(last = new StatementRow(state.Address, state.File, state.Line, state.IsStatement));
                }
            }
        }
    }

    /// <summary>One row an address: see above. The end of a sequence counts only where nothing else begins.</summary>
    private static StatementRow[] Join(List<StatementRow> rows)
    {
        var order = new int[rows.Count];
        var keys = new ulong[rows.Count];
        for (var i = 0; i < order.Length; i++)
        {
            (order[i], keys[i]) = (i, rows[i].Address);
        }

        AddressSort.Sort(keys, order, order.Length);
        var joined = new List<StatementRow>(rows.Count);
        foreach (var index in order)
        {
            var row = rows[index];
            if (joined.Count == 0 || joined[^1].Address != row.Address)
            {
                joined.Add(row);
            }
            else if (row.Line != 0 && (row.IsStatement || !joined[^1].IsStatement))
            {
                joined[^1] = row;
            }
        }

        return [.. joined];
    }
}
