// .symtab and .strtab: gABI, "Symbol Table". A kernel has 127,000 symbols, so nothing is decoded that nobody asked for: look-ups scan the raw
// entries, and an index by address is built when there are more than a few. In vmlinux the local symbols of each object file follow an
// STT_FILE symbol with its base name; the global ones come last and belong to no file.
using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Text;
using KTrace.Symbols.Dwarf;

namespace KTrace.Symbols.Elf;

/// <summary>A symbol and the source file (STT_FILE, a base name such as <c>chip.c</c>) that it is local to; null for global ones.</summary>
public sealed record SymbolMatch(ElfSymbol Symbol, string? SourceFile);

/// <summary>The symbols of one object, at its link addresses or at the addresses that its sections were given. Thread-safe.</summary>
public sealed class ElfSymbolTable
{
    private const byte TypeIndirectFunction = 10; // STT_GNU_IFUNC
    private const int IndexAfter = 4;

    private readonly SectionData _entries;
    private readonly SectionData _names;
    private readonly SectionData _extendedSections;
    private readonly bool _is64;
    private readonly ElfSection[] _sections;
    private readonly ulong[] _sectionAddresses;
    private readonly bool _isPlaced;
    private readonly Lock _lock = new();
    private SymbolAddressIndex? _index;
    private int _lookups;
    private int _lastSection;

    /// <param name="file">A file without .symtab gives an empty table.</param>
    /// <param name="addressOf">
    /// Where each section of a relocatable file lies (symbol values are offsets into sections there); null: at its link address.
    /// </param>
    public ElfSymbolTable(ElfFile file, Func<ElfSection, ulong>? addressOf = null)
    {
        _is64 = file.Is64Bit;
        _sections = new ElfSection[file.Sections.Length];
        file.Sections.CopyTo(_sections);
        _sectionAddresses = new ulong[_sections.Length];
        _isPlaced = file.IsRelocatable;
        ElfSection? table = null;
        for (var i = 0; i < _sections.Length; i++)
        {
            var section = _sections[i];
            _sectionAddresses[i] = addressOf is not null && section.IsAllocated ? addressOf(section) : section.Address;
            if (section.Type == ElfSection.TypeSymtab)
            {
                table ??= section;
            }
        }

        _entries = table?.Data ?? SectionData.Empty(file.Path, ".symtab");
        _names = table is not null && table.Link < (uint)_sections.Length ? _sections[(int)table.Link].Data : SectionData.Empty(file.Path, ".strtab");
        _extendedSections = SectionData.Empty(file.Path, ".symtab_shndx");
        foreach (var section in _sections)
        {
            if (section.Type == ElfSection.TypeSymtabShndx && table is not null && section.Link == table.Index)
            {
                _extendedSections = section.Data;
            }
        }

        Count = _entries.Length / EntrySize;
    }

    /// <summary>Number of entries, the null symbol at index 0 included.</summary>
    public int Count { get; }

    internal ReadOnlySpan<ElfSection> Sections => _sections;

    private int EntrySize => _is64 ? 24 : 16;

    /// <summary>Every symbol with its name decoded, in the file's order.</summary>
    public IEnumerable<ElfSymbol> All
    {
        get
        {
            for (var i = 1; i < Count; i++)
            {
                yield return Decode(i);
            }
        }
    }

    /// <summary>
    /// The symbol that names the code (or data) at an address: of the functions and labels in the address's section the nearest one at or below it.
    /// A sized symbol that ends before the address loses to one whose range holds it; at one address functions win over labels, global over weak over
    /// local ones, and fewer leading underscores. Section, file, mapping and absolute symbols do not count, nor does <c>__pfx_</c> padding that ends
    /// before the address. False when the address is in no section or before its first symbol.
    /// </summary>
    public bool TryFindNearest(ulong address, out ElfSymbol symbol)
    {
        if (TryFindNearestIndex(address, out int index))
        {
            symbol = Decode(index);
            return true;
        }

        symbol = default;
        return false;
    }

    /// <summary>
    /// All symbols of exactly that name: static functions of several files may share one. <c>file.c:name</c> (or <c>path/file.c:name</c>) takes only those
    /// local to that file. Undefined symbols do not count. Empty when there is none.
    /// </summary>
    public IReadOnlyList<SymbolMatch> Find(string name)
    {
        string? file = null;
        var colon = name.LastIndexOf(':');
        if (colon > 0 && name[..colon] is var before && before.Contains('.', StringComparison.Ordinal))
        {
            file = before[(before.LastIndexOf('/') + 1)..];
            name = name[(colon + 1)..];
        }

        var wanted = Encoding.UTF8.GetBytes(name);
        var found = new List<SymbolMatch>();
        var sourceFile = -1;
        for (var i = 1; i < Count; i++)
        {
            var raw = At(i);
            if (raw.Type == ElfSymbol.TypeFile)
            {
                sourceFile = i;
            }
            else if (raw.Section != ElfSymbol.SectionUndefined && raw.Type != ElfSymbol.TypeSection && NameIs(raw.NameOffset, wanted))
            {
                var source = raw.Binding == ElfSymbol.BindingLocal && sourceFile >= 0 ? NameOf(At(sourceFile).NameOffset) : null;
                if (file is null || source == file)
                {
                    found.Add(new SymbolMatch(Decode(i), source));
                }
            }
        }

        return found;
    }

