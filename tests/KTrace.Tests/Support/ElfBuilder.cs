namespace KTrace.Tests.Support;

/// <summary>Writes small ELF files: any sections, any symbols, 32- or 64-bit.</summary>
internal sealed class ElfBuilder(bool is64 = true, ushort type = 2, ushort machine = 62)
{
    private readonly List<Section> _sections = [new("", 0, 0, 0, [], 0, 0, 0, 0)];
    private readonly List<Symbol> _symbols = [];
    private readonly ByteWriter _names = new ByteWriter().U8(0);

    private sealed record Section(string Name, uint Type, ulong Flags, ulong Address, byte[] Data, uint Link, uint Info, ulong Size, ulong EntrySize);

    private readonly record struct Symbol(uint Name, ulong Value, ulong Size, int Section, int Type, int Binding, int Visibility);

    public const ulong Alloc = 2, Exec = 4;

    public int SectionCount => _sections.Count;

    /// <summary>Adds a section and returns its index. <paramref name="size"/> is for NOBITS.</summary>
    public int Add(string name, byte[] data, uint sectionType = 1, ulong flags = 0, ulong address = 0, uint link = 0, uint info = 0, ulong size = 0, ulong entrySize = 0)
    {
        _sections.Add(new Section(name, sectionType, flags, address, data, link, info, size, entrySize));
        return _sections.Count - 1;
    }

    /// <summary>A section of code, filled with nops.</summary>
    public int AddCode(string name, ulong address, int size) => Add(name, Enumerable.Repeat((byte)0x90, size).ToArray(), flags: Alloc | Exec, address: address);

    public ElfBuilder AddSymbol(string name, ulong value, ulong size = 0, int section = 1, int type = 2, int binding = 1, int visibility = 0)
    {
        _symbols.Add(new Symbol((uint)_names.Length, value, size, section, type, binding, visibility));
        _names.Text(name);
        return this;
    }

    public ElfBuilder AddFile(string name) => AddSymbol(name, 0, 0, 0xfff1, 4, 0);

    /// <summary>The file's bytes. Symbols whose section index is 0xff00 or more, but no reserved one, go through SHN_XINDEX.</summary>
    public byte[] Build()
    {
        var sections = new List<Section>(_sections);
        var (symbols, extended) = Symbols();
        var symtab = sections.Count;
        sections.Add(new Section(".symtab", 2, 0, 0, symbols, (uint)symtab + 1, 1, 0, is64 ? 24u : 16u));
        sections.Add(new Section(".strtab", 3, 0, 0, _names.ToArray(), 0, 0, 0, 0));
        if (extended.Length > 0)
        {
            sections.Add(new Section(".symtab_shndx", 18, 0, 0, extended, (uint)symtab, 0, 0, 4));
        }

        var names = new ByteWriter();
        var nameOffsets = sections.Append(new Section(".shstrtab", 3, 0, 0, [], 0, 0, 0, 0)).Select(s =>
        {
            var at = names.Length;
            names.Text(s.Name);
            return (uint)at;
        }).ToArray();
        sections.Add(new Section(".shstrtab", 3, 0, 0, names.ToArray(), 0, 0, 0, 0));

        var file = new ByteWriter();
        file.Bytes([0x7f, (byte)'E', (byte)'L', (byte)'F', (byte)(is64 ? 2 : 1), 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        file.U16(type).U16(machine).U32(1);
        Word(file, 0);
        Word(file, 0);
        var table = file.Length;
        Word(file, 0);
        var headerSize = is64 ? 64 : 40;
        file.U32(0).U16(is64 ? 64 : 52).U16(0).U16(0).U16(headerSize).U16(sections.Count).U16(sections.Count - 1);
        var offsets = new List<int>();
        foreach (var section in sections)
        {
            file.Align(16);
            offsets.Add(file.Length);
            file.Bytes(section.Data);
        }

        file.Align(16);
        if (is64)
        {
            file.Patch64(table, (ulong)file.Length);
        }
        else
        {
            file.Patch32(table, (uint)file.Length);
        }

        for (var i = 0; i < sections.Count; i++)
        {
            var s = sections[i];
            file.U32(nameOffsets[i]).U32(s.Type);
            Word(file, s.Flags);
            Word(file, s.Address);
            Word(file, (ulong)offsets[i]);
            Word(file, s.Size > 0 ? s.Size : (ulong)s.Data.Length);
            file.U32(s.Link).U32(s.Info);
            Word(file, 1);
            Word(file, s.EntrySize);
        }

        return file.ToArray();
    }

    /// <summary>Writes the file into a folder that the test owns.</summary>
    public string Write(ScratchFolder folder, string name = "file.elf")
    {
        var path = System.IO.Path.Combine(folder.Path, name);
        File.WriteAllBytes(path, Build());
        return path;
    }

    private (byte[] Symbols, byte[] Extended) Symbols()
    {
        var symbols = new ByteWriter();
        var extended = new ByteWriter();
        var isExtended = false;
        symbols.Bytes(new byte[is64 ? 24 : 16]);
        extended.U32(0);
        foreach (var s in _symbols)
        {
            var large = s.Section is >= 0xff00 and not (0xfff1 or 0xfff2);
            isExtended |= large;
            var index = large ? 0xffff : s.Section;
            extended.U32(large ? (uint)s.Section : 0);
            var kind = (s.Binding << 4) | s.Type;
            if (is64)
            {
                symbols.U32(s.Name).U8(kind).U8(s.Visibility).U16(index).U64(s.Value).U64(s.Size);
            }
            else
            {
                symbols.U32(s.Name).U32(s.Value).U32(s.Size).U8(kind).U8(s.Visibility).U16(index);
            }
        }

        return (symbols.ToArray(), isExtended ? extended.ToArray() : []);
    }

    private void Word(ByteWriter file, ulong value) => file.Number(value, is64 ? 8 : 4);
}
