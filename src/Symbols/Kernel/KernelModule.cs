// A module as kernel/module/main.c loads it (6.1): an ET_REL file whose SHF_ALLOC sections were given addresses of their own, core and init
// apart. The shipped .ko has the code and ORC, the debug .ko has DWARF and CFI; either may be missing. Init sections (names that begin with
// .init, kernel/module/main.c: module_init_section) are freed when the module's init function has returned.
using System.Collections.Immutable;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Kernel;

/// <summary>A loaded module: names, lines and unwind rows at the addresses at which it runs.</summary>
public sealed class KernelModule
{
    private const string InitPrefix = ".init";

    private readonly RelocatedSections? _debug;
    private readonly RelocatedSections? _shipped;
    private ObjectTypes? _types;
    private ObjectTypes? _typesBase;

    private KernelModule(string name, Architecture architecture, ulong textBase, RelocatedSections? debug, RelocatedSections? shipped,
        ImmutableArray<AddressRange> text, ImmutableArray<AddressRange> initText)
    {
        InitText = initText;
        Name = name;
        Architecture = architecture;
        TextBase = textBase;
        _debug = debug;
        _shipped = shipped;
        Text = text;
        var best = debug ?? shipped;
        Symbols = best?.Symbols;
        Symbolizer = best is null ? null : new Symbolizer(best, name);
    }

    private KernelModule(KernelModule whole, ImmutableArray<AddressRange> text)
    {
        Name = whole.Name;
        Architecture = whole.Architecture;
        TextBase = whole.TextBase;
        _debug = whole._debug;
        _shipped = whole._shipped;
        Symbols = whole.Symbols;
        Symbolizer = whole.Symbolizer;
        (_types, _typesBase) = (whole._types, whole._typesBase);
        Text = text;
        InitText = whole.InitText.RemoveAll(r => !text.Contains(r));
    }

    /// <summary>As the kernel has it, with underscores.</summary>
    public string Name { get; }

    public Architecture Architecture { get; }

    /// <summary>Where its .text runs.</summary>
    public ulong TextBase { get; }

    /// <summary>Its executable sections at run time, init ones included.</summary>
    public ImmutableArray<AddressRange> Text { get; }

    /// <summary>Those of <see cref="Text"/> that are freed when the module's init function has returned.</summary>
    public ImmutableArray<AddressRange> InitText { get; }

    /// <summary>Symbols at run-time addresses; null when no file of it was found.</summary>
    public ElfSymbolTable? Symbols { get; }

    public Symbolizer? Symbolizer { get; }

    /// <summary>The file whose symbols are used, or null.</summary>
    public string? File => (_debug ?? _shipped)?.Path;

    public bool HasDwarf => _debug is not null && !_debug.GetSection(".debug_info").IsEmpty;

    /// <summary>Its types, variables and functions by name, at run-time addresses; null when no file of it was found.</summary>
    /// <param name="kernel">The kernel's types, which a module's .BTF goes on from.</param>
    public ObjectTypes? TypesOver(ObjectTypes kernel)
    {
        if (Symbolizer is null)
        {
            return null;
        }

        if (_types is null || _typesBase != kernel)
        {
            var btf = _shipped?.GetSection(".BTF").IsEmpty == false ? _shipped : _debug;
            (_types, _typesBase) = (new ObjectTypes(btf, Symbolizer, Architecture.WordSize, kernel, Name), kernel);
        }

        return _types;
    }

    /// <summary>Its code at the addresses at which it runs; null when no file with code was found.</summary>
    internal RelocatedSections? Code =>
        HasCode(_shipped) ? _shipped : HasCode(_debug) ? _debug : null;

