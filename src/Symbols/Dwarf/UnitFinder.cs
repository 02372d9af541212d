namespace KTrace.Symbols.Dwarf;

/// <summary>
/// Units that other units refer to (DW_FORM_ref_addr: LTO, and files that dwz shrank). The last one is kept, as references come in bunches.
/// Not thread-safe: each worker has its own.
/// </summary>
internal sealed class UnitFinder
{
    private readonly DwarfSections _sections;
    private readonly UnitIndex _index;
    private Unit? _last;

    public UnitFinder(DwarfSections sections, UnitIndex index)
    {
        _sections = sections;
        _index = index;
    }

    /// <summary>The unit that holds an offset of .debug_info, or null when none does.</summary>
    public Unit? Find(int offset)
    {
        if (_last is { } last && offset >= last.Header.FirstEntry && offset < last.Header.End)
        {
            return last;
        }

        var start = _index.Holding(offset);
        if (start < 0)
        {
            return null;
        }

        // A fresh object: the chain that is being followed may still be reading the one before.
        var unit = new Unit(_sections, Find);
        unit.Load(start);
        _last = unit;
        return offset >= unit.Header.FirstEntry && offset < unit.Header.End && unit.Tag != 0 ? unit : null;
    }
}
