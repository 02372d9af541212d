// What binutils 2.40 prints for `addr2line -a -f -i -e FILE`: which section an address falls into, what happens in relocatable files (an address is an
// offset, tried in each allocated section in turn), where names come from when DWARF has none, and when "??" stands where. Read from
// binutils/addr2line.c, bfd/elf.c and bfd/dwarf2.c of 2.40 and checked line for line in tests. Known to differ, and meant to:
// - clang's DWARF 5: binutils does not read DW_FORM_rnglistx and misses inlined calls; we have them, as llvm-symbolizer does;
// - C++ functions without a linkage name: binutils names the first question after the nearest symbol and later ones after DWARF; we say DWARF;
// - the last byte of a 256-byte block when a range goes on behind it and many units share the block: binutils' index misses it (off by one in
//   its trie) and finds it when asked for that address alone; seen once in 400,000 addresses of a kernel;
// - address 0 of .data..percpu: binutils matches it with any extern variable that has no address; we name the variable that lies there.
using System.Text;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;

namespace KTrace.Symbols;

/// <summary>Answers as binutils' addr2line does, as UTF-8 lines. Not thread-safe; a batch uses several threads inside.</summary>
internal sealed class Addr2Line
{
    private readonly Symbolizer _symbolizer;
    private readonly ElfSymbolTable _symbols;
    private readonly BatchResolver _resolver;
    private readonly BinutilsFunctionFinder _finder;
    private readonly BinutilsUnitHistory _history;
    private readonly ElfSection[] _allocated;
    private readonly bool _is64;
    private VariableIndex? _variables;

    public Addr2Line(ElfFile file)
    {
        _symbolizer = file.IsRelocatable ? new Symbolizer(new RelocatedSections(file, RelocatedSections.OneAfterTheOther(file))) : new Symbolizer(file);
        _symbols = _symbolizer.Symbols;
        _resolver = new BatchResolver(_symbolizer.Sections, _symbolizer.Units, _symbols, shortPaths: false);
        _finder = new BinutilsFunctionFinder(_symbols);
        _history = new BinutilsUnitHistory(_symbolizer.Units);
        _is64 = file.Is64Bit;
        IsRelocatable = file.IsRelocatable;
        _allocated = [.. file.Sections.Where(s => s.IsAllocated)];
    }

    public bool IsRelocatable { get; }

    public Symbolizer Symbolizer => _symbolizer;

    /// <summary>Appends the lines for each address, in order. Returns how many were found.</summary>
    public int Append(ReadOnlySpan<ulong> addresses, ByteBuffer into)
    {
        // Every section that an address may fall into is a question of its own.
        var questions = new GrowingArray<Question>(addresses.Length);
        for (var i = 0; i < addresses.Length; i++)
        {
            foreach (var section in _allocated)
            {
                var start = IsRelocatable ? 0 : section.Address;
                if (addresses[i] >= start && addresses[i] - start < section.Size)
                {
                    questions.Add(new Question { Address = i, Section = section.Index, Offset = addresses[i] - start });
                }
            }
        }

        var places = new ulong[questions.Count];
        for (var i = 0; i < places.Length; i++)
        {
            places[i] = _symbols.AddressOf(_symbols.Sections[questions[i].Section]) + questions[i].Offset;
        }

        var result = _resolver.Resolve(places);
        var found = 0;
        var next = 0;
        for (var i = 0; i < addresses.Length; i++)
        {
            into.Append("0x"u8);
            into.AppendHex(addresses[i], _is64 ? 16 : 8);
            into.Append((byte)'\n');
            var isFound = false;
            for (; next < questions.Count && questions[next].Address == i; next++)
            {
                isFound = isFound || TryAnswer(in questions[next], places[next], result, next, into);
            }

            if (isFound)
            {
                found++;
            }
            else
            {
                into.Append("??\n??:0\n"u8);
            }

            into.FlushIfFull();
        }

        return found;
    }

