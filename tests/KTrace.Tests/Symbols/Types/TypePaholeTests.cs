using KTrace.Symbols.Elf;
using KTrace.Symbols.Types;
using KTrace.Tests.Support;
using Xunit.Abstractions;

namespace KTrace.Tests.Symbols.Types;

/// <summary>Listings beside pahole's, text for text.</summary>
public sealed class TypePaholeTests(ITestOutputHelper output) : IDisposable
{
    private readonly ScratchFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Every_structure_in_the_stock_kernels_btf_is_printed_as_pahole_prints_it() =>
        Compare(ObjectTypes.Open(ElfFile.Open(StockKernel.Vmlinux), useDwarf: false), PaholeText.Structures("-F", "btf", StockKernel.Vmlinux), atLeast: 7000);

    [Fact]
    public void Structures_of_a_modules_split_btf_are_printed_as_pahole_prints_them()
    {
        var kernel = ObjectTypes.Open(ElfFile.Open(StockKernel.Vmlinux), useDwarf: false);
        var path = StockKernel.Module("e1000e");
        Compare(ObjectTypes.Open(ElfFile.Open(path), kernel, useDwarf: false), PaholeText.Structures("-F", "btf", "--btf_base", StockKernel.Vmlinux, path), atLeast: 10);
    }

    [Fact]
    public void Structures_of_a_modules_dwarf_are_printed_as_pahole_prints_them()
    {
        var path = StockKernel.DebugModule("e1000e");
        Compare(ObjectTypes.Open(ElfFile.Open(path), useBtf: false), PaholeText.Structures("-F", "dwarf", path), atLeast: 500);
    }

    [Theory]
    [InlineData("gcc", "-gdwarf-4 -O0")]
    [InlineData("gcc", "-gdwarf-5 -O0")]
    [InlineData("gcc", "-gdwarf-5 -O1")]
    [InlineData("gcc", "-gdwarf-4 -O2 -gno-strict-dwarf")]
    [InlineData("gcc", "-gdwarf-3 -O2 -gstrict-dwarf")]
    [InlineData("gcc", "-gdwarf-2 -O2 -gstrict-dwarf")]
    [InlineData("gcc", "-gdwarf-5 -O2 -m32")]
    [InlineData("clang-14", "-gdwarf-4 -O0")]
    [InlineData("clang-14", "-gdwarf-5 -O1")]
    [InlineData("clang-14", "-gdwarf-5 -O2")]
    [InlineData("clang-14", "-gdwarf-4 -O2 -m32")]
    public void Structures_of_a_compiled_program_are_printed_as_pahole_prints_them(string compiler, string options)
    {
        var program = TypeProgram.Compile(_folder, compiler, options);
        var types = ObjectTypes.Open(ElfFile.Open(program));
        Compare(types, PaholeText.Structures("-F", "dwarf", program), atLeast: 8, compiler);
    }

    private void Compare(ITypeSource types, IReadOnlyList<(string Name, string Text)> expected, int atLeast, string compiler = "")
    {
        var unequal = 0;
        var different = new List<string>();
        var compared = 0;
        // Of several of one name (in different files, or one of them private to a file) either may be meant.
        foreach (var of in expected.GroupBy(e => e.Name))
        {
            var type = types.FindType(TypeTag.Struct, of.Key);
            Assert.True(type is StructType { IsIncomplete: false }, $"struct {of.Key} is not there");
            var actual = PaholeText.Normalize(TypeListing.Of(type));
            compared++;
            // clang writes types without a name inside the structure that uses them, and pahole prints such a one twice.
            var isRepeated = of.Key == "unnamed" && compiler.StartsWith("clang", StringComparison.Ordinal);
            if (of.All(e => e.Text != actual) && !isRepeated && ++unequal > 0 && !of.Any(e => PaholeText.IsExplained(actual, e.Text)))
            {
                different.Add($"{actual}\n--- pahole:\n{of.First().Text}");
            }
        }

        output.WriteLine($"{compared} structures compared, {unequal} are not equal, {different.Count} of them for reasons not known");
        Assert.True(unequal < 3 + (compared / 100), $"{unequal} of {compared} are not equal");
        Assert.True(different.Count == 0, $"{different.Count} of {compared} differ:\n{string.Join("\n\n", different.Take(12))}");
        Assert.True(compared >= atLeast, $"{compared} compared");
    }
}
