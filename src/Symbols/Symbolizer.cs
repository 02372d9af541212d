using System.Text;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;

namespace KTrace.Symbols;

/// <summary>
/// Address → frames of one object (the kernel, or a module): the functions that were inlined there, innermost first, then the function that has the
/// stack frame, each with file and line. Where DWARF is missing or damaged the symbol table answers alone. Thread-safe; one look-up runs at a time.
/// </summary>
public sealed class Symbolizer
{
    private const int CachedUnits = 24;
    private const int CachedAddresses = 16384;

    private readonly Lock _lock = new();
    private readonly Dictionary<ulong, Frame[]> _cache = [];
    private readonly UnitSymbols?[] _units = new UnitSymbols?[CachedUnits];
    private readonly int[] _unitOffsets = new int[CachedUnits];
    private readonly long[] _lastUse = new long[CachedUnits];
    private readonly SourceFiles _files;
    private readonly SourceFiles _fullFiles;
    private readonly GrowingArray<ResolvedFrame> _frames = new();
    private readonly UnitFinder _finder;
    private long _uses;

    /// <param name="sections">Debug sections at the addresses at which look-ups will ask.</param>
    /// <param name="symbols">Symbols at the same addresses.</param>
    /// <param name="module">The module's name for <see cref="Frame.Module"/>; null for the kernel itself.</param>
    public Symbolizer(ISectionSource sections, ElfSymbolTable symbols, string? module = null)
    {
        Symbols = symbols;
        Module = module;
        Sections = new DwarfSections(sections);
        Units = new UnitIndex(Sections);
        _files = new SourceFiles(Sections, shortForm: true);
        _fullFiles = new SourceFiles(Sections, shortForm: false);
        _finder = new UnitFinder(Sections, Units);
        Names = new NameSearch(Sections, Units);
    }

    /// <summary>A linked file at its link addresses.</summary>
    public Symbolizer(ElfFile file, string? module = null)
        : this(file, new ElfSymbolTable(file), module)
    {
    }

    /// <summary>A relocatable file at the addresses that its sections were given.</summary>
    public Symbolizer(RelocatedSections sections, string? module = null)
        : this(sections, sections.Symbols, module)
    {
    }

    public ElfSymbolTable Symbols { get; }

    public string? Module { get; }

    /// <summary>False when the file was stripped of its debug information: frames then come from symbols only.</summary>
    public bool HasDwarf => !Sections.Info.IsEmpty;

    internal DwarfSections Sections { get; }

    internal UnitIndex Units { get; }

    internal NameSearch Names { get; }

    /// <summary>
    /// The frames of an address (for a return address: of the byte before it), innermost first; at least one. An address that nothing covers gives one
    /// frame named <c>0x…</c>.
    /// </summary>
    public IReadOnlyList<Frame> Symbolize(ulong address)
    {
        lock (_lock)
        {
            if (_cache.TryGetValue(address, out var cached))
            {
                return cached;
            }

            var frames = Resolve(address, _files);
            if (_cache.Count >= CachedAddresses)
            {
                // Hot addresses come back at once; what a trace touched an hour ago need not.
                _cache.Clear();
            }

            _cache.Add(address, frames);
            return frames;
        }
    }

    /// <summary>
    /// The same with paths as addr2line prints them, the compilation directory in front: what a person opens, not what a trace compares. Not cached.
    /// </summary>
    public IReadOnlyList<Frame> SymbolizeWithFullPaths(ulong address)
    {
        lock (_lock)
        {
            return Resolve(address, _fullFiles);
        }
    }

    /// <summary>
    /// The functions of a name (<c>file.c:name</c> narrows it down), each once, in the symbol table's order; empty when there is none. Those that DWARF does
    /// not know come without declaration and parameters.
    /// </summary>
    public IReadOnlyList<FunctionExtent> FindFunctions(string name)
    {
        var found = new List<FunctionExtent>();
        foreach (var match in Symbols.Find(name))
        {
            if (match.Symbol.Type is ElfSymbol.TypeFunction or ElfSymbol.TypeNone && IsCode(match.Symbol.Value)
                && found.TrueForAll(f => f.LowPc != match.Symbol.Value))
            {
                found.Add(FindFunctionAt(match.Symbol.Value) is { } function && function.LowPc == match.Symbol.Value
                    ? function
                    : new FunctionExtent(match.Symbol.Name, match.Symbol.Value, match.Symbol.Size, null, "void", [], false));
            }
        }

        return found;
    }

