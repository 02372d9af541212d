// System.map (scripts/mksysmap: `nm -n vmlinux`, sorted) and /proc/kallsyms (kernel/kallsyms.c, s_show): "ffffffff81000000 T _text", and for modules a tab and
// the name in brackets behind. Letters as nm's: T and t code, D, d, B, b, R, r data, W, w, V, v weak, A absolute; capitals are global. No sizes: a symbol ends where the
// next one begins. kallsyms shows run-time addresses (KASLR's displacement is in them), and zeros to those who may not know (kptr_restrict).
using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Text;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Kernel;

/// <summary>A kernel's symbols as text.</summary>
internal sealed class SymbolList
{
    private const int MaximumBytes = 64 << 20;
    private const int MaximumName = 1024;

    private readonly string _path;
    private readonly List<Entry> _entries = [];
    private readonly Dictionary<string, ulong> _byName = new(StringComparer.Ordinal);

    private readonly record struct Entry(ulong Address, char Kind, string Name);

    private SymbolList(string path) => _path = path;

    /// <summary>Bytes of an address: 4 or 8.</summary>
    public int AddressSize { get; private set; } = 8;

    /// <summary>It has modules in it, so it comes from a running kernel: addresses are run-time ones.</summary>
    public bool IsOfRunningKernel { get; private set; }

    public int Count => _entries.Count;

