// Relocatable files (ET_REL): gABI, "Relocation"; psABI for x86-64, table 4.9; psABI for i386, table 4.9.
// A kernel module is one. Its debug sections refer to code by relocations, so they mean something only once sections have addresses: those of
// struct module in the guest, or those that addr2line makes up. A debug .ko may hold its code as NOBITS; only sizes count there.
using System.Buffers.Binary;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Kernel;

/// <summary>
/// The sections of a relocatable file after its relocations were applied for given section addresses. A section is relocated when first
/// asked for. Thread-safe.
/// </summary>
public sealed class RelocatedSections : ISectionSource
{
    private readonly ulong[] _addresses;
    private readonly Dictionary<string, SectionData> _relocated = new(StringComparer.Ordinal);
    private readonly Lock _lock = new();
    private readonly int _symbolTable;

    /// <param name="file">An ET_REL file.</param>
    /// <param name="addressOf">Where each allocated section lies. Sections that are not allocated lie at 0.</param>
    public RelocatedSections(ElfFile file, Func<ElfSection, ulong> addressOf)
    {
        File = file;
        _addresses = new ulong[file.Sections.Length];
        _symbolTable = -1;
        foreach (var section in file.Sections)
        {
            _addresses[section.Index] = section.IsAllocated ? addressOf(section) : 0;
            if (section.Type == ElfSection.TypeSymtab && _symbolTable < 0)
            {
                _symbolTable = section.Index;
            }
        }

        Symbols = new ElfSymbolTable(file, section => _addresses[section.Index]);
    }

    /// <param name="file">An ET_REL file.</param>
    /// <param name="addresses">Section name → address, as <c>/sys/module/*/sections</c> has them. Sections that are not named lie at 0.</param>
    public RelocatedSections(ElfFile file, IReadOnlyDictionary<string, ulong> addresses)
        : this(file, section => addresses.TryGetValue(section.Name, out var address) ? address : 0)
    {
    }

    /// <summary>The file behind it, its contents not relocated.</summary>
    public ElfFile File { get; }

    /// <summary>Symbols at the sections' addresses.</summary>
    public ElfSymbolTable Symbols { get; }

    public string Path => File.Path;

    public int AddressSize => File.AddressSize;

    /// <summary>Where a section lies.</summary>
    public ulong AddressOf(ElfSection section) => _addresses[section.Index];

    /// <summary>
    /// Addresses as binutils gives them to the sections of a relocatable file: one allocated section after the other from 0, each aligned.
    /// </summary>
    public static Func<ElfSection, ulong> OneAfterTheOther(ElfFile file)
    {
        var addresses = new ulong[file.Sections.Length];
        ulong next = 0;
        foreach (var section in file.Sections)
        {
            if (section.IsAllocated && section.Type != 0)
            {
                var alignment = Math.Max(1, section.Alignment);
                next = (next + alignment - 1) / alignment * alignment;
                addresses[section.Index] = next;
                next += section.Size;
            }
        }

        return section => addresses[section.Index];
    }

    /// <summary>Where the first section of that name was loaded; 0 when there is none.</summary>
    public ulong GetSectionAddress(string name) => File.FindSection(name) is { } section ? _addresses[section.Index] : 0;

    /// <inheritdoc/>
    public SectionData GetSection(string name)
    {
        lock (_lock)
        {
            if (!_relocated.TryGetValue(name, out var data))
            {
                data = Relocate(name);
                _relocated.Add(name, data);
            }

            return data;
        }
    }

    private SectionData Relocate(string name)
    {
        if (File.FindSection(name) is not { } target)
        {
            return SectionData.Empty(Path, name);
        }

        var data = target.Data;
        byte[]? bytes = null;
        foreach (var relocations in File.Sections)
        {
            if (relocations.Type is ElfSection.TypeRela or ElfSection.TypeRel && relocations.Info == target.Index && target.Index != 0
                && relocations.Link == _symbolTable && data.Length > 0)
            {
                bytes ??= data.Span.ToArray();
                Apply(relocations, bytes, _addresses[target.Index]);
            }
        }

        return bytes is null ? data : new SectionData(Path, name, bytes);
    }

