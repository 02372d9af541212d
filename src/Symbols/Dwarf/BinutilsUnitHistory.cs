// What binutils 2.40 (bfd/dwarf2.c) knows of an object depends on what it was asked before. It reads unit headers in the order of the file until one
// claims the address, decodes a unit's lines when an address in the unit's own ranges is asked for, and only from then on finds addresses that
// lie in the unit's line table but not in its ranges: padding between functions with a section attribute, and code of inline assembly. A symbol in a data
// section makes it decode every unit on its way to the variable.
namespace KTrace.Symbols.Dwarf;

/// <summary>Which units binutils would have read and decoded by now. Not thread-safe.</summary>
internal sealed class BinutilsUnitHistory
{
    // STASH_INFO_HASH_TRIGGER: after so many data symbols it decodes whatever it has read, to index it by name.
    private const int IndexAfter = 100;

    private readonly UnitIndex _units;
    private readonly UnitSet _decoded = new();
    private int _readTo; // units whose header starts before this offset of .debug_info were read
    private int _variables;

    public BinutilsUnitHistory(UnitIndex units) => _units = units;

    /// <summary>An address was asked for. False when binutils does not find it although a line table covers it, as that is not decoded yet.</summary>
    /// <param name="unit">The unit that holds it, by the offset of its header, or -1.</param>
    /// <param name="byLinesOnly">Only the unit's line table covers it.</param>
    /// <param name="isFound">The unit knows a function or a line there.</param>
    public bool Ask(int unit, bool byLinesOnly, bool isFound)
    {
        if (unit >= 0 && !byLinesOnly)
        {
            _decoded.Add(unit);
        }

        if (unit >= 0 && isFound && _decoded.Contains(unit))
        {
            // Any unit but one that it has not come to is found among those that it knows.
            _readTo = Math.Max(_readTo, byLinesOnly ? 0 : unit + 1);
            return true;
        }

        _readTo = int.MaxValue;
        return false;
    }

    /// <summary>A symbol in a data section was asked for, and found in a unit (or in none: -1).</summary>
    public void AskForVariable(int unit)
    {
        var offsets = _units.UnitOffsets;
        var read = 0;
        while (read < offsets.Length && offsets[read] < _readTo)
        {
            read++;
        }

        if (_variables++ >= IndexAfter)
        {
            Decode(offsets[..read]);
        }

        // Units that were read before are tried first, the last one first; then the others in the order of the file.
        var ordinal = unit < 0 ? -1 : offsets.BinarySearch(unit);
        Decode(offsets[(ordinal >= 0 && ordinal < read ? ordinal : 0)..read]);
        if (ordinal < 0 || ordinal >= read)
        {
            var end = ordinal < 0 ? offsets.Length : ordinal + 1;
            Decode(offsets[read..end]);
            _readTo = end < offsets.Length ? offsets[end] : int.MaxValue;
        }
    }

    private void Decode(ReadOnlySpan<int> units)
    {
        foreach (var unit in units)
        {
            _decoded.Add(unit);
        }
    }
}
