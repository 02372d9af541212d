using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Tests.Support;

namespace KTrace.Tests.Fuzz;

/// <summary>ELF files and their debug information.</summary>
internal static class ObjectReaders
{
    private static readonly FuzzMutation[] s_bytes = [Mutation.OfBytes, Mutation.OfBytes, Mutation.OfBytes, Mutation.OfBlocks];

    // Units and DIEs of a program are few; this many questions a case keep damaged ones from taking long.
    private const int MostEntries = 400;

    public static IEnumerable<FuzzReader> All =>
    [
        new("elf", 10, Files, [MutationOfElf.Of, MutationOfElf.Of, Mutation.OfBytes], File, FuzzReader.Malformed) { AllocationLimit = 256 << 20 },
        new("addr2line", 5, Files, [MutationOfElf.Of], Lines, FuzzReader.Malformed) { AllocationLimit = 256 << 20 },
        new("dwarf-names", 14, Objects, s_bytes, Names, FuzzReader.Malformed),
        new("dwarf-batch", 5, Objects, s_bytes, Batch, FuzzReader.Malformed),
        new("dwarf-units", 14, Objects, s_bytes, Units, FuzzReader.Malformed),
        new("dwarf-structures", 6, Objects, s_bytes, Structures, FuzzReader.Malformed),
        new("dwarf-calls", 6, Objects, s_bytes, Calls, FuzzReader.Malformed),
    ];

    private static IReadOnlyList<FuzzSeed> Files(ScratchFolder folder) =>
    [
        FuzzSeed.OfFile("gcc -c zlib", FuzzPrograms.Build("gcc", "-gdwarf-5 -O2 -c -gz=zlib")),
        FuzzSeed.OfFile("gcc program", FuzzPrograms.Build("gcc", "-gdwarf-4 -O2")),
        FuzzSeed.OfFile("gcc -m32 -c", FuzzPrograms.Build("gcc", "-gdwarf-5 -O1 -m32 -fno-pic -c")),
        FuzzSeed.OfFile("clang program", FuzzPrograms.Build("clang-14", "-gdwarf-5 -O2")),
    ];

    internal static IReadOnlyList<FuzzSeed> Objects(ScratchFolder folder) =>
    [
        FuzzPrograms.Sections(folder, "gcc", "-gdwarf-5 -O2"),
        FuzzPrograms.Sections(folder, "gcc", "-gdwarf-4 -O2"),
        FuzzPrograms.Sections(folder, "clang-14", "-gdwarf-5 -O2"),
        FuzzPrograms.Sections(folder, "gcc", "-gdwarf-5 -O2 -ffunction-sections -gdescribe-dies -m32"),
        FuzzPrograms.Sections(folder, "gcc", "-gdwarf-5 -O2 -c"),
        FuzzPrograms.Sections(folder, "clang-14", "-gdwarf-4 -O1 -c"),
        FuzzPrograms.Sections(folder, "gcc", "-gdwarf-5 -gdwarf64 -O2"),
    ];

    private static void File(FuzzCase c)
    {
        var file = ElfFile.Open(c.FilePath);
        foreach (var section in file.Sections)
        {
            c.Ask(() =>
            {
                var data = section.Data;
                _ = data.IsEmpty ? 0 : data.Span[0] + data.Span[^1];
            });
        }

        c.Ask(() => _ = file.BuildId);
        c.Ask(() =>
        {
            var table = new ElfSymbolTable(file);
            ulong last = 0;
            foreach (var symbol in table.All.Take(2000))
            {
                last = symbol.Value + (ulong)symbol.Name.Length;
                table.TryFindNearest(symbol.Value + 1, out ElfSymbol _);
                table.TryFindSection(symbol.Value, out _, out _);
            }

            table.TryFindNearest(last, out ElfSymbol _);
            table.TryFindNearest(ulong.MaxValue, out ElfSymbol _);
            _ = table.Find("main").Count + table.Find("main.c:work").Count + table.Glob("*o*").Count() + table.Suggest("mian").Count;
        });
        if (file.IsRelocatable)
        {
            c.Ask(() =>
            {
                var relocated = new RelocatedSections(file, RelocatedSections.OneAfterTheOther(file));
                foreach (var section in file.Sections)
                {
                    c.Ask(() => _ = relocated.GetSection(section.Name).Length);
                }

                _ = relocated.Symbols.Find("main");
            });
        }
    }

    private static void Lines(FuzzCase c)
    {
        var file = ElfFile.Open(c.FilePath);
        new Addr2Line(file).Append([0, 1, 0x10, 0x40, 0x401000, 0x1040, 0x1180, 0x11c0, ulong.MaxValue], new ByteBuffer());
        c.Ask(() => { });
    }

    private static Symbolizer Open(FuzzCase c, out FuzzObject about)
    {
        about = (FuzzObject)c.Seed.Context!;
        return new Symbolizer(c.Sections(about.File.AddressSize), about.Symbols);
    }

