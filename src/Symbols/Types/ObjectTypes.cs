// One object file's types: .BTF is small and deduplicated and answers in a millisecond, so it is asked first; DWARF knows what BTF leaves out (all variables that are not
// per-cpu, static functions that were inlined or changed) and is searched for it; the symbol table knows addresses and nothing else.
using KTrace.Symbols.Btf;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;

namespace KTrace.Symbols.Types;

/// <summary>
/// Types, variables and functions of one object file (a vmlinux, a module, any program) by name. Addresses are those of its symbols. Thread-safe. Everything is read when
/// first asked for.
/// </summary>
public sealed class ObjectTypes : ITypeSource
{
    private readonly Lazy<BtfTypes?> _btf;
    private readonly Lazy<DwarfNames?> _dwarf;
    private readonly ElfSymbolTable? _symbols;
    private readonly string? _module;
    private readonly int _addressSize;

    /// <param name="btf">What has .BTF, or null. Damaged BTF counts as none.</param>
    /// <param name="symbolizer">What has DWARF and symbols, or null.</param>
    /// <param name="addressSize">Bytes of a pointer.</param>
    /// <param name="base">The kernel's types, when this is a module.</param>
    /// <param name="module">The module's name, or null.</param>
    /// <param name="useBtf">False leaves .BTF aside.</param>
    /// <param name="useDwarf">False leaves DWARF aside.</param>
    public ObjectTypes(
        ISectionSource? btf, Symbolizer? symbolizer, int addressSize, ObjectTypes? @base = null, string? module = null, bool useBtf = true, bool useDwarf = true)
    {
        _symbols = symbolizer?.Symbols;
        _addressSize = addressSize;
        _module = module;
        _btf = new Lazy<BtfTypes?>(() => btf is null || !useBtf ? null : OpenBtf(btf, @base));
        _dwarf = new Lazy<DwarfNames?>(() => !useDwarf || symbolizer is not { HasDwarf: true } ? null
            : new DwarfNames(symbolizer, (kind, name) => FindInBtf(kind, name) ?? @base?.FindInBtf(kind, name)));
    }

    /// <summary>
    /// The types of a file: linked (addresses are the link's) or relocatable (its sections lie one after the other from 0). Only headers are read.
    /// </summary>
    /// <param name="base">The kernel's types, when the file is a module.</param>
    public static ObjectTypes Open(ElfFile file, ObjectTypes? @base = null, bool useBtf = true, bool useDwarf = true)
    {
        var symbolizer = file.IsRelocatable ? new Symbolizer(new RelocatedSections(file, RelocatedSections.OneAfterTheOther(file))) : new Symbolizer(file);
        return new ObjectTypes(file, symbolizer, file.AddressSize, @base, useBtf: useBtf, useDwarf: useDwarf);
    }

    public int AddressSize => _addressSize;

    public bool HasBtf => _btf.Value is not null;

    public bool HasDwarf => _dwarf.Value is not null;

    /// <summary>Types by DIE, for whoever reads DWARF; null when there is none.</summary>
    public DwarfTypes? Dwarf => _dwarf.Value?.Types;

    internal NameSearch? Names => _dwarf.Value?.Search;

    internal BtfTypes? Btf => _btf.Value;

    public CType? FindType(TypeTag tag, string name) => FindType(tag, name, deep: false) is { } quick && !IsIncomplete(quick) ? quick : FindType(tag, name, deep: true);

    /// <param name="deep">Search DWARF, and not only BTF.</param>
    internal CType? FindType(TypeTag tag, string name, bool deep)
    {
        var found = _btf.Value?.FindType(tag, name);
        if (deep && (found is null || IsIncomplete(found)))
        {
            found = _dwarf.Value?.FindType(tag, name) ?? found;
        }

        return found;
    }

    public Variable? FindVariable(string name)
    {
        ElfSymbol? best = null;
        foreach (var match in _symbols?.Find(name) ?? [])
        {
            if (!match.Symbol.IsFunction && !IsCode(match.Symbol) && match.Symbol.SectionIndex != ElfSymbol.SectionUndefined
                && (best is null || (best.Value.Binding == ElfSymbol.BindingLocal && match.Symbol.Binding != ElfSymbol.BindingLocal)))
            {
                best = match.Symbol;
            }
        }

        if (best is not { } symbol)
        {
            return null;
        }

        var isPerCpu = SectionNameOf(symbol) is { } section
            && (section.StartsWith(".data..percpu", StringComparison.Ordinal) || section.StartsWith(".data.percpu", StringComparison.Ordinal));
        var type = isPerCpu ? _btf.Value?.FindVariable(symbol.Name) : null;
        type ??= _dwarf.Value?.FindVariableAt(symbol.Value, symbol.Name) ?? _btf.Value?.FindVariable(symbol.Name) ?? VoidType.Instance;
        return new Variable(symbol.Name, type, symbol.Value, isPerCpu, _module);
    }

    public Variable? FindFunction(string name)
    {
        ElfSymbol? best = null;
        foreach (var match in _symbols?.Find(name) ?? [])
        {
            // Assembly's entries may be labels without a type.
            var symbol = match.Symbol;
            if ((symbol.IsFunction || (symbol.Type == ElfSymbol.TypeNone && IsCode(symbol)))
                && (best is null || (best.Value.Binding == ElfSymbol.BindingLocal && symbol.Binding != ElfSymbol.BindingLocal)))
            {
                best = symbol;
            }
        }

        if (best is not { } function)
        {
            return null;
        }

        CType? type = _dwarf.Value?.FindFunctionAt(function.Value);
        return new Variable(function.Name, type ?? _btf.Value?.FindFunction(function.Name) ?? (CType)VoidType.Instance, function.Value, IsPerCpu: false, _module);
    }

    public (EnumType Type, long Value)? FindEnumerator(string name) => FindEnumerator(name, deep: false) ?? FindEnumerator(name, deep: true);

    internal (EnumType Type, long Value)? FindEnumerator(string name, bool deep) => deep ? _dwarf.Value?.FindEnumerator(name) : _btf.Value?.FindEnumerator(name);

    public IReadOnlyList<string> SuggestTypes(string name, int limit)
    {
        var near = new NearTypeNames(name, limit);
        Suggest(near);
        return near.Names;
    }

    internal void Suggest(NearTypeNames near)
    {
        if (_btf.Value is { } btf)
        {
            btf.Suggest(near);
        }
        else
        {
            _dwarf.Value?.Suggest(near);
        }
    }

    internal static bool IsIncomplete(CType type) => type is StructType { IsIncomplete: true };

    private StructType? FindInBtf(StructKind kind, string name) =>
        _btf.Value?.FindType(kind == StructKind.Union ? TypeTag.Union : TypeTag.Struct, name) is StructType { IsIncomplete: false } found ? found : null;

    private static BtfTypes? OpenBtf(ISectionSource source, ObjectTypes? @base)
    {
        try
        {
            return BtfFile.TryOpen(source, @base?._btf.Value?.File) is { } file ? new BtfTypes(file, @base?._btf.Value) : null;
        }
        catch (MalformedFileException)
        {
            // DWARF is there for the rest.
            return null;
        }
    }

    private string? SectionNameOf(in ElfSymbol symbol) =>
        _symbols is not null && (uint)symbol.SectionIndex < (uint)_symbols.Sections.Length ? _symbols.Sections[symbol.SectionIndex].Name : null;

    private bool IsCode(in ElfSymbol symbol) =>
        _symbols is not null && (uint)symbol.SectionIndex < (uint)_symbols.Sections.Length && _symbols.Sections[symbol.SectionIndex].IsExecutable;
}
