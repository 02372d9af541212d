// Where the running kernel's code is not what the file has: static keys (include/linux/jump_label.h: struct jump_entry with relative addresses, since 4.19 on
// x86), alternatives (arch/x86/include/asm/alternative.h: struct alt_instr of 12 bytes; 13 with padlen before 5.16; 14 with flags since 6.3), and
// where it goes on after a fault: exception tables (struct exception_table_entry: three relative words since 4.6) and WARN (struct bug_entry, 12 bytes).
// A table whose entries make no sense is worse than none: code could then run that is not seen here, so that object is not analysed at all.
using System.Buffers.Binary;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Recovery;

/// <param name="Length">Bytes of the original.</param>
/// <param name="Replacement">Where the code stands that may be put there.</param>
/// <param name="ReplacementLength">Bytes of it; the rest is filled with nops.</param>
internal readonly record struct Alternative(ulong Address, int Length, ulong Replacement, int ReplacementLength);

/// <param name="Kind">The third word: how the handler changes registers.</param>
internal readonly record struct ExceptionFixup(ulong Target, int Kind);

/// <summary>The code patching and fault tables of one object.</summary>
internal sealed class PatchSites
{
    private const int JumpEntry64 = 16, JumpEntry32 = 12, ExceptionEntry = 12, BugEntry = 12;
    private const ushort BugIsWarning = 1;

    public Dictionary<ulong, ulong> JumpLabels { get; } = [];

    public Dictionary<ulong, List<Alternative>> Alternatives { get; } = [];

    public Dictionary<ulong, ExceptionFixup> Fixups { get; } = [];

    /// <summary>ud2 instructions behind which the code goes on.</summary>
    public HashSet<ulong> Warnings { get; } = [];

    /// <summary>False: a table could not be understood.</summary>
    public bool IsComplete { get; private set; } = true;

    public static PatchSites Read(ISectionSource source, ElfSymbolTable symbols, Architecture architecture, Func<ulong, bool> isCode)
    {
        var sites = new PatchSites();
        var (jumps, jumpsAt) = Table(source, symbols, "__jump_table", "__start___jump_table", "__stop___jump_table");
        sites.ReadJumpLabels(jumps, jumpsAt, architecture.WordSize, isCode);
        sites.ReadAlternatives(source.GetSection(".altinstructions").Span, source.GetSectionAddress(".altinstructions"), isCode);
        sites.ReadFixups(source.GetSection("__ex_table").Span, source.GetSectionAddress("__ex_table"), isCode);
        sites.ReadWarnings(source.GetSection("__bug_table").Span, source.GetSectionAddress("__bug_table"), isCode);
        return sites;
    }

    private static (byte[] Bytes, ulong Address) Table(ISectionSource source, ElfSymbolTable symbols, string section, string start, string stop)
    {
        var own = source.GetSection(section);
        if (!own.IsEmpty)
        {
            return (own.Span.ToArray(), source.GetSectionAddress(section));
        }

        if (symbols.Find(start) is not [var first, ..] || symbols.Find(stop) is not [var last, ..] || last.Symbol.Value <= first.Symbol.Value
            || !symbols.TryFindSection(first.Symbol.Value, out var holder, out var holderAddress) || !holder.HasContents)
        {
            return ([], 0);
        }

        var data = holder.Data.Span;
        var offset = first.Symbol.Value - holderAddress;
        var length = last.Symbol.Value - first.Symbol.Value;
        return offset + length <= (ulong)data.Length ? (data.Slice((int)offset, (int)length).ToArray(), first.Symbol.Value) : ([], 0);
    }

    private static ulong Relative(ReadOnlySpan<byte> table, ulong tableAddress, int at) =>
        tableAddress + (ulong)at + (ulong)(long)BinaryPrimitives.ReadInt32LittleEndian(table[at..]);

    private static ulong Wrap(ulong address, bool isNarrow) => isNarrow ? (uint)address : address;

    private void ReadJumpLabels(ReadOnlySpan<byte> table, ulong address, int word, Func<ulong, bool> isCode)
    {
        var size = word == 8 ? JumpEntry64 : JumpEntry32;
        for (var at = 0; at + size <= table.Length; at += size)
        {
            var (code, target) = (Wrap(Relative(table, address, at), word == 4), Wrap(Relative(table, address, at + 4), word == 4));
            if (!isCode(code) || !isCode(target))
            {
                IsComplete = false;
                return;
            }

            JumpLabels[code] = target;
        }
    }

    private void ReadAlternatives(ReadOnlySpan<byte> table, ulong address, Func<ulong, bool> isCode)
    {
        if (table.IsEmpty)
        {
            return;
        }

        var isNarrow = address >> 32 == 0;
        foreach (var size in (ReadOnlySpan<int>)[12, 14, 13])
        {
            if (table.Length % size == 0 && TryReadAlternatives(table, address, size, isNarrow, isCode))
            {
                return;
            }

            Alternatives.Clear();
        }

        IsComplete = false;
    }

    private bool TryReadAlternatives(ReadOnlySpan<byte> table, ulong address, int size, bool isNarrow, Func<ulong, bool> isCode)
    {
        var lengths = size == 14 ? 12 : 10;
        for (var at = 0; at + size <= table.Length; at += size)
        {
            var original = Wrap(Relative(table, address, at), isNarrow);
            var replacement = Wrap(Relative(table, address, at + 4), isNarrow);
            int length = table[at + lengths], replacementLength = table[at + lengths + 1];
            if (length == 0 || replacementLength > length || !isCode(original) || (replacementLength > 0 && !isCode(replacement)))
            {
                return false;
            }

            if (!Alternatives.TryGetValue(original, out var list))
            {
                Alternatives.Add(original, list = []);
            }

            list.Add(new Alternative(original, length, replacement, replacementLength));
        }

        return true;
    }

    private void ReadFixups(ReadOnlySpan<byte> table, ulong address, Func<ulong, bool> isCode)
    {
        var isNarrow = address >> 32 == 0;
        for (var at = 0; at + ExceptionEntry <= table.Length; at += ExceptionEntry)
        {
            var (code, target) = (Wrap(Relative(table, address, at), isNarrow), Wrap(Relative(table, address, at + 4), isNarrow));
            if (!isCode(code))
            {
                IsComplete = false;
                return;
            }

            Fixups[code] = new ExceptionFixup(target, BinaryPrimitives.ReadInt32LittleEndian(table[(at + 8)..]));
        }
    }

    private void ReadWarnings(ReadOnlySpan<byte> table, ulong address, Func<ulong, bool> isCode)
    {
        var isNarrow = address >> 32 == 0;
        for (var at = 0; at + BugEntry <= table.Length; at += BugEntry)
        {
            // 32-bit kernels have absolute pointers (CONFIG_GENERIC_BUG_RELATIVE_POINTERS is for 64 bits).
            var code = Wrap(Relative(table, address, at), isNarrow);
            code = isNarrow && BinaryPrimitives.ReadUInt32LittleEndian(table[at..]) is var absolute && isCode(absolute) ? absolute : code;
            if (!isCode(code))
            {
                IsComplete = false;
                return;
            }

            if ((BinaryPrimitives.ReadUInt16LittleEndian(table[(at + 10)..]) & BugIsWarning) != 0)
            {
                Warnings.Add(code);
            }
        }
    }
}
