using System.Diagnostics;
using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Dwarf;

/// <summary>Real files with seeded damage: the symbolizer answers, whatever it answers; the rest throws MalformedFileException and nothing else; time is bounded.</summary>
public sealed class MutationTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    [Theory]
    [InlineData("-gdwarf-5 -O2")]
    [InlineData("-gdwarf-4 -O2")]
    [InlineData("-gdwarf-5 -O2 -ffunction-sections -gdescribe-dies")]
    [InlineData("-gdwarf-5 -O2 -c")]
    public void Damaged_debug_sections_never_stop_the_symbolizer(string options)
    {
        using var folder = new ScratchFolder();
        var file = ElfFile.Open(CompiledProgram.Build(folder, "gcc", options));
        var relocated = file.IsRelocatable ? new RelocatedSections(file, RelocatedSections.OneAfterTheOther(file)) : null;
        ISectionSource source = relocated is null ? file : relocated;
        var symbols = relocated?.Symbols ?? new ElfSymbolTable(file);
        var addresses = symbols.All.Where(s => s.IsFunction && s.Size > 0).SelectMany(s => new[] { s.Value, s.Value + (s.Size / 2), s.Value + s.Size }).ToArray();
        var names = file.Sections.Select(s => s.Name).Where(n => n.StartsWith(".debug_", StringComparison.Ordinal)).Distinct().ToArray();
        var random = new Random(99);
        var started = Stopwatch.StartNew();
        for (var round = 0; round < 1000; round++)
        {
            var damaged = new SyntheticSections(file.AddressSize);
            var victim = names[random.Next(names.Length)];
            foreach (var name in names)
            {
                var bytes = source.GetSection(name).Span.ToArray();
                damaged[name] = name == victim ? Mutation.Apply(bytes, random) : bytes;
            }

            var symbolizer = new Symbolizer(damaged, symbols);
            foreach (var address in addresses)
            {
                Assert.NotEmpty(symbolizer.Symbolize(address));
            }

            new BatchResolver(symbolizer.Sections, symbolizer.Units, symbols, shortPaths: false).Resolve(addresses);
            symbolizer.FindFunctions("signature");
            new StructLayouts(new ObjectTypes(null, symbolizer, file.AddressSize)).TryFindMember("outer", "inner.high", out _);
            Assert.True(started.Elapsed < Limit * 6, $"round {round}, {victim}");
        }
    }

    [Fact]
    public void Damaged_files_throw_only_what_is_declared()
    {
        using var folder = new ScratchFolder();
        var original = File.ReadAllBytes(CompiledProgram.Build(folder, "gcc", "-gdwarf-5 -O2 -c -gz=zlib"));
        var random = new Random(7);
        var path = folder.File("damaged");
        for (var round = 0; round < 2000; round++)
        {
            File.WriteAllBytes(path, Mutation.Apply([.. original], random, headersToo: round % 2 == 0));
            try
            {
                var file = ElfFile.Open(path);
                var output = new ByteBuffer();
                new Addr2Line(file).Append([0, 1, 0x10, 0x40], output);
                var table = new ElfSymbolTable(file);
                _ = table.All.Count();
                _ = table.Find("main");
                _ = table.Suggest("mian");
            }
            catch (MalformedFileException e)
            {
                Assert.NotEmpty(e.What);
            }
        }
    }
}