    /// <summary>
    /// Functions and labels by the name that the source gives them: that very symbol, and those of the copies that a compiler made of it
    /// (<c>name.isra.0</c>, <c>name.cold</c>). In the file's order.
    /// </summary>
    public IReadOnlyList<SymbolMatch> FindWithClones(string name)
    {
        var wanted = Encoding.UTF8.GetBytes(name);
        var found = new List<SymbolMatch>();
        var sourceFile = -1;
        for (var i = 1; i < Count; i++)
        {
            var raw = At(i);
            if (raw.Type == ElfSymbol.TypeFile)
            {
                sourceFile = i;
            }
            else if (raw.Section != ElfSymbol.SectionUndefined && raw.Type is ElfSymbol.TypeFunction or ElfSymbol.TypeNone or TypeIndirectFunction
                && NameBytes(raw.NameOffset) is var symbol && symbol.StartsWith(wanted)
                && (symbol.Length == wanted.Length || (symbol[wanted.Length] == '.' && Lookup.CloneName.SourceLength(symbol) == wanted.Length)))
            {
                found.Add(new SymbolMatch(Decode(i), raw.Binding == ElfSymbol.BindingLocal && sourceFile >= 0 ? NameOf(At(sourceFile).NameOffset) : null));
            }
        }

        return found;
    }

    /// <summary>Names of functions, labels and objects that match a glob (<c>*</c> and <c>?</c>), in the file's order, each once.</summary>
    public IEnumerable<ElfSymbol> Glob(string pattern)
    {
        var wanted = Encoding.UTF8.GetBytes(pattern);
        for (var i = 1; i < Count; i++)
        {
            var raw = At(i);
            if (IsNamed(raw) && SymbolNameMatching.Glob(wanted, NameBytes(raw.NameOffset)))
            {
                yield return Decode(i);
            }
        }
    }

    /// <summary>Up to <paramref name="count"/> names like a misspelt one, the most alike first.</summary>
    public IReadOnlyList<string> Suggest(string name, int count = 5)
    {
        var wanted = Encoding.UTF8.GetBytes(name);
        var best = new SortedSet<(int Distance, string Name)>();
        // A word of 8 letters may have 2 wrong ones, a short one 1.
        var limit = Math.Clamp(wanted.Length / 4, 1, 4);
        for (var i = 1; i < Count; i++)
        {
            var raw = At(i);
            if (!IsNamed(raw))
            {
                continue;
            }

            var candidate = NameBytes(raw.NameOffset);
            var distance = SymbolNameMatching.Distance(wanted, candidate, limit);
            if (distance > limit)
            {
                // The right word with something before or behind it (msi_compose_msg) is a suggestion too.
                if (wanted.Length < 5 || candidate.IndexOf(wanted) < 0)
                {
                    continue;
                }

                distance = limit + 1 + candidate.Length - wanted.Length;
            }

            best.Add((distance, NameOf(raw.NameOffset)));
            if (best.Count > count)
            {
                best.Remove(best.Max);
            }
        }

        return [.. best.Select(b => b.Name)];
    }

    /// <summary>The allocated section that holds an address, and where it lies.</summary>
    public bool TryFindSection(ulong address, out ElfSection section, out ulong sectionAddress)
    {
        // Most questions are about .text, one after the other.
        var last = _lastSection;
        if (last > 0 && Holds(last, address))
        {
            (section, sectionAddress) = (_sections[last], _sectionAddresses[last]);
            return true;
        }

        for (var i = 0; i < _sections.Length; i++)
        {
            if (Holds(i, address))
            {
                _lastSection = i;
                (section, sectionAddress) = (_sections[i], _sectionAddresses[i]);
                return true;
            }
        }

        (section, sectionAddress) = (null!, 0);
        return false;
    }

    /// <summary>Where a section lies.</summary>
    public ulong AddressOf(ElfSection section) => _sectionAddresses[section.Index];

    internal bool TryFindNearestIndex(ulong address, out int index)
    {
        index = 0;
        if (!TryFindSection(address, out var section, out _))
        {
            return false;
        }

        if (_index is null)
        {
            lock (_lock)
            {
                if (_index is null && ++_lookups > IndexAfter)
                {
                    _index = new SymbolAddressIndex(this);
                }
            }
        }

        if (_index is { } built)
        {
            return built.TryFindNearest(address, section.Index, out index);
        }

        var nearest = new NearestSymbol(this, address);
        for (var i = 1; i < Count; i++)
        {
            var raw = At(i);
            if (raw.Section == section.Index && IsCandidate(in raw))
            {
                nearest.Consider(i, in raw);
            }
        }

        index = nearest.Best;
        return index > 0;
    }

