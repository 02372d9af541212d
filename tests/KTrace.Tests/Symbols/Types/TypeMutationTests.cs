using System.Diagnostics;
using KTrace.Symbols;
using KTrace.Symbols.Btf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Types;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Types;

/// <summary>Real files with seeded damage: questions are answered somehow or refused as malformed, and soon.</summary>
public sealed class TypeMutationTests : IDisposable
{
    private const int Rounds = 2000;
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(4);

    private readonly ScratchFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("gcc", "-gdwarf-5 -O1")]
    [InlineData("gcc", "-gdwarf-4 -O0")]
    [InlineData("clang-14", "-gdwarf-5 -O1")]
    public void Damaged_dwarf_costs_types_and_never_the_reader(string compiler, string options)
    {
        var file = ElfFile.Open(TypeProgram.Compile(_folder, compiler, options));
        var symbols = new ElfSymbolTable(file);
        var names = file.Sections.Select(s => s.Name).Where(n => n.StartsWith(".debug_", StringComparison.Ordinal)).Distinct().ToArray();
        // Types stand in these.
        string[] victims = [.. names.Where(n => n is ".debug_info" or ".debug_abbrev" or ".debug_str" or ".debug_str_offsets")];
        var random = new Random(5);
        var clock = Stopwatch.StartNew();
        for (var round = 0; round < Rounds; round++)
        {
            var sections = new SyntheticSections();
            var victim = victims[round % victims.Length];
            foreach (var name in names)
            {
                var bytes = file.GetSection(name).Span.ToArray();
                sections[name] = name == victim ? Mutation.OfBytes(bytes, random) : bytes;
            }

            Ask(new ObjectTypes(null, new Symbolizer(sections, symbols), 8));
            Assert.True(clock.Elapsed < Limit, $"round {round}, {victim}");
        }
    }

    [Fact]
    public void Damaged_btf_costs_types_and_never_the_reader()
    {
        var module = ElfFile.Open(StockKernel.Module("e1000e")).GetSection(".BTF");
        var program = TypeProgram.Compile(_folder, "gcc", "-gdwarf-4 -O0");
        PeerProgram.Run("pahole", ["-J", program]);
        var original = ElfFile.Open(program).GetSection(".BTF").Span.ToArray();
        var random = new Random(6);
        var clock = Stopwatch.StartNew();
        var opened = 0;
        for (var round = 0; round < Rounds; round++)
        {
            var sections = new SyntheticSections { [".BTF"] = Mutation.OfBytes(original, random) };
            Ask(new ObjectTypes(sections, null, 8));
            try
            {
                var types = new BtfTypes(BtfFile.Open(sections.GetSection(".BTF")));
                opened++;
                for (var id = -1; id < 400; id++)
                {
                    Look(types.TypeOf(id));
                }

                Look(new BtfTypes(BtfFile.Open(module, BtfFile.Open(sections.GetSection(".BTF")))).TypeOf(300));
            }
            catch (MalformedFileException e)
            {
                Assert.NotEmpty(e.What);
            }

            Assert.True(clock.Elapsed < Limit, $"round {round}");
        }

        Assert.True(opened > Rounds / 4, $"{opened} opened");
    }

    private static void Ask(ObjectTypes types)
    {
        foreach (var name in new[] { "outer", "unnamed", "pointers", "list", "bits" })
        {
            Look(types.FindType(TypeTag.Struct, name));
        }

        Look(types.FindType(TypeTag.Enum, "wide"));
        Look(types.FindType(TypeTag.Ordinary, "u64"));
        Look(types.FindVariable("table")?.Type);
        Look(types.FindVariable("main.c:same")?.Type);
        Look(types.FindFunction("work")?.Type);
        Look(types.FindEnumerator("GREEN")?.Type);
        types.SuggestTypes("outre", 3);
        TypeNameParser.Parse("struct pointers *(*)(union either)", types, out _);
    }

    private static void Look(CType? type)
    {
        if (type is null)
        {
            return;
        }

        Assert.True(type.Size >= 0);
        Assert.True(TypeListing.Of(type, expands: true).Length < 20_000_000);
        Assert.True(TypeListing.Declare(new Variable("x", type, 0)).Length < 1_000_000);
        StructLayouts.TryFind(type, "inner.x", out _);
    }
}