    private static void Names(FuzzCase c)
    {
        var symbolizer = Open(c, out var about);
        foreach (var address in about.Addresses)
        {
            // Damage costs lines and inlined calls, never an answer: the symbol table is intact.
            Assert.NotEmpty(symbolizer.Symbolize(address));
            Assert.NotEmpty(symbolizer.SymbolizeWithFullPaths(address));
            symbolizer.FindFunctionAt(address);
        }

        foreach (var name in (string[])["main", "signature", "main.c:helper", "work"])
        {
            symbolizer.FindFunctions(name);
        }

        c.Ask(() => { });
    }

    private static void Batch(FuzzCase c)
    {
        var symbolizer = Open(c, out var about);
        var result = new BatchResolver(symbolizer.Sections, symbolizer.Units, about.Symbols, shortPaths: c.Number % 2 == 0).Resolve(about.Addresses);
        for (var i = 0; i < about.Addresses.Length; i++)
        {
            for (var j = 0; j < result.FrameCount(i); j++)
            {
                ref readonly var frame = ref result.Frame(i, j);
                if (!frame.Name.IsNone)
                {
                    symbolizer.TextOf(frame.Name);
                }

                if (frame.File >= 0)
                {
                    result.Path(i, frame.File);
                }
            }
        }

        c.Ask(() => { });
    }

    private static void Units(FuzzCase c)
    {
        var symbolizer = Open(c, out var about);
        var (sections, index) = (symbolizer.Sections, symbolizer.Units);
        var finder = new UnitFinder(sections, index);
        var lines = new LineTable();
        var functions = new FunctionIndex();
        var inlines = new InlineTree();
        foreach (var offset in index.UnitOffsets.ToArray().Take(20))
        {
            c.Ask(() =>
            {
                var unit = new Unit(sections, finder.Find);
                unit.Load(offset, new GrowingArray<AddressRange>());
                c.Ask(() =>
                {
                    lines.Load(unit);
                    foreach (var address in about.Addresses)
                    {
                        if (lines.TryFind(address, out var row))
                        {
                            lines.Header.Path(row.File, shortForm: c.Number % 2 == 0);
                        }
                    }
                });
                foreach (var deep in (bool[])[false, true])
                {
                    c.Ask(() =>
                    {
                        functions.Load(unit, deep);
                        for (var i = 0; i < Math.Min(functions.Count, MostEntries); i++)
                        {
                            var piece = functions[i];
                            c.Ask(() =>
                            {
                                inlines.Load(unit, piece.Entry, []);
                                _ = inlines.LowOf(inlines.Innermost(piece.Low), piece.Low);
                            });
                            c.Ask(() => sections.Text(unit.FunctionName(piece.Entry)));
                        }
                    });
                }

                foreach (var entry in Entries(unit))
                {
                    c.Ask(() => DieFacts.TryReadWithOrigin(unit, entry, out _));
                    c.Ask(() => TypeNames.Describe(unit, entry));
                    c.Ask(() => ValueShape.Of(unit, entry));
                }
            });
        }

        var variables = new VariableIndex(sections, index);
        c.Ask(() => variables.TryFind(about.Addresses[0], "counter", out _, out _, out _));
        c.Ask(() => index.FindByLines(about.Addresses[^1] + 1, 0));
    }

    // Every DIE's offset, attributes read and skipped in turns.
    private static unsafe List<int> Entries(Unit unit)
    {
        var entries = new List<int>();
        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            try
            {
                var reader = new DieReader(unit, bytes, unit.Header.FirstEntry);
                while (!reader.AtEnd && entries.Count < MostEntries)
                {
                    if (!reader.ReadEntry())
                    {
                        continue;
                    }

                    entries.Add(reader.EntryOffset);
                    for (var i = 0; i < reader.AttributeCount; i++)
                    {
                        ref readonly var attribute = ref reader.Attribute(i);
                        if (AttributeForm.IsConstant(attribute.Form))
                        {
                            reader.ReadNumber(in attribute);
                        }
                        else if (AttributeForm.IsReference(attribute.Form))
                        {
                            reader.ReadReference(in attribute);
                        }
                        else if (AttributeForm.IsBlock(attribute.Form))
                        {
                            reader.ReadBlock(in attribute);
                        }
                        else
                        {
                            reader.Skip(in attribute);
                        }
                    }
                }
            }
            catch (MalformedFileException)
            {
                // The DIEs up to the damage are asked about all the same.
            }
        }

        return entries;
    }

    private static void Structures(FuzzCase c)
    {
        var symbolizer = Open(c, out var about);
        var layouts = new StructLayouts(new ObjectTypes(null, symbolizer, 8));
        foreach (var path in (string[])["inner.high", "table[2]", "name", "flag", "tail", "no.such", "inner"])
        {
            c.Ask(() => layouts.TryFindMember("outer", path, out _));
        }

        c.Ask(() => layouts.TryGetSize("inner", out _));
    }

    private static void Calls(FuzzCase c)
    {
        var symbolizer = Open(c, out var about);
        var calls = new CallSites(symbolizer);
        foreach (var address in about.Addresses)
        {
            c.Ask(() =>
            {
                if (calls.TryFindFunction(address, out var function))
                {
                    foreach (var site in calls.Of(in function).Sites)
                    {
                        calls.TargetOf(in site);
                    }
                }
            });
        }
    }
}