    /// <summary>Entry <paramref name="index"/> without its name. The value is an address in linked and in placed files.</summary>
    internal RawSymbol At(int index)
    {
        if (_is64)
        {
            var e = _entries.Span.Slice(index * 24, 24);
            ref var start = ref Unsafe.AsRef(in e[0]);
            var raw = new RawSymbol
            {
                NameOffset = Unsafe.ReadUnaligned<int>(ref start),
                Kind = Unsafe.Add(ref start, 4),
                Other = Unsafe.Add(ref start, 5),
                Section = Unsafe.ReadUnaligned<ushort>(ref Unsafe.Add(ref start, 6)),
                Value = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref start, 8)),
                Size = Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref start, 16)),
            };
            return Place(index, raw);
        }
        else
        {
            var e = _entries.Span.Slice(index * 16, 16);
            ref var start = ref Unsafe.AsRef(in e[0]);
            var raw = new RawSymbol
            {
                NameOffset = Unsafe.ReadUnaligned<int>(ref start),
                Value = Unsafe.ReadUnaligned<uint>(ref Unsafe.Add(ref start, 4)),
                Size = Unsafe.ReadUnaligned<uint>(ref Unsafe.Add(ref start, 8)),
                Kind = Unsafe.Add(ref start, 12),
                Other = Unsafe.Add(ref start, 13),
                Section = Unsafe.ReadUnaligned<ushort>(ref Unsafe.Add(ref start, 14)),
            };
            return Place(index, raw);
        }
    }

    internal ElfSymbol Decode(int index)
    {
        var raw = At(index);
        return new ElfSymbol(NameOf(raw.NameOffset), raw.Value, raw.Size, raw.Section, raw.Type, raw.Binding);
    }

    internal StringReference NameReference(int index) => new(StringSection.SymbolNames, At(index).NameOffset);

    /// <summary>The name's bytes; empty when the offset leads outside the string table, which costs that symbol only.</summary>
    internal ReadOnlySpan<byte> NameBytes(int offset)
    {
        if ((uint)offset >= (uint)_names.Length)
        {
            return default;
        }

        var rest = _names.Span[offset..];
        var end = rest.IndexOf((byte)0);
        return end < 0 ? rest : rest[..end];
    }

    internal string NameOf(int offset) => Encoding.UTF8.GetString(NameBytes(offset));

    /// <summary>May name an address: a function or label in any allocated section, an object only where there is no code.</summary>
    internal bool IsCandidate(in RawSymbol raw)
    {
        if ((uint)(raw.Section - 1) >= (uint)(_sections.Length - 1))
        {
            return false;
        }

        switch (raw.Type)
        {
            case ElfSymbol.TypeFunction or TypeIndirectFunction:
                return true;
            case ElfSymbol.TypeNone:
                // Mapping symbols ($d, $x) of other architectures, and labels that the assembler did not drop.
                var names = _names.Span;
                var name = raw.NameOffset;
                return name >= 0 && name < names.Length - 1 && names[name] is not (0 or (byte)'$') && !(names[name] == '.' && names[name + 1] == 'L');
            case ElfSymbol.TypeObject:
                return !_sections[raw.Section].IsExecutable;
            default:
                return false;
        }
    }

    private bool Holds(int section, ulong address) =>
        address >= _sectionAddresses[section] && address - _sectionAddresses[section] < _sections[section].Size && _sections[section].IsAllocated;

    private static bool IsNamed(in RawSymbol raw) =>
        raw.Section != ElfSymbol.SectionUndefined && raw.Type is ElfSymbol.TypeNone or ElfSymbol.TypeObject or ElfSymbol.TypeFunction or TypeIndirectFunction;

    private RawSymbol Place(int index, RawSymbol raw)
    {
        if (raw.Section == 0xffff)
        {
            // SHN_XINDEX: the index does not fit and stands in .symtab_shndx.
            raw.Section = _extendedSections.Length >= (index + 1) * 4
                ? BinaryPrimitives.ReadInt32LittleEndian(_extendedSections.Span[(index * 4)..])
                : ElfSymbol.SectionUndefined;
        }
        else if (raw.Section >= 0xff00)
        {
            return raw;
        }

        if (_isPlaced && (uint)raw.Section < (uint)_sectionAddresses.Length)
        {
            raw.Value += _sectionAddresses[raw.Section];
        }

        return raw;
    }

    private bool NameIs(int offset, ReadOnlySpan<byte> name)
    {
        var names = _names.Span;
        return (uint)offset < (uint)names.Length && names.Length - offset > name.Length && (name.IsEmpty || names[offset] == name[0])
            && names[offset + name.Length] == 0 && names.Slice(offset, name.Length).SequenceEqual(name);
    }
}

/// <summary>A symbol table entry as it stands, SHN_XINDEX resolved.</summary>
internal struct RawSymbol
{
    public int NameOffset;
    public byte Kind;
    public byte Other;
    public int Section;
    public ulong Value;
    public ulong Size;

    public readonly byte Type => (byte)(Kind & 15);

    public readonly byte Binding => (byte)(Kind >> 4);
}
