using System.Buffers.Binary;
using System.Text;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;

namespace KTrace.Symbols.Recovery;

/// <summary>
/// The machine code of the kernel or of one module, at link addresses or, for a module, at those at which it runs; with everything that tells how the running code differs from
/// the file's. Reads what it needs when first asked. For one thread at a time.
/// </summary>
internal sealed class CodeObject
{
    private const int MaximumLabels = 16;

    private readonly List<(ulong Start, SectionData Data, ElfSection Section)> _code = [];
    private readonly RelocatedSections? _relocated;
    private readonly Dictionary<ulong, SpecialFunction> _special = [];
    private Dictionary<ulong, string>? _external;
    private readonly Dictionary<ulong, uint> _clobbers = [];

    private CodeObject(ISectionSource source, ElfFile file, ElfSymbolTable symbols, Architecture architecture, Symbolizer? symbolizer)
    {
        Symbols = symbols;
        Architecture = architecture;
        Symbolizer = symbolizer;
        _relocated = source as RelocatedSections;
        foreach (var section in file.Sections)
        {
            if (section is { IsAllocated: true, IsExecutable: true, HasContents: true, Size: > 0 })
            {
                // Sections of one name have one address in a module; the first is the one that counts.
                var data = _relocated is null ? section.Data : source.GetSection(section.Name);
                var start = _relocated is null ? section.Address : _relocated.AddressOf(section);
                if (start != 0 || !file.IsRelocatable)
                {
                    _code.Add((start, data, section));
                }
            }
        }

        Sites = PatchSites.Read(source, symbols, architecture, IsCode);
        FindSpecialFunctions();
    }

    public ElfSymbolTable Symbols { get; }

    public Architecture Architecture { get; }

    /// <summary>Knows where a function's cold part belongs; null without debug information.</summary>
    public Symbolizer? Symbolizer { get; }

    public PatchSites Sites { get; }

    public static CodeObject OfFile(ElfFile file, ElfSymbolTable symbols, Architecture architecture, Symbolizer? symbolizer = null) =>
        new(file, file, symbols, architecture, symbolizer);

    public static CodeObject OfModule(RelocatedSections sections, Architecture architecture, Symbolizer? symbolizer) =>
        new(sections, sections.File, sections.Symbols, architecture, symbolizer);

