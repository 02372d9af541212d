// Which unit holds an address. Three sources, each read when the one before does not know: .debug_aranges; the root DIEs of units that have no
// aranges (clang writes none); and the line tables of all units, as code that inline assembly puts into other sections (.altinstr_replacement)
// has lines but lies in no unit's ranges.
namespace KTrace.Symbols.Dwarf;

/// <summary>Address → unit of one object. Thread-safe.</summary>
internal sealed class UnitIndex
{
    // Root DIEs lie all over .debug_info, and the kernel maps 16 pages around each: give them back now and then.
    private const int ReleaseEvery = 32 << 20;

    private readonly DwarfSections _sections;
    private readonly Lock _lock = new();
    private Level[] _levels = [];
    private int[]? _unitOffsets;

    public UnitIndex(DwarfSections sections) => _sections = sections;

    /// <summary>
    /// The unit that claims the address (.debug_aranges, or its DIE), by the offset of its header, or -1. Of several the first in the file.
    /// </summary>
    public int Find(ulong address)
    {
        var unit = GetLevel(0).Find(address);
        return unit >= 0 ? unit : GetLevel(1).Find(address);
    }

    /// <summary>
    /// The unit whose line table may cover an address of code that no unit claims, or -1. What lies in padding between functions belongs to the unit
    /// of the function before it. Only a section in which no unit claims anything costs decoding all line tables (17 MB in a kernel), once.
    /// </summary>
    /// <param name="address">An address of code.</param>
    /// <param name="sectionStart">Where its section starts.</param>
    public int FindByLines(ulong address, ulong sectionStart)
    {
        var (low, unit) = GetLevel(0).Before(address);
        var (otherLow, otherUnit) = GetLevel(1).Before(address);
        if (otherUnit >= 0 && (unit < 0 || otherLow > low))
        {
            (low, unit) = (otherLow, otherUnit);
        }

        return unit >= 0 && low >= sectionStart ? unit : GetLevel(2).Find(address);
    }

    /// <summary>Offsets of all unit headers, ascending. Damage ends the list, as nothing says where the next unit would be.</summary>
    public ReadOnlySpan<int> UnitOffsets
    {
        get
        {
            lock (_lock)
            {
                return _unitOffsets ??= ReadUnitOffsets();
            }
        }
    }

    /// <summary>The unit that holds an offset of .debug_info, or -1.</summary>
    public int Holding(int offset)
    {
        var offsets = UnitOffsets;
        var (low, high) = (-1, offsets.Length);
        while (high - low > 1)
        {
            var middle = (low + high) / 2;
            if (offsets[middle] <= offset)
            {
                low = middle;
            }
            else
            {
                high = middle;
            }
        }

        return low < 0 ? -1 : offsets[low];
    }

    private Level GetLevel(int index)
    {
        var levels = Volatile.Read(ref _levels);
        if (index < levels.Length)
        {
            return levels[index];
        }

        lock (_lock)
        {
            while (_levels.Length <= index)
            {
                var ranges = new GrowingArray<UnitRange>(_levels.Length == 0 ? 4096 : 64);
                switch (_levels.Length)
                {
                    case 0:
                        Aranges.Read(_sections.Aranges, _sections.Info.Length, ranges);
                        break;
                    case 1:
                        ReadRootRanges(ranges);
                        break;
                    default:
                        ReadLineRanges(ranges);
                        break;
                }

                var more = new Level[_levels.Length + 1];
                Array.Copy(_levels, more, _levels.Length);
                more[^1] = new Level(ranges);
                Volatile.Write(ref _levels, more);
            }

            return _levels[index];
        }
    }

    private int[] ReadUnitOffsets()
    {
        var offsets = new GrowingNumbers(4096);
        var info = _sections.Info;
        var released = 0;
        try
        {
            for (var offset = 0; offset < info.Length;)
            {
                var end = UnitHeader.ReadEnd(info, offset, out _);
                // Padding, or nonsense: each would cost an exception, and there may be a hundred thousand of them in a small file.
                if (UnitHeader.IsPossible(info, offset, end))
                {
                    offsets.Add(offset);
                }

                offset = end;
                if (offset - released > ReleaseEvery)
                {
                    info.Release(released, offset - released);
                    released = offset;
                }
            }
        }
        catch (MalformedFileException)
        {
            // What follows cannot be found.
        }

        info.Release(released, info.Length - released);
        return offsets.ToArray();
    }

