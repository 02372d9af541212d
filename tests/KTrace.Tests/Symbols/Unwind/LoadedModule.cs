using System.Buffers.Binary;
using System.Collections.Immutable;
using KTrace.Symbols;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Symbols.Unwind;

/// <summary>A .ko with the relocations of its unwind sections applied for given section addresses: the few kinds that occur there.</summary>
internal sealed class LoadedModule : ISectionSource
{
    private readonly ElfFile _file;
    private readonly Func<string, ulong> _addressOf;
    private readonly Dictionary<string, SectionData> _relocated = new(StringComparer.Ordinal);

    public LoadedModule(ElfFile file, Func<string, ulong> addressOf)
    {
        _file = file;
        _addressOf = addressOf;
    }

    public string Path => _file.Path;

    public int AddressSize => _file.AddressSize;

    public ulong GetSectionAddress(string name) => _addressOf(name);

    public SectionData GetSection(string name)
    {
        if (!_relocated.TryGetValue(name, out var data))
        {
            _relocated[name] = data = Relocate(name);
        }

        return data;
    }

    public static UnwindObject Open(string name, string debugPath, string shippedPath, IReadOnlyDictionary<string, ulong> sections, string release)
    {
        ulong AddressOf(string section) => sections.GetValueOrDefault(section);
        var debug = ElfFile.Open(debugPath);
        var shipped = ElfFile.Open(shippedPath);
        var text = shipped.Sections
            .Where(s => s.IsExecutable && s.Size > 0 && sections.ContainsKey(s.Name))
            .Select(s => new AddressRange(sections[s.Name], sections[s.Name] + s.Size))
            .ToImmutableArray();
        var symbols = SymbolStarts.Read(debug, s => sections.TryGetValue(s, out var a) ? a : null);
        return UnwindObject.ForModule(
            name, X86_64.Instance, new LoadedModule(debug, AddressOf), new LoadedModule(shipped, AddressOf), release, text, a => symbols.At(a));
    }

    private SectionData Relocate(string name)
    {
        var data = _file.GetSection(name);
        var rela = _file.FindSection(".rela" + name);
        if (rela is null || data.IsEmpty)
        {
            return data;
        }

        var bytes = data.Span.ToArray();
        var symbols = _file.FindSection(".symtab")!.Data;
        var r = rela.Data.ReaderAt(0);
        while (r.Remaining >= 24)
        {
            var offset = (int)r.ReadU64();
            var info = r.ReadU64();
            var addend = (long)r.ReadU64();
            var symbol = symbols.ReaderAt((long)(info >> 32) * 24);
            symbol.ReadU32();
            symbol.ReadU16();
            var section = symbol.ReadU16();
            var value = symbol.ReadU64() + _addressOf(_file.Sections[section].Name) + (ulong)addend;
            var place = _addressOf(name) + (ulong)offset;
            switch ((uint)info)
            {
                case 1:
                    BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(offset), value);
                    break;
                case 10 or 11:
                    BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(offset), (uint)value);
                    break;
                case 2 or 4:
                    BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(offset), (uint)(value - place));
                    break;
                default:
                    throw new InvalidOperationException($"relocation {(uint)info}");
            }
        }

        return new SectionData(Path, name, bytes);
    }
}