    public bool IsCode(ulong address)
    {
        foreach (var (start, data, _) in _code)
        {
            if (address >= start && address - start < (ulong)data.Length)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>The code from an address to the end of its section; empty where there is none.</summary>
    public ReadOnlySpan<byte> CodeAt(ulong address)
    {
        foreach (var (start, data, _) in _code)
        {
            if (address >= start && address - start < (ulong)data.Length)
            {
                return data.Span[(int)(address - start)..];
            }
        }

        return [];
    }

    /// <summary>A section's bytes, relocated where they need to be.</summary>
    public SectionData ContentsOf(ElfSection section) => _relocated is null ? section.Data : _relocated.GetSection(section.Name);

    /// <summary>What can run: each section at its address.</summary>
    public IEnumerable<(ulong Address, SectionData Bytes)> Sections => _code.Select(part => (part.Start, part.Data));

    /// <summary>The function, or piece of assembly (SYM_CODE_START: no function's type, but a size), whose symbol holds an address. False for code without a size.</summary>
    public bool TryFindFunction(ulong address, out ElfSymbol symbol)
    {
        var at = address;
        for (var labels = 0; labels < MaximumLabels; labels++)
        {
            if (!Symbols.TryFindNearest(at, out symbol))
            {
                return false;
            }

            if (address - symbol.Value < symbol.Size && (symbol.IsFunction || symbol.Type == ElfSymbol.TypeNone))
            {
                return true;
            }

            // A label in the middle of a function.
            if (symbol.Type != ElfSymbol.TypeNone || symbol.Size != 0 || symbol.Value == 0)
            {
                return false;
            }

            at = symbol.Value - 1;
        }

        symbol = default;
        return false;
    }

    /// <summary>The function that begins at an address.</summary>
    public bool IsFunctionStart(ulong address) =>
        Symbols.TryFindNearest(address, out ElfSymbol symbol) && symbol.Value == address && symbol.Type is ElfSymbol.TypeFunction;

    /// <summary>What is special about what a call or jump leads to.</summary>
    /// <param name="instruction">Where the call or jump stands.</param>
    /// <param name="length">Its bytes.</param>
    /// <param name="target">Where it leads, as far as the file knows.</param>
    public SpecialFunction Special(ulong instruction, int length, ulong target)
    {
        if (External(instruction, length) is { } name)
        {
            return SpecialFunctions.Classify(name);
        }

        return _special.GetValueOrDefault(target);
    }

    /// <summary>Callee-saved registers that a function does not give back, although C functions do; a bit each.</summary>
    public uint ClobbersOf(ulong function) => _clobbers.GetValueOrDefault(function);

    /// <summary>The register through which a thunk goes on (__x86_indirect_thunk_r11); -1 when that cannot be told.</summary>
    public int ThunkRegister(in MachineInstruction jump)
    {
        var target = (ulong)jump.First.Number;
        var name = External(jump.Address, jump.Length) ?? (Symbols.TryFindNearest(target, out ElfSymbol symbol) ? symbol.Name : "");
        var index = Architecture.IndexOf(name[(name.LastIndexOf('_') + 1)..]);
        if (index >= 0)
        {
            return index;
        }

        // __x86_indirect_thunk_array is the first of them, 32 bytes each; mov %rXX,(%rsp) in it tells which.
        var code = CodeAt(target);
        for (var i = 1; i + 2 < Math.Min(code.Length, 32); i++)
        {
            if (code[i] == 0x89 && (code[i + 1] & 0xc7) == 0x04 && code[i + 2] == 0x24)
            {
                var number = (code[i + 1] >> 3 & 7) + (code[i - 1] == 0x4c ? 8 : 0);
                return Architecture.WordSize == 4 ? number : number switch { 0 => 0, 1 => 2, 2 => 1, 3 => 3, 5 => 6, 6 => 4, 7 => 5, >= 8 => number, _ => -1 };
            }
        }

        return -1;
    }

    /// <summary>The name of the other object's symbol that an instruction refers to; null for none. Its operand means nothing then.</summary>
    public string? External(ulong instruction, int length)
    {
        if (_relocated is null)
        {
            return null;
        }

        _external ??= ReadExternals(_relocated);
        for (var i = 1; i < length; i++)
        {
            if (_external.TryGetValue(instruction + (ulong)i, out var name))
            {
                return name;
            }
        }

        return null;
    }

    /// <summary>True for an address inside one of the object's own sections.</summary>
    public bool IsImageAddress(ulong address) => Symbols.TryFindSection(address, out _, out var start) && start != 0;

    private void FindSpecialFunctions()
    {
        for (var i = 1; i < Symbols.Count; i++)
        {
            var raw = Symbols.At(i);
            if (raw.Section == ElfSymbol.SectionUndefined || !Symbols.IsCandidate(in raw))
            {
                continue;
            }

            var bytes = Symbols.NameBytes(raw.NameOffset);
            if (SpecialFunctions.MayBe(bytes) && SpecialFunctions.Classify(Encoding.UTF8.GetString(bytes)) is not SpecialFunction.None and var kind)
            {
                _special.TryAdd(raw.Value, kind);
            }
        }
    }

    private Dictionary<ulong, string> ReadExternals(RelocatedSections sections)
    {
        var names = new Dictionary<ulong, string>();
        var word = sections.AddressSize;
        foreach (var table in sections.File.Sections)
        {
            if (table.Type is not (ElfSection.TypeRela or ElfSection.TypeRel) || table.Info >= (uint)sections.File.Sections.Length
                || sections.File.Sections[(int)table.Info] is not { IsAllocated: true, IsExecutable: true } code)
            {
                continue;
            }

            var entries = table.Data.Span;
            var size = word * (table.Type == ElfSection.TypeRela ? 3 : 2);
            var start = sections.AddressOf(code);
            for (var at = 0; at + size <= entries.Length; at += size)
            {
                ulong offset = word == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(entries[at..]) : BinaryPrimitives.ReadUInt32LittleEndian(entries[at..]);
                var info = word == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(entries[(at + 8)..]) : BinaryPrimitives.ReadUInt32LittleEndian(entries[(at + 4)..]);
                var symbol = (int)(word == 8 ? info >> 32 : info >> 8);
                if (symbol > 0 && symbol < Symbols.Count && Symbols.At(symbol) is { Section: ElfSymbol.SectionUndefined } raw)
                {
                    names.TryAdd(start + offset, Symbols.NameOf(raw.NameOffset));
                }
            }
        }

        return names;
    }
}