    /// <summary>The file begins with a line of such a list.</summary>
    public static bool Is(string path)
    {
        try
        {
            using var file = File.OpenRead(path);
            var head = new byte[256];
            var text = Encoding.Latin1.GetString(head, 0, file.ReadAtLeast(head, head.Length, throwOnEndOfStream: false));
            return text.IndexOf('\n') is var end and > 0 && TryParse(text[..end], out _, out _);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>Reads a whole list. Throws <see cref="MalformedFileException"/> at a line that is none of it; IOException.</summary>
    public static SymbolList Read(string path)
    {
        var list = new SymbolList(path);
        using var reader = new StreamReader(path, Encoding.UTF8);
        long offset = 0;
        var sawAddress = false;
        while (reader.ReadLine() is { } line)
        {
            if (offset > MaximumBytes || line.Length > MaximumName * 2)
            {
                throw new MalformedFileException(path, "", offset, "more text than any kernel has symbols");
            }

            if (line.Length > 0)
            {
                if (!TryParse(line, out var entry, out var isModule))
                {
                    throw new MalformedFileException(path, "", offset, "a line that is not `address letter name`, as in System.map");
                }

                list.IsOfRunningKernel |= isModule;
                sawAddress |= entry.Address != 0;
                list.AddressSize = line.IndexOf(' ') <= 8 ? 4 : 8;
                if (!isModule)
                {
                    list._entries.Add(entry);
                    list._byName.TryAdd(entry.Name, entry.Address);
                }
            }

            offset += line.Length + 1;
        }

        if (!sawAddress)
        {
            throw new MalformedFileException(path, "", 0, list.Count == 0 ? "no symbols" : "all addresses are 0: the kernel hides them (kptr_restrict); read it as root");
        }

        return list;
    }

    public ulong? AddressOf(string name) => _byName.TryGetValue(name, out var address) ? address : null;

    /// <summary>Takes KASLR's displacement out, when the list is of a running kernel.</summary>
    /// <param name="text">Where .text is linked.</param>
    public void Normalize(ulong text)
    {
        var mask = AddressSize == 4 ? uint.MaxValue : ulong.MaxValue;
        var slide = ((AddressOf("_text") ?? AddressOf("_stext") ?? text) - text) & mask;
        if (!IsOfRunningKernel || slide == 0)
        {
            return;
        }

        var lowest = AddressOf("_text") ?? AddressOf("_stext") ?? 0;
        for (var i = 0; i < _entries.Count; i++)
        {
            var entry = _entries[i];
            // Per-CPU offsets and other small numbers do not move.
            if (entry.Address >= lowest && entry.Kind is not ('A' or 'a'))
            {
                _entries[i] = entry with { Address = (entry.Address - slide) & mask };
            }
        }

        foreach (var entry in _entries)
        {
            _byName[entry.Name] = entry.Address;
        }
    }

    /// <summary>
    /// The file with these symbols as its .symtab, so that everything else reads them as it reads those of a vmlinux. A symbol ends where the next one of
    /// its section begins.
    /// </summary>
    public ElfFile AddTo(ElfFile file)
    {
        var sections = file.Sections.ToBuilder();
        var order = _entries.OrderBy(e => e.Address).ToList();
        var is64 = file.Is64Bit;
        var entrySize = is64 ? 24 : 16;
        var symbols = new byte[(order.Count + 1) * entrySize];
        var names = new MemoryStream();
        names.WriteByte(0);
        for (var i = 0; i < order.Count; i++)
        {
            var entry = order[i];
            var section = SectionOf(file, entry);
            var next = i + 1;
            while (next < order.Count && order[next].Address == entry.Address)
            {
                next++;
            }

            ulong size = 0;
            if (section is not null)
            {
                var end = section.Address + section.Size;
                size = (next < order.Count && order[next].Address < end ? order[next].Address : end) - entry.Address;
            }

            Write(symbols.AsSpan((i + 1) * entrySize, entrySize), is64, (uint)names.Length, entry, section, size);
            names.Write(Encoding.UTF8.GetBytes(entry.Name));
            names.WriteByte(0);
        }

        var table = sections.Count;
        sections.Add(new ElfSection(table, ".symtab", new SectionData(_path, ".symtab", symbols))
        {
            Type = ElfSection.TypeSymtab, Link = (uint)table + 1, EntrySize = (ulong)entrySize,
        });
        sections.Add(new ElfSection(table + 1, ".strtab", new SectionData(_path, ".strtab", names.ToArray())) { Type = 3 });
        return new ElfFile(file.Path, is64, file.Type, file.Machine, sections.ToImmutable());
    }

    /// <summary>
    /// A file without any contents: where code and data of the kernel lie, by the symbols that the linker script puts around them
    /// (arch/x86/kernel/vmlinux.lds.S).
    /// </summary>
    public ElfFile ToElf()
    {
        var is64 = AddressSize == 8;
        var sections = ImmutableArray.CreateBuilder<ElfSection>();
        sections.Add(new ElfSection(0, "", SectionData.Empty(_path, "")));
        Range(sections, ".text", AddressOf("_text") ?? AddressOf("_stext"), AddressOf("_etext"), isCode: true);
        Range(sections, ".init.text", AddressOf("_sinittext"), AddressOf("_einittext"), isCode: true);
        Range(sections, ".data", AddressOf("_etext"), AddressOf("_end") ?? _entries.Max(e => e.Address) + 1, isCode: false);
        Range(sections, ".data..percpu", AddressOf("__per_cpu_start"), AddressOf("__per_cpu_end"), isCode: false);
        if (sections.Count == 1)
        {
            throw new MalformedFileException(_path, "", 0, "no _text and _etext: these are not the symbols of a kernel");
        }

        return AddTo(new ElfFile(_path, is64, ElfFile.TypeExecutable, is64 ? ElfFile.MachineX86_64 : ElfFile.Machine386, sections.ToImmutable()));
    }

    private void Range(ImmutableArray<ElfSection>.Builder sections, string name, ulong? start, ulong? end, bool isCode)
    {
        if (start is { } from && end is { } to && to > from)
        {
            sections.Add(new ElfSection(sections.Count, name, SectionData.Empty(_path, name))
            {
                Type = ElfSection.TypeNobits, Flags = ElfSection.FlagAlloc | (isCode ? ElfSection.FlagExecinstr : 0), Address = from, Size = to - from,
            });
        }
    }

    private static ElfSection? SectionOf(ElfFile file, Entry entry)
    {
        if (entry.Kind is 'A' or 'a' or 'U' or 'N')
        {
            return null;
        }

        ElfSection? found = null;
        foreach (var section in file.Sections)
        {
            if (section.IsAllocated && section.Size > 0 && entry.Address >= section.Address && entry.Address - section.Address < section.Size && (found is null || section.IsExecutable))
            {
                found = section;
            }
        }

        return found;
    }

    private static void Write(Span<byte> into, bool is64, uint name, Entry entry, ElfSection? section, ulong size)
    {
        var isCode = section?.IsExecutable == true && entry.Kind is 'T' or 't' or 'W' or 'w' or 'i';
        var type = isCode ? ElfSymbol.TypeFunction : section is { IsExecutable: false } ? ElfSymbol.TypeObject : ElfSymbol.TypeNone;
        var binding = entry.Kind is 'W' or 'w' or 'V' or 'v' ? ElfSymbol.BindingWeak : char.IsAsciiLetterUpper(entry.Kind) ? ElfSymbol.BindingGlobal : ElfSymbol.BindingLocal;
        var kind = (byte)((binding << 4) | type);
        var index = (ushort)(section?.Index ?? ElfSymbol.SectionAbsolute);
        BinaryPrimitives.WriteUInt32LittleEndian(into, name);
        if (is64)
        {
            into[4] = kind;
            BinaryPrimitives.WriteUInt16LittleEndian(into[6..], index);
            BinaryPrimitives.WriteUInt64LittleEndian(into[8..], entry.Address);
            BinaryPrimitives.WriteUInt64LittleEndian(into[16..], size);
        }
        else
        {
            BinaryPrimitives.WriteUInt32LittleEndian(into[4..], (uint)entry.Address);
            BinaryPrimitives.WriteUInt32LittleEndian(into[8..], (uint)size);
            into[12] = kind;
            BinaryPrimitives.WriteUInt16LittleEndian(into[14..], index);
        }
    }

    private static bool TryParse(string line, out Entry entry, out bool isModule)
    {
        entry = default;
        isModule = false;
        var space = line.IndexOf(' ');
        if (space is not (8 or 16) || line.Length < space + 4 || line[space + 2] != ' ' || !char.IsAsciiLetter(line[space + 1]) && line[space + 1] != '?'
            || !ulong.TryParse(line.AsSpan(0, space), System.Globalization.NumberStyles.AllowHexSpecifier, System.Globalization.CultureInfo.InvariantCulture, out var address))
        {
            return false;
        }

        var name = line[(space + 3)..];
        if (name.IndexOf('\t') is var tab and >= 0)
        {
            isModule = true;
            name = name[..tab];
        }

        name = name.TrimEnd('\r', ' ');
        entry = new Entry(address, line[space + 1], name);
        return name.Length is > 0 and <= MaximumName;
    }
}
