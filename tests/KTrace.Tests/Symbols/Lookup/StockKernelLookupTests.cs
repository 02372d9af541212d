using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Lookup;

/// <summary>Lookups in the stock kernel, compared with gdb and nm.</summary>
public sealed partial class StockKernelLookupTests
{
    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));
    private static readonly Lazy<FunctionLookup> Functions = new(() => new FunctionLookup(Image.Value.Symbolizer, Image.Value.ShortPath));

    [Fact]
    public void An_inlined_function_is_found_at_every_place_that_gdb_finds()
    {
        // gdb takes the lowest instruction of the first range, which may have been moved up before the call; we take the entry that DWARF tells. So the numbers
        // are compared, and the functions around. (gdb leaves out an instance that begins with an instance of another function.)
        string[] names = ["request_irq", "irq_desc_get_chip", "virt_to_head_page", "netif_running"];
        var gdb = Breakpoints(names);
        foreach (var name in names)
        {
            var match = Assert.Single(Functions.Value.Find(name));
            Assert.Equal(match.Places.Length, match.InlineCount + match.EntryCount);
            Assert.Contains($"{name} is inlined at {match.InlineCount} places", match.Describe());
            var theirs = gdb[name].Select(SymbolAt).CountBy(s => s).ToDictionary();
            var ours = match.Places.Select(p => p.Symbol).CountBy(s => s).ToDictionary();
            Assert.All(theirs, t => Assert.True(ours.GetValueOrDefault(t.Key) >= t.Value, $"{name} in {t.Key}: gdb has {t.Value}, we {ours.GetValueOrDefault(t.Key)}"));
            Assert.InRange(match.Places.Length, gdb[name].Count, (gdb[name].Count * 12 / 10) + 1);
        }

        Assert.Equal((27, 27), (gdb["request_irq"].Count, Functions.Value.Find("request_irq").Single().Places.Length));
    }

    [Fact]
    public void At_an_inline_place_the_function_stands_in_the_frames()
    {
        foreach (var place in Functions.Value.Find("request_irq").Single().Places)
        {
            var frames = Image.Value.Symbolizer.Symbolize(place.Address);
            Assert.Contains(frames, f => f.Function == "request_irq" && f.IsInline);
            Assert.Equal(frames[^1].Symbol ?? frames[^1].Function, place.Symbol);
        }
    }

    [Fact]
    public void A_function_of_one_file_is_its_entry_alone()
    {
        var match = Assert.Single(Functions.Value.Find("request_threaded_irq"));
        Assert.Equal((CodePlaceKind.Entry, "kernel/irq/manage.c", null), (Assert.Single(match.Places).Kind, match.File, match.Describe()));
    }

    [Fact]
    public void Clones_are_found_by_their_source_name_and_cold_pieces_are_not_entries()
    {
        var symbols = Nm().ToList();
        var clones = symbols.Select(CloneName.Parse).Where(c => c.IsClone && c.IsEntry).GroupBy(c => c.Source).Take(12).ToList();
        Assert.NotEmpty(clones);
        foreach (var clone in clones)
        {
            var places = Functions.Value.Find(clone.Key).SelectMany(f => f.Places).ToList();
            foreach (var name in clone)
            {
                Assert.Contains(places, p => p.Kind == CodePlaceKind.Clone && p.Symbol == name.Source + name.Suffix && p.Function == name.Source);
            }

            Assert.DoesNotContain(places, p => p.Symbol.Contains(".cold", StringComparison.Ordinal) && p.Kind != CodePlaceKind.Inline);
        }
    }

    [Fact]
    public void A_cold_piece_is_shown_under_its_functions_name_with_the_symbol_beside_it()
    {
        var cold = Image.Value.Symbols.Glob("*.cold").First();
        var frame = Image.Value.Symbolizer.Symbolize(cold.Value + 1)[^1];
        Assert.Equal((cold.Name[..^5], cold.Name, 1ul), (frame.Function, frame.Symbol, frame.Offset));
    }

    [Fact]
    public void Static_functions_of_one_name_are_told_apart_by_their_files()
    {
        var matches = Functions.Value.Find("type_show");
        Assert.Equal(Nm().Count(n => n == "type_show"), matches.Count);
        Assert.Equal(matches.Count, matches.Select(m => m.File).Distinct().Count());
        foreach (var match in matches)
        {
            Assert.Equal(match.Places.AsEnumerable(), Assert.Single(Functions.Value.Find("type_show", match.File)).Places.AsEnumerable());
        }
    }

    [Theory]
    [InlineData("irq_*able", "^irq_.*able$")]
    [InlineData("/^irq_(en|dis)able$/", "^irq_(en|dis)able$")]
    [InlineData("/vector_msi/", "vector_msi")]
    public void A_pattern_finds_the_functions_that_nm_and_grep_find(string pattern, string grep)
    {
        Assert.True(NamePattern.TryParse(pattern, out var parsed, out _));
        var expected = PeerProgram.Run("nm", [StockKernel.Vmlinux]).Split('\n').Select(l => l.Split(' ')).Where(p => p.Length == 3 && p[1] is "T" or "t" or "W" or "w")
            .Select(p => CloneName.Parse(p[2])).Where(c => c.IsEntry && Regex.IsMatch(c.Source, grep)).Select(c => c.Source).Distinct().Order(StringComparer.Ordinal);
        Assert.Equal(expected, Functions.Value.Names(parsed));
    }

    [Fact]
    public void A_misspelt_function_brings_near_functions_and_no_data()
    {
        var near = Functions.Value.Suggest("request_thraeded_irq");
        Assert.Equal("request_threaded_irq", near[0]);
        Assert.DoesNotContain("jiffies_64", Functions.Value.Suggest("jiffies_6"));
    }

    [Theory]
    [InlineData("kernel/irq/manage.c", 2162)]
    [InlineData("kernel/irq/manage.c", 2150)]
    [InlineData("kernel/irq/chip.c", 1)]
    [InlineData("include/linux/interrupt.h", 168)]
    [InlineData("init/main.c", 950)]
    public void A_line_begins_where_gdb_begins_it(string file, int line)
    {
        var match = Assert.Single(Functions.Value.FindLine(file, line));
        Assert.Equal(file, match.File);
        Assert.True(match.Line >= line);
        Assert.Equal(match.Line == line, match.IsExact);
        // gdb's `info line` knows the line that has code; breakpoints on it are where it begins (past a function's prologue when it is the function's first).
        var gdb = Breakpoints([$"{file}:{line}"])[$"{file}:{line}"];
        var ours = match.Places.Select(p => p.Address).ToHashSet();
        var shared = gdb.Count(ours.Contains);
        Assert.True(shared * 10 >= gdb.Count * 8 || gdb.Count == 1, $"gdb has {gdb.Count}, we {ours.Count}, shared {shared}");
        foreach (var place in match.Places)
        {
            Assert.True(Image.Value.Symbolizer.IsCode(place.Address));
        }
    }

    [Fact]
    public void A_line_of_a_file_that_is_not_there_is_found_nowhere() => Assert.Empty(Functions.Value.FindLine("no/such/file.c", 1));

    [Fact]
    public void A_line_behind_all_code_is_found_nowhere() => Assert.Empty(Functions.Value.FindLine("kernel/irq/chip.c", 1_000_000));

    private static string SymbolAt(ulong address) => Image.Value.Symbols.TryFindNearest(address, out KTrace.Symbols.Elf.ElfSymbol symbol) ? symbol.Name : "?";

    private static IEnumerable<string> Nm() =>
        PeerProgram.Run("nm", [StockKernel.Vmlinux]).Split('\n').Select(l => l.Split(' ')).Where(p => p.Length == 3 && p[1] is "T" or "t").Select(p => p[2]);

    private static Dictionary<string, List<ulong>> Breakpoints(IReadOnlyList<string> places)
    {
        var commands = places.SelectMany(p => new[] { "-ex", "echo >>" + p + "\\n", "-ex", "break " + p, "-ex", "info breakpoints", "-ex", "delete" });
        var output = PeerProgram.Run("gdb", ["-batch", "-nx", "-ex", "set breakpoint pending off", "-ex", "set confirm off", .. commands, StockKernel.Vmlinux]);
        return output.Split(">>").Skip(1).ToDictionary(
            part => part[..part.IndexOf('\n')], part => Address().Matches(part).Select(m => ulong.Parse(m.Groups[1].ValueSpan, NumberStyles.HexNumber, CultureInfo.InvariantCulture)).ToList());
    }

    [GeneratedRegex(@"^[0-9.]+ .*y\s+0x([0-9a-f]{16}) in ", RegexOptions.Multiline)]
    private static partial Regex Address();
}