    private void ReadRootRanges(GrowingArray<UnitRange> into)
    {
        var covered = _levels[0].Units();
        var found = new GrowingArray<AddressRange>();
        var unit = new Unit(_sections);
        foreach (var offset in _unitOffsets ??= ReadUnitOffsets())
        {
            if (covered.Contains(offset))
            {
                continue;
            }

            found.Clear();
            try
            {
                unit.Load(offset, found);
                if (found.Count == 0 && unit.LineOffset >= 0)
                {
                    // No ranges at all: binutils looks into the line table of such a unit, and its functions.
                    AddCode(unit, found);
                }
            }
            catch (MalformedFileException)
            {
                // Costs this unit only: its addresses fall back to symbols.
            }

            Append(found, offset, into);
        }
    }

    private static void AddCode(Unit unit, GrowingArray<AddressRange> found)
    {
        var functions = new FunctionIndex();
        functions.Load(unit, deep: false);
        for (var i = 0; i < functions.Count; i++)
        {
            found.Add(new AddressRange(functions[i].Low, functions[i].High));
        }
    }

    private void ReadLineRanges(GrowingArray<UnitRange> into)
    {
        var found = new GrowingArray<AddressRange>();
        var unit = new Unit(_sections);
        var lines = new LineTable();
        var released = 0;
        foreach (var offset in _unitOffsets ??= ReadUnitOffsets())
        {
            found.Clear();
            try
            {
                unit.Load(offset);
                lines.Load(unit);
                lines.AddRanges(found);
            }
            catch (MalformedFileException)
            {
                // As above.
            }

            if (offset - released > ReleaseEvery)
            {
                _sections.Info.Release(released, offset - released);
                released = offset;
            }

            for (var i = 0; i < found.Count; i++)
            {
                // What the first levels know needs no second entry. Where they list single functions (GCC does for functions with a section attribute)
                // a sequence covers the padding between them as well.
                if (!_levels[0].Covers(found[i], offset) && !_levels[1].Covers(found[i], offset))
                {
                    into.Add(new UnitRange { Low = found[i].Low, High = found[i].High, Unit = offset });
                }
            }
        }

        _sections.Info.Release(released, _sections.Info.Length - released);
        _sections.Line.Release(0, _sections.Line.Length);
    }

    private static void Append(GrowingArray<AddressRange> found, int unit, GrowingArray<UnitRange> into)
    {
        for (var i = 0; i < found.Count; i++)
        {
            into.Add(new UnitRange { Low = found[i].Low, High = found[i].High, Unit = unit });
        }
    }

    /// <summary>Ranges of one source, sorted when the first address is asked for.</summary>
    private sealed class Level
    {
        private readonly ulong[] _lows;
        private readonly ulong[] _highs;
        private readonly ulong[] _highestSoFar;
        private readonly int[] _units;

        public Level(GrowingArray<UnitRange> ranges)
        {
            var count = ranges.Count;
            _lows = new ulong[count];
            _highs = new ulong[count];
            _highestSoFar = new ulong[count];
            _units = new int[count];
            var order = new int[count];
            for (var i = 0; i < count; i++)
            {
                _lows[i] = ranges[i].Low;
                order[i] = i;
            }

            AddressSort.Sort(_lows, order, count);
            ulong highest = 0;
            for (var i = 0; i < count; i++)
            {
                ref var range = ref ranges[order[i]];
                _highs[i] = range.High;
                _units[i] = range.Unit;
                highest = Math.Max(highest, range.High);
                _highestSoFar[i] = highest;
            }
        }

        public int Find(ulong address)
        {
            var best = -1;
            for (var i = LastAtOrBelow(address); i >= 0 && _highestSoFar[i] > address; i--)
            {
                if (_highs[i] > address && (best < 0 || _units[i] < best))
                {
                    best = _units[i];
                }
            }

            return best;
        }

        private int LastAtOrBelow(ulong address)
        {
            var (low, high) = (-1, _lows.Length);
            while (high - low > 1)
            {
                var middle = (low + high) / 2;
                if (_lows[middle] <= address)
                {
                    low = middle;
                }
                else
                {
                    high = middle;
                }
            }

            return low;
        }

        /// <summary>The range that starts last at or before the address; a unit of -1 when there is none.</summary>
        public (ulong Low, int Unit) Before(ulong address) => LastAtOrBelow(address) is var i && i >= 0 ? (_lows[i], _units[i]) : (0, -1);

        /// <summary>One range of the unit holds all of <paramref name="range"/>.</summary>
        public bool Covers(AddressRange range, int unit)
        {
            for (var i = LastAtOrBelow(range.Low); i >= 0 && _highestSoFar[i] >= range.High; i--)
            {
                if (_units[i] == unit && _highs[i] >= range.High)
                {
                    return true;
                }
            }

            return false;
        }

        public UnitSet Units()
        {
            var units = new UnitSet();
            foreach (var unit in _units)
            {
                units.Add(unit);
            }

            return units;
        }
    }
}