    /// <param name="sections">Section name → address, as the kernel's section attributes have them.</param>
    /// <param name="files">Its .ko and debug .ko, in any order; the one with DWARF gives names and lines, the one with code gives ORC.</param>
    public static KernelModule Load(string name, Architecture architecture, IReadOnlyDictionary<string, ulong> sections, IReadOnlyList<ElfFile> files)
    {
        ElfFile? debugFile = files.FirstOrDefault(f => f.FindSection(".debug_info") is not null);
        ElfFile? shippedFile = files.FirstOrDefault(f => f.FindSection(".orc_unwind") is { HasContents: true }) ?? files.FirstOrDefault(f => f != debugFile);
        ulong AddressOf(ElfSection section) => sections.GetValueOrDefault(section.Name);
        var debug = debugFile is null ? null : new RelocatedSections(debugFile, AddressOf);
        var shipped = shippedFile is null ? null : shippedFile == debugFile ? debug : new RelocatedSections(shippedFile, AddressOf);
        var text = ImmutableArray.CreateBuilder<AddressRange>();
        var initText = ImmutableArray.CreateBuilder<AddressRange>();
        foreach (var section in (debugFile ?? shippedFile)?.Sections ?? [])
        {
            if (section is { IsAllocated: true, IsExecutable: true, Size: > 0 } && sections.TryGetValue(section.Name, out var address))
            {
                text.Add(new AddressRange(address, address + section.Size));
                if (section.Name.StartsWith(InitPrefix, StringComparison.Ordinal))
                {
                    initText.Add(text[^1]);
                }
            }
        }

        return new KernelModule(name, architecture, sections.GetValueOrDefault(".text"), debug, shipped, text.ToImmutable(), initText.ToImmutable());
    }

    /// <summary>A module of which nothing but its place is known: its frames can be named by module, and by no more.</summary>
    public static KernelModule Unknown(string name, Architecture architecture, ulong textBase, AddressRange text) =>
        new(name, architecture, textBase, null, null, [text], []);

    /// <summary>
    /// What is left of it when <paramref name="added"/> has taken some of its addresses: without its init text, which was freed; null when
    /// its own .text is taken, so that it must have been unloaded. Itself when nothing overlaps.
    /// </summary>
    public KernelModule? Without(ImmutableArray<AddressRange> added)
    {
        var left = Text.RemoveAll(mine => added.Any(a => mine.Start < a.End && a.Start < mine.End));
        if (left.Length == Text.Length)
        {
            return this;
        }

        var hadText = Text.Any(r => r.Contains(TextBase));
        return left.IsEmpty || (hadText && !left.Any(r => r.Contains(TextBase))) ? null : new KernelModule(this, left);
    }

    /// <summary>What is left of it after its init function has returned; itself when it has no init text.</summary>
    public KernelModule WithoutInit() => InitText.IsEmpty ? this : Without(InitText) ?? this;

    /// <summary>A section of the file with its code, relocated to where it runs; empty when there is none.</summary>
    public SectionData? ReadSection(string name) => Code?.GetSection(name);

    /// <summary>
    /// Its file's bytes at a run-time address, as they are stored: what relocations, alternatives and the function tracer write in them is not there. False outside its sections with
    /// contents, and when no file with its code was found.
    /// </summary>
    public bool TryRead(ulong address, Span<byte> destination)
    {
        if (Code is not { } code || !code.Symbols.TryFindSection(address, out var section, out var start) || !section.HasContents
            || address - start > (ulong)section.Data.Length || (ulong)section.Data.Length - (address - start) < (ulong)destination.Length)
        {
            return false;
        }

        section.Data.Span.Slice((int)(address - start), destination.Length).CopyTo(destination);
        return true;
    }

    private static bool HasCode(RelocatedSections? sections) => sections?.File.FindSection(".text") is { HasContents: true };

    /// <param name="release">The kernel's, for ORC before 6.4.</param>
    public UnwindObject ForUnwinding(string? release) =>
        UnwindObject.ForModule(Name, Architecture, _debug, _shipped, release, Text, address =>
            Symbols is not null && Symbols.TryFindNearest(address, out ElfSymbol symbol) ? new SymbolStart(symbol.Name, symbol.Value) : null);
}
