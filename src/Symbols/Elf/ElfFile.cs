// ELF (System V gABI, chapter 4; the x86-64 and i386 psABIs), 32- and 64-bit, little-endian.
// Real kernels: vmlinux is ET_EXEC linked with --emit-relocs, so its .rela.* sections are already applied and are not
// looked at here. Modules (.ko, debug .ko) are ET_REL: their section addresses are 0 and their relocations open
// (Kernel/KernelModule.cs applies them). In a debug .ko every SHF_ALLOC section is SHT_NOBITS.
using System.Collections.Immutable;

namespace KTrace.Symbols.Elf;

/// <summary>The headers of one ELF file; section contents are mapped or inflated when first asked for.</summary>
public sealed class ElfFile : ISectionSource
{
    public const ushort TypeRelocatable = 1;
    public const ushort TypeExecutable = 2;
    public const ushort TypeSharedObject = 3;
    public const ushort Machine386 = 3;
    public const ushort MachineX86_64 = 62;

    private const int MaximumSections = 1 << 20;

    private readonly Dictionary<string, ElfSection> _byName;

    internal ElfFile(string path, bool is64, ushort type, ushort machine, ImmutableArray<ElfSection> sections)
    {
        Path = path;
        Is64Bit = is64;
        Type = type;
        Machine = machine;
        Sections = sections;
        _byName = new Dictionary<string, ElfSection>(sections.Length, StringComparer.Ordinal);
        foreach (var section in sections)
        {
            _byName.TryAdd(section.Name, section);
        }

        foreach (var section in sections)
        {
            if (section.Name.StartsWith(CompressedSection.GnuPrefix, StringComparison.Ordinal))
            {
                _byName.TryAdd(".debug_" + section.Name[CompressedSection.GnuPrefix.Length..], section);
            }
        }
    }

    public string Path { get; }

    public bool Is64Bit { get; }

    /// <summary>Size of an address in bytes: 4 or 8.</summary>
    public int AddressSize => Is64Bit ? 8 : 4;

    /// <summary>e_type: <see cref="TypeRelocatable"/>, <see cref="TypeExecutable"/>, …</summary>
    public ushort Type { get; }

    public bool IsRelocatable => Type == TypeRelocatable;

    /// <summary>e_machine.</summary>
    public ushort Machine { get; }

    /// <summary>All sections, at their index; index 0 is the null section.</summary>
    public ImmutableArray<ElfSection> Sections { get; }

    /// <summary>Opens a file. Throws <see cref="MalformedFileException"/> when it is no little-endian ELF file, IOException when it cannot be read.</summary>
    public static ElfFile Open(string path) => Open(new MappedFile(path));

    internal static ElfFile Open(MappedFile mapped)
    {
        var path = mapped.Path;
        var head = mapped.Slice("", 0, Math.Min(mapped.Length, 64));
        if (head.Length < 16 || !head.Span[..4].SequenceEqual("\u007fELF"u8))
        {
            throw new MalformedFileException(path, "", 0, "not an ELF file");
        }

        var is64 = head.Span[4] switch
        {
            1 => false,
            2 => true,
            var c => throw new MalformedFileException(path, "", 4, $"ELF class {c}"),
        };
        if (head.Span[5] != 1)
        {
            throw new MalformedFileException(path, "", 5, "a big-endian ELF file; KTrace reads little-endian ones");
        }

        var r = head.ReaderAt(16);
        var type = r.ReadU16();
        var machine = r.ReadU16();
        r.ReadU32();
        var wordSize = is64 ? 8 : 4;
        r.ReadAddress(wordSize);
        r.ReadAddress(wordSize);
        var sectionTable = r.ReadAddress(wordSize);
        r.ReadU32();
        r.ReadU16();
        r.ReadU16();
        r.ReadU16();
        var entrySize = r.ReadU16();
        long count = r.ReadU16();
        long nameIndex = r.ReadU16();
        return new ElfFile(path, is64, type, machine, ReadSections(mapped, is64, sectionTable, entrySize, count, nameIndex));
    }

    /// <summary>The first section of that name, or null.</summary>
    public ElfSection? FindSection(string name) => _byName.GetValueOrDefault(name);

    /// <summary>Contents of the first section of that name; empty when there is none.</summary>
    public SectionData GetSection(string name) => FindSection(name)?.Data ?? SectionData.Empty(Path, name);

    /// <summary>sh_addr of the first section of that name; 0 when there is none, and in relocatable files.</summary>
    public ulong GetSectionAddress(string name) => FindSection(name)?.Address ?? 0;

    /// <summary>
    /// The GNU build id (NT_GNU_BUILD_ID, type 3, owner "GNU") from any SHT_NOTE section; empty when there is none.
    /// In vmlinux it stands in .notes, in a module in .note.gnu.build-id.
    /// </summary>
    public ImmutableArray<byte> BuildId
    {
        get
        {
            foreach (var section in Sections)
            {
                if (section.Type == ElfSection.TypeNote && ElfNotes.FindBuildId(section.Data.Span) is { IsEmpty: false } id)
                {
                    return id;
                }
            }

            return [];
        }
    }

    private static ImmutableArray<ElfSection> ReadSections(
        MappedFile mapped, bool is64, ulong table, int entrySize, long count, long nameIndex)
    {
        if (table == 0)
        {
            return [];
        }

        var expected = is64 ? 64 : 40;
        if (entrySize != expected || table > (ulong)mapped.Length)
        {
            throw new MalformedFileException(mapped.Path, "", (long)Math.Min(table, long.MaxValue), $"a section header table that is not in the file; is it truncated?");
        }

        // gABI: with 0xff00 or more sections the count and the name index stand in section 0.
        var first = ElfSection.Read(mapped, is64, (long)table, 0);
        if (count == 0)
        {
            count = (long)Math.Min(first.Size, MaximumSections + 1);
        }

        if (nameIndex == 0xffff)
        {
            nameIndex = first.Link;
        }

        if (count > MaximumSections || count * expected > mapped.Length - (long)table)
        {
            throw new MalformedFileException(mapped.Path, "", (long)table, $"{count} section headers, more than the file holds; is it truncated?");
        }

        var sections = ImmutableArray.CreateBuilder<ElfSection>((int)count);
        for (var i = 0; i < count; i++)
        {
            sections.Add(ElfSection.Read(mapped, is64, (long)table + (i * expected), i));
        }

        if (nameIndex > 0 && nameIndex < count)
        {
            var names = sections[(int)nameIndex].Data;
            foreach (var section in sections)
            {
                section.Name = section.NameOffset < names.Length ? names.StringAt(section.NameOffset) : "";
            }
        }

        return sections.MoveToImmutable();
    }
}