    /// <summary>The function that holds an address, as DWARF declares it; null when DWARF has none there.</summary>
    public FunctionExtent? FindFunctionAt(ulong address)
    {
        lock (_lock)
        {
            try
            {
                var unit = HasDwarf ? Units.Find(address) : -1;
                return unit >= 0 && LoadUnit(unit) is var symbols && symbols.Functions.TryFind(address, out var piece)
                    ? FunctionDeclarations.Read(symbols, in piece)
                    : null;
            }
            catch (MalformedFileException)
            {
                return null;
            }
        }
    }

    /// <summary>The DIE (bytes from the start of .debug_info) of the innermost inlined call at an address, or of the function there; -1 when DWARF has none.</summary>
    internal int InstanceAt(ulong address)
    {
        lock (_lock)
        {
            try
            {
                var unit = HasDwarf ? Units.Find(address) : -1;
                return unit >= 0 ? LoadUnit(unit).InstanceAt(address) : -1;
            }
            catch (MalformedFileException)
            {
                return -1;
            }
        }
    }

    /// <summary>The DIEs of the inlined calls at an address, innermost first, and last that of the function; empty when DWARF has none.</summary>
    internal int[] InstancesAt(ulong address)
    {
        lock (_lock)
        {
            try
            {
                var unit = HasDwarf ? Units.Find(address) : -1;
                return unit >= 0 ? LoadUnit(unit).InstancesAt(address) : [];
            }
            catch (MalformedFileException)
            {
                return [];
            }
        }
    }

    /// <summary>The unit (bytes from the start of .debug_info) whose code is at an address; -1 when DWARF has none.</summary>
    internal int UnitAt(ulong address)
    {
        lock (_lock)
        {
            var unit = HasDwarf ? Units.Find(address) : -1;
            return unit < 0 && HasDwarf && Symbols.TryFindSection(address, out var section, out var start) && section.IsExecutable ? Units.FindByLines(address, start) : unit;
        }
    }

    /// <summary>The statements of a unit; null when its line table is damaged.</summary>
    internal StatementTable? ReadStatements(int unit)
    {
        lock (_lock)
        {
            try
            {
                return StatementTable.Read(LoadUnit(unit).Unit);
            }
            catch (MalformedFileException)
            {
                return null;
            }
        }
    }

    /// <summary>The name of the source file that was compiled into the code at an address (DW_AT_name of its unit, <c>kernel/irq/chip.c</c>), or null.</summary>
    internal string? CompiledFileAt(ulong address)
    {
        lock (_lock)
        {
            try
            {
                return HasDwarf && Units.Find(address) is var unit and >= 0 && LoadUnit(unit).Unit.Name is { IsNone: false } name ? Sections.Text(name) : null;
            }
            catch (MalformedFileException)
            {
                return null;
            }
        }
    }

    /// <summary>A number for the unit whose code is at an address; -1 when DWARF has none.</summary>
    public int UnitIdAt(ulong address) => HasDwarf ? Units.Find(address) : -1;

    /// <summary>The source file that was compiled into a unit (<see cref="UnitIdAt"/>), as DWARF names it, or null.</summary>
    public string? CompiledFileOf(int unit)
    {
        lock (_lock)
        {
            try
            {
                return LoadUnit(unit).Unit.Name is { IsNone: false } name ? Sections.Text(name) : null;
            }
            catch (MalformedFileException)
            {
                return null;
            }
        }
    }

    /// <summary>The code at an address was written in assembly. Without DWARF that is not known: false.</summary>
    public bool IsAssemblyAt(ulong address)
    {
        lock (_lock)
        {
            try
            {
                return HasDwarf && Units.Find(address) is var unit and >= 0 && LoadUnit(unit).Unit.Language == Languages.MipsAssembler;
            }
            catch (MalformedFileException)
            {
                return false;
            }
        }
    }

    /// <summary>True when the address lies in a section of the object that holds code.</summary>
    public bool IsCode(ulong address) => Symbols.TryFindSection(address, out var section, out _) && section.IsExecutable;

