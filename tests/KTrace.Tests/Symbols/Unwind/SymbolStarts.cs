using System.Text;
using KTrace.Symbols;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Symbols.Unwind;

/// <summary>Nearest symbol, straight from .symtab: what the unwinder needs of a symbol table, and no more.</summary>
internal sealed class SymbolStarts
{
    private readonly ulong[] _starts;
    private readonly string[] _names;

    private SymbolStarts(List<(ulong Start, string Name, bool Global)> symbols)
    {
        symbols.Sort((a, b) => a.Start != b.Start ? a.Start.CompareTo(b.Start) : a.Global.CompareTo(b.Global));
        _starts = [.. symbols.Select(s => s.Start)];
        _names = [.. symbols.Select(s => s.Name)];
    }

    public static SymbolStarts Read(ElfFile file, Func<string, ulong?>? sectionAddress = null)
    {
        var table = file.FindSection(".symtab")!;
        var strings = file.Sections[(int)table.Link].Data;
        var r = table.Data.ReaderAt(0);
        var symbols = new List<(ulong, string, bool)>();
        while (r.Remaining > 0)
        {
            ulong value, nameOffset;
            byte info;
            int section;
            if (file.Is64Bit)
            {
                nameOffset = r.ReadU32();
                info = r.ReadU8();
                r.ReadU8();
                section = r.ReadU16();
                value = r.ReadU64();
                r.ReadU64();
            }
            else
            {
                nameOffset = r.ReadU32();
                value = r.ReadU32();
                r.ReadU32();
                info = r.ReadU8();
                r.ReadU8();
                section = r.ReadU16();
            }

            if (section == 0 || section >= file.Sections.Length || (info & 0xf) > 2 || !file.Sections[section].IsExecutable)
            {
                continue;
            }

            if (sectionAddress is not null)
            {
                if (sectionAddress(file.Sections[section].Name) is not { } start)
                {
                    continue;
                }

                value += start;
            }

            var name = strings.StringAt((long)nameOffset);
            if (name.Length > 0 && !name.StartsWith("__pfx_", StringComparison.Ordinal))
            {
                symbols.Add((value, name, info >> 4 != 0));
            }
        }

        return new SymbolStarts(symbols);
    }

    public SymbolStart? At(ulong address)
    {
        var i = Array.BinarySearch(_starts, address);
        if (i < 0)
        {
            i = ~i - 1;
        }

        while (i >= 0 && i + 1 < _starts.Length && _starts[i + 1] == _starts[i])
        {
            i++;
        }

        return i < 0 ? null : new SymbolStart(_names[i], _starts[i]);
    }

    public ulong AddressOf(string name) => _starts[Array.IndexOf(_names, name)];
}
