// Inlined calls inside one function: DWARF 5, section 3.3.8. A DW_TAG_inlined_subroutine names the function (DW_AT_abstract_origin) and
// where it was called (DW_AT_call_file, DW_AT_call_line); lexical blocks stand between. GCC may give one address to two siblings, and
// to a child an address outside its parent: binutils takes the smallest range that holds the address and goes up from there, which
// on a kernel's 100,000 random addresses is what the nesting says as well.
namespace KTrace.Symbols.Dwarf;

/// <summary>The function itself, or one inlined call in it.</summary>
internal struct InlineNode
{
    /// <summary>The DIE, bytes from the start of .debug_info.</summary>
    public int Entry;

    /// <summary>Index of the node that this one was inlined into; -1 for the function.</summary>
    public int Parent;

    public int FirstRange;
    public int RangeCount;

    /// <summary>Index into the line program's files of where the call stands; 0 and no line when DWARF does not say.</summary>
    public int CallFile;
    public int CallLine;

    /// <summary>DW_AT_call_file is there.</summary>
    public bool HasCallFile;

    /// <summary>DW_AT_abstract_origin, bytes from the start of .debug_info, or -1.</summary>
    public long Origin;
}

/// <summary>The inlined calls of one function. One object may be filled with one function after another.</summary>
internal sealed class InlineTree
{
    // Merging is quadratic. The longest list of a stock kernel has 40 ranges.
    private const int MaximumMerged = 1024;

    private readonly GrowingArray<InlineNode> _nodes = new(64);
    private readonly GrowingArray<AddressRange> _ranges = new(64);
    private readonly GrowingNumbers _nodeAtDepth = new(32);

    public int Count => _nodes.Count;

    public ref readonly InlineNode this[int index] => ref _nodes[index];

    /// <summary>
    /// Reads the function whose DIE is at <paramref name="entry"/>. With <paramref name="wanted"/> (sorted) only nodes that hold one of those
    /// addresses are kept; without, all.
    /// </summary>
    public unsafe void Load(Unit unit, int entry, ReadOnlySpan<ulong> wanted)
    {
        _nodes.Clear();
        _ranges.Clear();
        _nodeAtDepth.Clear();
        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, entry);
            if (!reader.ReadEntry())
            {
                throw unit.Malformed(entry, "a null entry where a function is expected");
            }

            _nodes.Add(new InlineNode { Entry = entry, Parent = -1, Origin = -1 });
            var hasChildren = reader.Entry.HasChildren;
            reader.SkipAttributes();
            if (hasChildren)
            {
                Walk(unit, ref reader, wanted);
            }
        }
    }

    /// <summary>
    /// The innermost node at the address: the smallest range that holds it, of equal ones the last in DIE order; 0, the function itself, when it is in
    /// no inlined call.
    /// </summary>
    public int Innermost(ulong address)
    {
        var best = 0;
        var bestLength = ulong.MaxValue;
        for (var i = 1; i < _nodes.Count; i++)
        {
            ref var node = ref _nodes[i];
            for (var j = 0; j < node.RangeCount; j++)
            {
                ref var range = ref _ranges[node.FirstRange + j];
                if (range.Contains(address) && range.High - range.Low <= bestLength)
                {
                    best = i;
                    bestLength = range.High - range.Low;
                }
            }
        }

        return best;
    }

    /// <summary>Where the piece of an inlined block that holds the address starts.</summary>
    public ulong LowOf(int index, ulong address)
    {
        ref var node = ref _nodes[index];
        for (var i = node.FirstRange; i < node.FirstRange + node.RangeCount; i++)
        {
            if (_ranges[i].Contains(address))
            {
                return _ranges[i].Low;
            }
        }

        return address;
    }

    private void Walk(Unit unit, ref DieReader reader, ReadOnlySpan<ulong> wanted)
    {
        _nodeAtDepth.Add(0);
        while (_nodeAtDepth.Count > 0)
        {
            if (!reader.ReadEntry())
            {
                _nodeAtDepth.Truncate(_nodeAtDepth.Count - 1);
                continue;
            }

            ref readonly var entry = ref reader.Entry;
            if (entry.Tag == DwTag.InlinedSubroutine)
            {
                var hasChildren = entry.HasChildren;
                var offset = reader.EntryOffset;
                var kept = ReadInlined(unit, ref reader, wanted, out var sibling);
                if (!hasChildren)
                {
                    continue;
                }

                if (kept)
                {
                    _nodeAtDepth.Add(_nodes.Count - 1);
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
            else if (entry.Tag == DwTag.LexicalBlock && entry.HasChildren)
            {
                reader.SkipAttributes();
                _nodeAtDepth.Add(_nodeAtDepth.Last);
            }
            else
            {
                reader.SkipTree();
            }
        }
    }

    private bool ReadInlined(Unit unit, ref DieReader reader, ReadOnlySpan<ulong> wanted, out long sibling)
    {
        var node = new InlineNode
        {
            Entry = reader.EntryOffset, Parent = _nodeAtDepth.Last, Origin = -1, FirstRange = _ranges.Count,
        };
        sibling = -1;
        ulong low = 0, high = 0;
        var highIsAddress = false;
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            ref readonly var attribute = ref reader.Attribute(i);
            switch (attribute.Name)
            {
                case DwAt.AbstractOrigin:
                    node.Origin = reader.ReadReference(in attribute);
                    break;
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
                case DwAt.CallFile:
                    node.CallFile = (int)Math.Min(reader.ReadNumber(in attribute), int.MaxValue);
                    node.HasCallFile = true;
                    break;
                case DwAt.CallLine:
                    node.CallLine = (int)Math.Min(reader.ReadNumber(in attribute), int.MaxValue);
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

        MergeTouching(node.FirstRange);
        node.RangeCount = _ranges.Count - node.FirstRange;
        if (!wanted.IsEmpty && !HoldsAny(node.FirstRange, wanted))
        {
            _ranges.Truncate(node.FirstRange);
            return false;
        }

        _nodes.Add(in node);
        return true;
    }

    // Ranges that touch count as one when the smallest is asked for. The order in which binutils tries them (the first, then the newest first)
    // decides in lists with several touching pairs, so it is kept.
    private void MergeTouching(int first)
    {
        if (_ranges.Count - first > MaximumMerged)
        {
            return;
        }

        var kept = first;
        for (var i = first; i < _ranges.Count; i++)
        {
            var range = _ranges[i];
            var merged = false;
            for (var step = 0; step < kept - first && !merged; step++)
            {
                ref var other = ref _ranges[step == 0 ? first : kept - step];
                if (range.Low == other.High)
                {
                    other = other with { High = range.High };
                    merged = true;
                }
                else if (range.High == other.Low)
                {
                    other = other with { Low = range.Low };
                    merged = true;
                }
            }

            if (!merged)
            {
                _ranges[kept++] = range;
            }
        }

        _ranges.Truncate(kept);
    }

    private bool HoldsAny(int first, ReadOnlySpan<ulong> wanted)
    {
        for (var i = first; i < _ranges.Count; i++)
        {
            ref var range = ref _ranges[i];
            var (low, high) = (0, wanted.Length);
            while (low < high)
            {
                var middle = (low + high) / 2;
                if (wanted[middle] < range.Low)
                {
                    low = middle + 1;
                }
                else
                {
                    high = middle;
                }
            }

            if (low < wanted.Length && wanted[low] < range.High)
            {
                return true;
            }
        }

        return false;
    }
}
