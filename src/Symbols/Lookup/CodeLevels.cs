// What a person who steps sees at an address: the source line as a debugger shows it, and the functions that stand there one inside the other.
using System.Collections.Immutable;
using KTrace.Symbols.Kernel;

namespace KTrace.Symbols.Lookup;

/// <summary>A row of the line table at run-time addresses.</summary>
/// <param name="Start">The row's first address …</param>
/// <param name="End">… and the next row's.</param>
/// <param name="IsStatement">A statement begins at <paramref name="Start"/>: a place to stop. Other rows only say to what the code belongs.</param>
public readonly record struct LineRange(ulong Start, ulong End, string File, int Line, bool IsStatement)
{
    public bool Contains(ulong address) => address >= Start && address < End;

    /// <summary>Whether two rows are of one line.</summary>
    public bool IsSameLine(string? file, int line) => line == Line && file == File;
}

/// <summary>One function at an address: an inlined one, or last the one that has the stack frame.</summary>
/// <param name="Identity">Tells this inlined call from others of the same function, and functions from one another; of no meaning beyond that.</param>
/// <param name="File">Where execution stands in this function: the line, or for an outer one the call; null when not known.</param>
/// <param name="BeginsHere">An inlined call whose code begins at this very address, or comes back to it from elsewhere: a person stands before it until they step into it.</param>
public readonly record struct CodeLevel(string Function, long Identity, string? File, int Line, bool IsInline, bool BeginsHere);

/// <summary>Lines and levels of everything that is loaded, by run-time address. For one thread at a time, like its map.</summary>
public sealed class CodeLevels(KernelMap map)
{
    private const int KeptTables = 32;
    private const int KeptAddresses = 4096;

    private readonly Dictionary<(Symbolizer, int Unit), StatementTable?> _tables = [];
    private readonly Dictionary<ulong, IReadOnlyList<CodeLevel>> _levels = [];
    private ImmutableArray<KernelModule> _modules = map.Modules;

    /// <summary>The line that an address belongs to; null where no line table covers it.</summary>
    public LineRange? LineAt(ulong address)
    {
        var (symbolizer, shift) = ObjectAt(address);
        if (symbolizer is null || symbolizer.UnitAt(Link(address, shift)) is not (>= 0 and var unit))
        {
            return null;
        }

        if (!_tables.TryGetValue((symbolizer, unit), out var table))
        {
            if (_tables.Count >= KeptTables)
            {
                _tables.Clear();
            }

            _tables[(symbolizer, unit)] = table = symbolizer.ReadStatements(unit);
        }

        return table is not null && table.TryFind(Link(address, shift), out var row, out var end)
            ? new LineRange(Run(row.Address, shift), Run(end, shift), map.Image.ShortPath(table.PathOf(row.File)), row.Line, row.IsStatement)
            : null;
    }

    /// <summary>The functions at an address, innermost first; never empty.</summary>
    public IReadOnlyList<CodeLevel> LevelsAt(ulong address)
    {
        if (_modules != map.Modules || _levels.Count >= KeptAddresses)
        {
            // Where a module was, another may be.
            _modules = map.Modules;
            _levels.Clear();
        }

        if (!_levels.TryGetValue(address, out var levels))
        {
            _levels[address] = levels = Look(address);
        }

        return levels;
    }

    /// <summary>How many inlined calls begin right at an address: a person who comes there stands before them.</summary>
    /// <param name="entered">The one that counts as entered, and with it what encloses it; null: none does.</param>
    public int BeginningAt(ulong address, string? entered = null) => LevelsAt(address).TakeWhile(l => l.BeginsHere && l.Function != entered).Count();

    /// <summary>Where the function that holds an address is entered and where its symbol ends; null where no symbol is.</summary>
    public (ulong Start, ulong End)? FunctionAround(ulong address)
    {
        var (symbolizer, shift) = ObjectAt(address);
        return symbolizer is not null && symbolizer.IsCode(Link(address, shift)) && symbolizer.Symbols.TryFindNearest(Link(address, shift), out Elf.ElfSymbol symbol)
            && (symbol.Size == 0 || Link(address, shift) - symbol.Value < symbol.Size)
            ? (Run(symbol.Value, shift), symbol.Size == 0 ? address + 1 : Run(symbol.Value + symbol.Size, shift))
            : null;
    }

    private CodeLevel[] Look(ulong address)
    {
        var (symbolizer, shift) = ObjectAt(address);
        var frames = map.Symbolize(address);
        var instances = symbolizer?.InstancesAt(Link(address, shift)) ?? [];
        var before = instances.Length > 1 ? symbolizer!.InstancesAt(Link(address, shift) - 1) : [];
        var line = LineAt(address);
        var levels = new CodeLevel[frames.Count];
        for (var i = 0; i < levels.Length; i++)
        {
            var frame = frames[i];
            var identity = instances.Length == levels.Length ? instances[i] : (long)(address - frame.Offset);
            var (file, at) = i == 0 && line is { } row ? (row.File, row.Line) : (frame.Source?.File, frame.Source?.Line ?? 0);
            levels[i] = new CodeLevel(frame.Function, identity, file, at, frame.IsInline, frame.IsInline && Array.IndexOf(before, (int)identity) < 0);
        }

        return levels;
    }

    private (Symbolizer? Symbolizer, ulong Shift) ObjectAt(ulong address) =>
        map.ModuleAt(address) is { } module ? (module.Symbolizer, 0) : (map.Image.Symbolizer, map.Slide);

    private ulong Link(ulong address, ulong shift) => Wrapped(address - shift);

    private ulong Run(ulong address, ulong shift) => Wrapped(address + shift);

    private ulong Wrapped(ulong address) => map.Image.Architecture.WordSize == 4 ? (uint)address : address;
}