    /// <summary>
    /// What the function with the stack frame is called: DWARF's name, but the symbol's where that says more (a clone such as <c>foo.cold</c>, a label of
    /// assembly code). "None" and 0 when neither knows. The offset is from the symbol's start.
    /// </summary>
    internal (StringReference Name, ulong Offset) NameFunction(ulong address, in ResolvedFrame frame)
    {
        var hasSymbol = Symbols.TryFindNearestIndex(address, out int index);
        if (!hasSymbol)
        {
            return (frame.Name, frame.Name.IsNone ? 0 : address - frame.Low);
        }

        var symbol = Symbols.At(index);
        if (frame.Name.IsNone)
        {
            return (Symbols.NameReference(index), address - symbol.Value);
        }

        var name = Sections.Bytes(frame.Name);
        var symbolName = Symbols.NameBytes(symbol.NameOffset);
        // A symbol of another name at the function's own start is an alias: DWARF's name is the source's.
        var isSame = symbolName.SequenceEqual(name) || symbol.Value == frame.Low;
        var isClone = symbolName.Length > name.Length && symbolName[name.Length] == '.' && symbolName.StartsWith(name);
        if (isClone || (!isSame && symbol.Type == ElfSymbol.TypeNone))
        {
            return (Symbols.NameReference(index), address - symbol.Value);
        }

        return (frame.Name, address - (isSame ? symbol.Value : frame.Low));
    }

    private Frame[] Resolve(ulong address, SourceFiles files)
    {
        _frames.Clear();
        var unit = UnitAt(address);
        if (unit >= 0)
        {
            ResolveIn(unit, address, files);
        }

        if (_frames.Count == 0)
        {
            _frames.Add(new ResolvedFrame { File = -1 });
        }

        var frames = new Frame[_frames.Count];
        for (var i = 0; i < frames.Length; i++)
        {
            ref var frame = ref _frames[i];
            var (name, offset) = frame.IsInline ? (frame.Name, address - Math.Min(address, frame.Low)) : NameFunction(address, in frame);
            var source = frame.File >= 0 ? new SourceLine(Encoding.UTF8.GetString(files.Path(frame.File)), frame.Line) : null;
            var (function, symbol) = name.IsNone ? ($"0x{address:x}", null) : Readable(TextOf(name));
            frames[i] = new Frame(function, offset, Module, source, frame.IsInline) { Symbol = symbol };
        }

        return frames;
    }

    private void ResolveIn(int unit, ulong address, SourceFiles files)
    {
        try
        {
            var symbols = LoadUnit(unit);
            symbols.TryResolve(address, default, files, _frames);
            if ((_frames.Count == 0 || _frames[0].Name.IsNone) && Symbols.TryFindNearestIndex(address, out int index)
                && Symbols.At(index) is { Type: ElfSymbol.TypeFunction } symbol && address - symbol.Value < symbol.Size && symbols.GoDeep())
            {
                _frames.Clear();
                symbols.TryResolve(address, default, files, _frames);
            }
        }
        catch (MalformedFileException)
        {
            // Damage costs the unit that has it: its addresses are named by their symbols.
            _frames.Clear();
        }
    }

    /// <summary>A symbol's name as the source has it, and the symbol where that is another text: copies and pieces of functions, and Rust.</summary>
    internal static (string Function, string? Symbol) Readable(string name)
    {
        if (RustName.TryDemangle(name, out var rust))
        {
            return (rust, name);
        }

        var source = CloneName.Parse(name).Source;
        return source.Length == name.Length ? (name, null) : (source, name);
    }

    internal string TextOf(StringReference name) =>
        name.Section == StringSection.SymbolNames ? Symbols.NameOf(name.Offset) : Sections.Text(name);

    /// <summary>The unit at an offset of .debug_info, of the last few that were asked for. Call under the lock.</summary>
    private UnitSymbols LoadUnit(int offset)
    {
        var slot = 0;
        for (var i = 0; i < CachedUnits; i++)
        {
            if (_units[i] is { } cached && _unitOffsets[i] == offset)
            {
                _lastUse[i] = ++_uses;
                return cached;
            }

            if (_lastUse[i] < _lastUse[slot])
            {
                slot = i;
            }
        }

        var symbols = _units[slot] ?? new UnitSymbols(Sections, _finder.Find);
        if (_units[slot] is not null)
        {
            // A long session touches the whole kernel, one unit at a time: what was not asked for lately leaves our memory.
            Sections.Info.Release(symbols.Unit.Header.Offset, symbols.Unit.Header.End - symbols.Unit.Header.Offset);
        }

        _units[slot] = null;
        _lastUse[slot] = 0;
        symbols.Load(offset);
        (_units[slot], _unitOffsets[slot], _lastUse[slot]) = (symbols, offset, ++_uses);
        return symbols;
    }
}