    private struct Question
    {
        public int Address;
        public int Section;
        public ulong Offset;
    }

    private bool TryAnswer(in Question question, ulong place, BatchResult result, int index, ByteBuffer into)
    {
        var isCode = _symbols.Sections[question.Section].IsExecutable;
        var frames = result.FrameCount(index);
        if (!isCode && TryFindDataSymbol(question.Section, place, out var symbol))
        {
            // An address that is a data symbol's is looked up among variables, and nowhere else in DWARF.
            frames = 0;
            var isVariable = Variables.TryFind(place, _symbols.NameOf(_symbols.At(symbol).NameOffset), out var path, out var line, out var unit);
            _history.AskForVariable(unit);
            if (isVariable)
            {
                AppendFunctionSymbol(in question, into, out _);
                into.AppendClean(Encoding.UTF8.GetBytes(path));
                AppendLine(line, 0, into);
                return true;
            }
        }

        else if (!_history.Ask(result.Unit(index), result.IsByLinesOnly(index), frames > 0))
        {
            frames = 0;
        }

        if (frames == 0)
        {
            if (!_finder.TryFind(question.Section, question.Offset, out var function, out var file))
            {
                return false;
            }

            into.AppendClean(_symbols.NameBytes(_symbols.At(function).NameOffset));
            into.Append((byte)'\n');
            into.AppendClean(file > 0 ? _symbols.NameBytes(_symbols.At(file).NameOffset) : "??"u8);
            into.Append(":?\n"u8);
            return true;
        }

        var discriminator = result.Frame(index, 0).Discriminator;
        for (var i = 0; i < frames; i++)
        {
            ref readonly var frame = ref result.Frame(index, i);
            var fileSymbol = 0;
            if (!frame.Name.IsNone)
            {
                into.AppendClean(_symbolizer.Sections.Bytes(frame.Name));
                into.Append((byte)'\n');
            }
            else if (i == 0)
            {
                AppendFunctionSymbol(in question, into, out fileSymbol);
            }
            else
            {
                into.Append("??\n"u8);
            }

            if (frame.File >= 0)
            {
                into.AppendClean(result.Path(index, frame.File));
            }
            else
            {
                into.AppendClean(fileSymbol > 0 ? _symbols.NameBytes(_symbols.At(fileSymbol).NameOffset) : "??"u8);
            }

            AppendLine(frame.Line, discriminator, into);
        }

        return true;
    }

    private void AppendFunctionSymbol(in Question question, ByteBuffer into, out int file)
    {
        into.AppendClean(_finder.TryFind(question.Section, question.Offset, out var function, out file)
            ? _symbols.NameBytes(_symbols.At(function).NameOffset)
            : "??"u8);
        into.Append((byte)'\n');
    }

    // The discriminator of the innermost row is printed with every frame of the chain.
    private static void AppendLine(int line, int discriminator, ByteBuffer into)
    {
        into.Append((byte)':');
        if (line == 0)
        {
            into.Append("?\n"u8);
            return;
        }

        into.AppendDecimal((uint)line);
        if (discriminator != 0)
        {
            into.Append(" (discriminator "u8);
            into.AppendDecimal((uint)discriminator);
            into.Append((byte)')');
        }

        into.Append((byte)'\n');
    }

    private VariableIndex Variables => _variables ??= new VariableIndex(_symbolizer.Sections, _symbolizer.Units);

    // The last local symbol at that very address, or the first global one.
    private bool TryFindDataSymbol(int section, ulong place, out int symbol)
    {
        symbol = 0;
        for (var i = 1; i < _symbols.Count; i++)
        {
            var raw = _symbols.At(i);
            if (raw.Section == section && raw.Value == place && raw.Type != ElfSymbol.TypeSection)
            {
                symbol = i;
                if (raw.Binding == ElfSymbol.BindingGlobal)
                {
                    break;
                }
            }
        }

        return symbol > 0;
    }
}