    private void Apply(ElfSection section, byte[] target, ulong targetAddress)
    {
        var data = section.Data;
        var hasAddend = section.Type == ElfSection.TypeRela;
        var word = File.AddressSize;
        var size = word * (hasAddend ? 3 : 2);
        var entries = data.Span;
        for (var at = 0; at + size <= entries.Length; at += size)
        {
            var offset = Word(entries, at);
            var info = Word(entries, at + word);
            var symbol = (long)(word == 8 ? info >> 32 : info >> 8);
            var type = (uint)(word == 8 ? info & 0xffffffff : info & 0xff);
            var width = Width(type, out var isRelative);
            if (width < 0)
            {
                throw data.Malformed(at, $"relocation type {type} of machine {File.Machine}, which no debug section needs");
            }

            if (width == 0)
            {
                continue;
            }

            if (offset > (ulong)target.Length || (ulong)target.Length - offset < (ulong)width || symbol >= Math.Max(Symbols.Count, 1))
            {
                throw data.Malformed(at, $"a relocation at 0x{offset:x} for symbol {symbol}, outside the section (size 0x{target.Length:x}) or the symbol table");
            }

            var place = target.AsSpan((int)offset, width);
            var addend = hasAddend ? Word(entries, at + (2 * word)) : InPlace(place);
            var value = SymbolValue((int)symbol) + addend - (isRelative ? targetAddress + offset : 0);
            Write(place, value);
        }
    }

    private ulong SymbolValue(int symbol)
    {
        if (symbol == 0)
        {
            return 0;
        }

        var raw = Symbols.At(symbol);
        // Undefined symbols (other modules' and the kernel's) have no place in debug information.
        return raw.Section == ElfSymbol.SectionUndefined ? 0 : raw.Value;
    }

    private ulong Word(ReadOnlySpan<byte> bytes, int at) =>
        File.AddressSize == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(bytes[at..]) : BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    private static ulong InPlace(ReadOnlySpan<byte> place) => place.Length switch
    {
        8 => BinaryPrimitives.ReadUInt64LittleEndian(place),
        4 => (ulong)BinaryPrimitives.ReadInt32LittleEndian(place),
        2 => (ulong)BinaryPrimitives.ReadInt16LittleEndian(place),
        _ => (ulong)(sbyte)place[0],
    };

    private static void Write(Span<byte> place, ulong value)
    {
        switch (place.Length)
        {
            case 8:
                BinaryPrimitives.WriteUInt64LittleEndian(place, value);
                break;
            case 4:
                BinaryPrimitives.WriteUInt32LittleEndian(place, (uint)value);
                break;
            case 2:
                BinaryPrimitives.WriteUInt16LittleEndian(place, (ushort)value);
                break;
            default:
                place[0] = (byte)value;
                break;
        }
    }

    /// <summary>Bytes that a relocation writes; 0 for one that does nothing; -1 for one that is not known.</summary>
    private int Width(uint type, out bool isRelative)
    {
        (var width, isRelative) = File.Machine switch
        {
            ElfFile.MachineX86_64 => type switch
            {
                0 => (0, false), // R_X86_64_NONE
                1 => (8, false), // 64
                2 or 4 => (4, true), // PC32, PLT32
                10 or 11 => (4, false), // 32, 32S
                12 => (2, false), // 16
                13 => (2, true), // PC16
                14 => (1, false), // 8
                15 => (1, true), // PC8
                17 => (8, false), // DTPOFF64
                21 => (4, false), // DTPOFF32
                24 => (8, true), // PC64
                _ => (-1, false),
            },
            ElfFile.Machine386 => type switch
            {
                0 => (0, false), // R_386_NONE
                1 => (4, false), // 32
                2 or 4 => (4, true), // PC32, PLT32
                20 => (2, false), // 16
                21 => (2, true), // PC16
                22 => (1, false), // 8
                23 => (1, true), // PC8
                32 => (4, false), // TLS_LDO_32
                _ => (-1, false),
            },
            _ => (-1, false),
        };
        return width;
    }
}
