namespace KTrace.Symbols.Dwarf;

/// <summary>A frame before anybody asked for its text.</summary>
internal struct ResolvedFrame
{
    /// <summary>"None" when the address is in no function that DWARF knows.</summary>
    public StringReference Name;

    /// <summary>Number in <see cref="SourceFiles"/>; -1 when there is no source line.</summary>
    public int File;

    /// <summary>0 when unknown.</summary>
    public int Line;

    /// <summary>Discriminator of the row that covers the address: of the innermost frame only.</summary>
    public int Discriminator;

    /// <summary>Where the inlined block starts (the piece of it that holds the address), or the function.</summary>
    public ulong Low;

    public bool IsInline;
}

/// <summary>
/// Everything about one unit that answers "what is at this address": functions, inlined calls, lines. Each part is read when first needed.
/// One object may be filled with one unit after another. Not thread-safe.
/// </summary>
internal sealed class UnitSymbols
{
    private readonly FunctionIndex _functions = new();
    private readonly LineTable _lines = new();
    private readonly InlineTree _tree = new();
    private bool _hasFunctions, _hasLines, _isDeep, _linesAreBad;
    private int _treeEntry;
    private ulong _treeLow;

    public UnitSymbols(DwarfSections sections, Func<int, Unit?>? findUnit) => Unit = new Unit(sections, findUnit);

    public Unit Unit { get; }

    /// <summary>The unit's lines. Call <see cref="TryReadLines"/> before.</summary>
    public LineTable Lines => _lines;

    public FunctionIndex Functions
    {
        get
        {
            if (!_hasFunctions)
            {
                _functions.Load(Unit, _isDeep);
                _hasFunctions = true;
            }

            return _functions;
        }
    }

    /// <summary>Decodes the unit's line table if it was not yet. False when it is damaged, which costs the lines and not the functions.</summary>
    public bool TryReadLines()
    {
        if (!_hasLines)
        {
            _hasLines = true;
            _linesAreBad = true;
            try
            {
                _lines.Load(Unit);
                _linesAreBad = false;
            }
            catch (MalformedFileException)
            {
                // Said by the answer: frames without a source line.
            }
        }

        return !_linesAreBad;
    }

    /// <summary>Goes to the unit whose header is at <paramref name="offset"/> in .debug_info.</summary>
    public void Load(int offset)
    {
        _hasFunctions = _hasLines = _isDeep = _linesAreBad = false;
        _treeEntry = -1;
        Unit.Load(offset);
    }

    /// <summary>Reads all DIEs for functions, not only the unit's children: for an address that a function symbol covers and DWARF does not seem to.</summary>
    public bool GoDeep()
    {
        if (_isDeep)
        {
            return false;
        }

        _isDeep = true;
        _hasFunctions = false;
        return true;
    }

    /// <summary>
    /// Appends the frames of an address, innermost first: inlined calls, then the function. A frame without a name when only the line is known.
    /// Appends nothing when the unit knows neither. With <paramref name="wanted"/> (sorted; holds the address) inlined calls elsewhere are not read.
    /// </summary>
    public bool TryResolve(ulong address, ReadOnlySpan<ulong> wanted, SourceFiles files, GrowingArray<ResolvedFrame> into)
    {
        var hasFunction = Functions.TryFind(address, out var function);
        LineRow row = default;
        var hasLine = TryReadLines() && _lines.TryFind(address, out row);
        if (!hasFunction && !hasLine)
        {
            return false;
        }

        var frame = new ResolvedFrame
        {
            File = hasLine ? files.NumberOf(_lines.Header, row.File) : -1,
            Line = hasLine ? row.Line : 0,
            Discriminator = hasLine ? row.Discriminator : 0,
        };
        if (!hasFunction)
        {
            into.Add(in frame);
            return true;
        }

        LoadTree(in function, wanted);
        var index = _tree.Innermost(address);
        while (index > 0)
        {
            ref readonly var node = ref _tree[index];
            frame.Name = node.Origin >= 0 ? Unit.Sections.Checked(Unit.FunctionName(node.Origin)) : default;
            frame.Low = _tree.LowOf(index, address);
            frame.IsInline = true;
            into.Add(in frame);
            frame = new ResolvedFrame
            {
                File = node.HasCallFile && !_linesAreBad ? files.NumberOf(_lines.Header, node.CallFile) : -1,
                Line = node.CallLine,
            };
            index = node.Parent;
        }

        frame.Name = Unit.Sections.Checked(Unit.FunctionName(function.Entry));
        frame.Low = function.FunctionLow;
        into.Add(in frame);
        return true;
    }

    /// <summary>The DIE of the innermost inlined call at an address, or of the function that holds it; -1 when DWARF has none.</summary>
    public int InstanceAt(ulong address)
    {
        if (!Functions.TryFind(address, out var function))
        {
            return -1;
        }

        LoadTree(in function, default);
        return _tree[_tree.Innermost(address)].Entry;
    }

    /// <summary>The DIEs of the inlined calls at an address, innermost first, and last that of the function; empty when DWARF has none.</summary>
    public int[] InstancesAt(ulong address)
    {
        if (!Functions.TryFind(address, out var function))
        {
            return [];
        }

        LoadTree(in function, default);
        var instances = new List<int>();
        for (var index = _tree.Innermost(address); index >= 0; index = _tree[index].Parent)
        {
            instances.Add(_tree[index].Entry);
        }

        return [.. instances];
    }

    private void LoadTree(in FunctionPiece function, ReadOnlySpan<ulong> wanted)
    {
        if (_treeEntry == function.Entry && _treeLow == function.Low)
        {
            return;
        }

        // Of a sorted batch, the addresses in this piece; a function in two pieces is read twice.
        if (!wanted.IsEmpty)
        {
            var first = LowerBound(wanted, function.Low);
            wanted = wanted[first..LowerBound(wanted, function.High)];
        }

        _treeEntry = -1;
        _tree.Load(Unit, function.Entry, wanted);
        (_treeEntry, _treeLow) = (function.Entry, function.Low);
    }

    private static int LowerBound(ReadOnlySpan<ulong> sorted, ulong value)
    {
        var (low, high) = (0, sorted.Length);
        while (low < high)
        {
            var middle = (low + high) / 2;
            if (sorted[middle] < value)
            {
                low = middle + 1;
            }
            else
            {
                high = middle;
            }
        }

        return low;
    }
}
