namespace KTrace.Symbols.Elf;

/// <summary>One section header (gABI, "Section Header") and, on demand, its contents.</summary>
public sealed class ElfSection
{
    public const uint TypeProgbits = 1;
    public const uint TypeSymtab = 2;
    public const uint TypeRela = 4;
    public const uint TypeNote = 7;
    public const uint TypeNobits = 8;
    public const uint TypeRel = 9;
    public const uint TypeSymtabShndx = 18;
    public const ulong FlagWrite = 1;
    public const ulong FlagAlloc = 2;
    public const ulong FlagExecinstr = 4;
    public const ulong FlagCompressed = 0x800;

    private readonly MappedFile? _file;
    private readonly bool _is64;
    private readonly Lazy<SectionData> _data;

    private ElfSection(MappedFile file, bool is64, int index)
    {
        _file = file;
        _is64 = is64;
        Index = index;
        _data = new Lazy<SectionData>(Load);
    }

    /// <summary>A section whose bytes do not come from an ELF file as they are: of another file's section, or made from a list of symbols.</summary>
    internal ElfSection(int index, string name, SectionData data, ElfSection? like = null)
    {
        Index = index;
        Name = name;
        _data = new Lazy<SectionData>(data);
        Size = (ulong)data.Length;
        if (like is not null)
        {
            CopyHeader(like);
        }
    }

    /// <summary>The same section with another number.</summary>
    internal ElfSection(int index, ElfSection like)
    {
        Index = index;
        Name = like.Name;
        _data = like._data;
        CopyHeader(like);
    }

    public int Index { get; }

    public string Name { get; internal set; } = "";

    internal uint NameOffset { get; private init; }

    /// <summary>sh_type.</summary>
    public uint Type { get; internal set; }

    /// <summary>sh_flags.</summary>
    public ulong Flags { get; internal set; }

    /// <summary>sh_addr: where it was linked to run; 0 in relocatable files.</summary>
    public ulong Address { get; internal set; }

    /// <summary>sh_offset, in bytes from the file's start.</summary>
    public ulong Offset { get; internal set; }

    /// <summary>sh_size, in bytes (of a compressed section: as stored).</summary>
    public ulong Size { get; internal set; }

    public uint Link { get; internal set; }

    public uint Info { get; internal set; }

    /// <summary>sh_addralign, in bytes.</summary>
    public ulong Alignment { get; internal set; }

    /// <summary>sh_entsize, in bytes.</summary>
    public ulong EntrySize { get; internal set; }

    public bool IsAllocated => (Flags & FlagAlloc) != 0;

    public bool IsWritable => (Flags & FlagWrite) != 0;

    public bool IsExecutable => (Flags & FlagExecinstr) != 0;

    /// <summary>False for SHT_NOBITS: the section occupies addresses, but the file has no bytes for it.</summary>
    public bool HasContents => Type is not (TypeNobits or 0);

    /// <summary>The contents, inflated where SHF_COMPRESSED; empty for SHT_NOBITS.</summary>
    public SectionData Data => _data.Value;

    internal static ElfSection Read(MappedFile file, bool is64, long headerOffset, int index)
    {
        var r = file.Slice("", headerOffset, is64 ? 64 : 40).ReaderAt(0);
        var word = is64 ? 8 : 4;
        return new ElfSection(file, is64, index)
        {
            NameOffset = r.ReadU32(),
            Type = r.ReadU32(),
            Flags = r.ReadAddress(word),
            Address = r.ReadAddress(word),
            Offset = r.ReadAddress(word),
            Size = r.ReadAddress(word),
            Link = r.ReadU32(),
            Info = r.ReadU32(),
            Alignment = r.ReadAddress(word),
            EntrySize = r.ReadAddress(word),
        };
    }

    private void CopyHeader(ElfSection like)
    {
        Type = like.Type;
        Flags = like.Flags;
        Address = like.Address;
        Offset = like.Offset;
        Size = like.Size;
        Link = like.Link;
        Info = like.Info;
        Alignment = like.Alignment;
        EntrySize = like.EntrySize;
    }

    private SectionData Load()
    {
        if (!HasContents)
        {
            return SectionData.Empty(_file!.Path, Name);
        }

        if (Offset > long.MaxValue || Size > long.MaxValue)
        {
            throw new MalformedFileException(_file!.Path, Name, 0, $"0x{Size:x} bytes at 0x{Offset:x}, outside the file");
        }

        var stored = _file!.Slice(Name, (long)Offset, (long)Size);
        return (Flags & FlagCompressed) != 0 ? CompressedSection.Inflate(stored, _is64)
            : Name.StartsWith(CompressedSection.GnuPrefix, StringComparison.Ordinal) ? CompressedSection.InflateGnu(stored)
            : stored;
    }
}
