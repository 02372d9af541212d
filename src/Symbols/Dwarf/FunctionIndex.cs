// The subprograms of one unit that have code: DWARF 5, section 3.3. GCC writes C functions as children of the unit; the declarations and
// abstract instances among them have no addresses. A function that GCC split (.cold) has DW_AT_ranges.
namespace KTrace.Symbols.Dwarf;

/// <summary>One contiguous piece of a function.</summary>
internal struct FunctionPiece
{
    public ulong Low;
    public ulong High;

    /// <summary>The function's DIE, bytes from the start of .debug_info.</summary>
    public int Entry;

    /// <summary>DW_AT_low_pc, or the start of its first range: where the function is entered.</summary>
    public ulong FunctionLow;
}

/// <summary>Address → function of one unit. One object may be filled with one unit after another.</summary>
internal sealed class FunctionIndex
{
    private readonly GrowingArray<FunctionPiece> _pieces = new(256);
    private readonly GrowingArray<AddressRange> _ranges = new(16);
    private ulong[] _lows = new ulong[256];
    private int[] _order = new int[256];
    private ulong _longest;

    public int Count => _pieces.Count;

    /// <summary>Pieces in the order of their DIEs.</summary>
    public ref readonly FunctionPiece this[int index] => ref _pieces[index];

    /// <summary>
    /// Walks the unit's DIEs: the children of the unit and of namespaces, or with <paramref name="deep"/> all of them, for languages that
    /// define functions inside types and other functions.
    /// </summary>
    public unsafe void Load(Unit unit, bool deep)
    {
        _pieces.Clear();
        _longest = 0;
        if (unit.HasChildren)
        {
            fixed (byte* bytes = unit.Sections.Info.Span)
            {
                var reader = new DieReader(unit, bytes, unit.FirstChild);
                Walk(unit, ref reader, deep);
            }
        }

        Sort();
    }

    /// <summary>The smallest piece that holds the address; of equal ones the last in DIE order.</summary>
    public bool TryFind(ulong address, out FunctionPiece piece)
    {
        piece = default;
        var (low, high) = (-1, _pieces.Count);
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

        var best = ulong.MaxValue;
        // Pieces rarely overlap; none that starts further back than the longest one reaches this far.
        for (var i = low; i >= 0 && address - _lows[i] < _longest; i--)
        {
            ref var candidate = ref _pieces[_order[i]];
            var length = candidate.High - candidate.Low;
            if (address < candidate.High && (length < best || (length == best && candidate.Entry > piece.Entry)))
            {
                best = length;
                piece = candidate;
            }
        }

        return best != ulong.MaxValue;
    }

    private void Walk(Unit unit, ref DieReader reader, bool deep)
    {
        var depth = 1;
        while (depth > 0 && !reader.AtEnd)
        {
            if (!reader.ReadEntry())
            {
                depth--;
                continue;
            }

            ref readonly var entry = ref reader.Entry;
            if (entry.Tag is DwTag.Subprogram or DwTag.EntryPoint && entry.HasCode)
            {
                var (offset, start) = (reader.EntryOffset, reader.Position);
                var hasChildren = entry.HasChildren;
                ReadFunction(unit, ref reader, out var sibling);
                if (!hasChildren)
                {
                    continue;
                }

                if (deep)
                {
                    depth++;
                }
                else if (sibling >= 0)
                {
                    reader.EntryOffset = offset;
                    reader.JumpTo(sibling);
                }
                else
                {
                    reader.SkipChildren();
                }
            }
            else if (entry.HasChildren && (deep || entry.Tag is DwTag.Namespace or DwTag.Module))
            {
                reader.SkipAttributes();
                depth++;
            }
            else
            {
                reader.SkipTree();
            }
        }
    }

    private void ReadFunction(Unit unit, ref DieReader reader, out long sibling)
    {
        sibling = -1;
        ulong low = 0, high = 0;
        var highIsAddress = false;
        var entry = reader.EntryOffset;
        _ranges.Clear();
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            ref readonly var attribute = ref reader.Attribute(i);
            switch (attribute.Name)
            {
                case DwAt.LowPc:
                    low = reader.ReadNumber(in attribute);
                    break;
                case DwAt.HighPc:
                    high = reader.ReadNumber(in attribute);
                    highIsAddress = AttributeForm.IsAddress(attribute.Form);
                    break;
                case DwAt.Ranges:
                    unit.ReadRanges(ref reader, in attribute, _ranges);
                    break;
                case DwAt.Sibling:
                    sibling = reader.ReadReference(in attribute);
                    break;
                default:
                    reader.Skip(in attribute);
                    break;
            }
        }

        if (high != 0)
        {
            high = highIsAddress ? high : low + high;
            if (high > low)
            {
                _ranges.Add(new AddressRange(low, high));
            }
        }

        var start = low != 0 || _ranges.Count == 0 ? low : _ranges[0].Low;
        for (var i = 0; i < _ranges.Count; i++)
        {
            var range = _ranges[i];
            _pieces.Add(new FunctionPiece { Low = range.Low, High = range.High, Entry = entry, FunctionLow = start });
            _longest = Math.Max(_longest, range.High - range.Low);
        }
    }

    private void Sort()
    {
        var count = _pieces.Count;
        if (_lows.Length < count)
        {
            _lows = new ulong[_pieces.Items.Length];
            _order = new int[_pieces.Items.Length];
        }

        for (var i = 0; i < count; i++)
        {
            _lows[i] = _pieces[i].Low;
            _order[i] = i;
        }

        AddressSort.Sort(_lows, _order, count);
    }
}
