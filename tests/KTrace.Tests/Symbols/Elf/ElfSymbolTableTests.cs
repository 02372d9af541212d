using KTrace.Symbols;
using KTrace.Symbols.Elf;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Elf;

public sealed class ElfSymbolTableTests : IDisposable
{
    private const int Function = 2, Label = 0, Object = 1, Local = 0, Global = 1, Weak = 2;

    private readonly ScratchFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData(0x1000, "first")]
    [InlineData(0x100f, "first")]
    [InlineData(0x1018, "first")] // padding behind it: still the nearest
    [InlineData(0x1020, "second")]
    [InlineData(0x1028, "inner")] // a label inside, as the kernel names assembly
    [InlineData(0x1045, "outer")] // behind a nested sized function: the one whose range holds the address
    [InlineData(0x1037, "nested")]
    public void The_nearest_symbol_whose_range_reaches_the_address_names_it(ulong address, string expected)
    {
        var elf = new ElfBuilder();
        elf.AddCode(".text", 0x1000, 0x100);
        elf.AddSymbol("first", 0x1000, 0x10)
            .AddSymbol("second", 0x1020, 0x10)
            .AddSymbol("inner", 0x1028, 0, type: Label, binding: Local)
            .AddSymbol("outer", 0x1030, 0x40)
            .AddSymbol("nested", 0x1034, 0x8);
        AssertNames(elf, address, expected);
    }

    [Theory]
    [InlineData("a", Function, Local, 8, "b", Function, Global, 8, "b")] // global before local
    [InlineData("a", Function, Weak, 8, "b", Function, Global, 8, "b")] // global before weak
    [InlineData("a", Function, Local, 8, "b", Function, Weak, 8, "b")] // weak before local
    [InlineData("a", Label, Global, 8, "b", Function, Local, 8, "b")] // function before label
    [InlineData("a", Label, Global, 0, "b", Label, Local, 8, "b")] // a range that holds it before one of no size
    [InlineData("__a", Function, Global, 8, "a", Function, Global, 8, "a")] // fewer underscores
    [InlineData("a", Function, Global, 8, "b", Function, Global, 8, "a")] // else the first in the file
    public void Of_symbols_at_one_address_the_better_one_wins(
        string one, int oneType, int oneBinding, ulong oneSize, string other, int otherType, int otherBinding, ulong otherSize, string expected)
    {
        var elf = new ElfBuilder();
        elf.AddCode(".text", 0x1000, 0x100);
        elf.AddSymbol(one, 0x1000, oneSize, type: oneType, binding: oneBinding).AddSymbol(other, 0x1000, otherSize, type: otherType, binding: otherBinding);
        AssertNames(elf, 0x1004, expected);
    }

    [Fact]
    public void Section_file_absolute_undefined_mapping_and_data_symbols_name_no_code()
    {
        var elf = new ElfBuilder();
        elf.AddCode(".text", 0x1000, 0x100);
        elf.AddFile("f.c")
            .AddSymbol("real", 0x1000, 0x10)
            .AddSymbol("", 0x1018, 0, type: 3, binding: Local)
            .AddSymbol("absolute", 0x1018, 0, section: 0xfff1, type: Label)
            .AddSymbol("undefined", 0x1018, 0, section: 0, type: Label)
            .AddSymbol("$x", 0x1018, 0, type: Label, binding: Local)
            .AddSymbol(".Ltmp", 0x1018, 0, type: Label, binding: Local)
            .AddSymbol("table", 0x1018, 4, type: Object);
        AssertNames(elf, 0x1020, "real");
    }

    [Fact]
    public void Padding_symbols_name_only_the_padding()
    {
        var elf = new ElfBuilder();
        elf.AddCode(".text", 0x1000, 0x100);
        elf.AddSymbol("before", 0x1000, 0x8).AddSymbol("__pfx_gone", 0x1010, 0x10).AddSymbol("__pfx_real", 0x1030, 0x10).AddSymbol("real", 0x1040, 0x10);
        AssertNames(elf, 0x1028, "before");
        AssertNames(elf, 0x1038, "__pfx_real");
        AssertNames(elf, 0x1040, "real");
    }

    [Fact]
    public void An_address_outside_every_section_or_before_the_first_symbol_has_no_name()
    {
        var elf = new ElfBuilder();
        elf.AddCode(".text", 0x1000, 0x100);
        elf.AddCode(".init.text", 0x3000, 0x100);
        elf.AddSymbol("only", 0x1010, 0x10);
        var table = Open(elf);
        for (var round = 0; round < 10; round++)
        {
            Assert.False(table.TryFindNearest(0x1008, out ElfSymbol _));
            Assert.False(table.TryFindNearest(0x2000, out ElfSymbol _));
            Assert.False(table.TryFindNearest(0x3010, out ElfSymbol _));
        }
    }

    [Fact]
    public void Functions_of_one_name_are_told_apart_by_their_files()
    {
        var elf = new ElfBuilder();
        elf.AddCode(".text", 0x1000, 0x100);
        elf.AddFile("one.c").AddSymbol("probe", 0x1000, 8, binding: Local)
            .AddFile("two.c").AddSymbol("probe", 0x1010, 8, binding: Local)
            .AddSymbol("shared", 0x1020, 8);
        var table = Open(elf);
        Assert.Equal([("one.c", 0x1000UL), ("two.c", 0x1010UL)], table.Find("probe").Select(m => (m.SourceFile!, m.Symbol.Value)));
        Assert.Equal(0x1010UL, Assert.Single(table.Find("two.c:probe")).Symbol.Value);
        Assert.Equal(0x1010UL, Assert.Single(table.Find("drivers/net/two.c:probe")).Symbol.Value);
        Assert.Empty(table.Find("three.c:probe"));
        Assert.Null(Assert.Single(table.Find("shared")).SourceFile);
        Assert.Empty(table.Find("prob"));
        Assert.Empty(table.Find(""));
    }

    [Fact]
    public void Misspelt_names_get_suggestions_the_most_alike_first()
    {
        var elf = new ElfBuilder();
        elf.AddCode(".text", 0x1000, 0x100);
        elf.AddSymbol("x86_vector_msi_compose_msg", 0x1000).AddSymbol("request_threaded_irq", 0x1010).AddSymbol("request_threaded_irqs", 0x1020)
            .AddSymbol("unrelated", 0x1030);
        var table = Open(elf);
        Assert.Equal(["request_threaded_irq", "request_threaded_irqs"], table.Suggest("request_treaded_irq"));
        Assert.Equal(["request_threaded_irq", "request_threaded_irqs"], table.Suggest("request_threadde_irq"));
        Assert.Equal(["x86_vector_msi_compose_msg"], table.Suggest("msi_compose_msg"));
        Assert.Empty(table.Suggest("nothing_like_it"));
    }

    [Theory]
    [InlineData("e1000_*", "e1000_open e1000_close")]
    [InlineData("*_open", "e1000_open igb_open")]
    [InlineData("e1000?open", "e1000_open")]
    [InlineData("*", "e1000_open e1000_close igb_open")]
    [InlineData("open", "")]
    public void Globs_match_whole_names(string pattern, string expected)
    {
        var elf = new ElfBuilder();
        elf.AddCode(".text", 0x1000, 0x100);
        elf.AddSymbol("e1000_open", 0x1000).AddSymbol("e1000_close", 0x1010).AddSymbol("igb_open", 0x1020);
        Assert.Equal(expected, string.Join(' ', Open(elf).Glob(pattern).Select(s => s.Name)));
    }

    [Fact]
    public void A_32_bit_table_reads_the_same()
    {
        var elf = new ElfBuilder(is64: false, machine: 3);
        elf.AddCode(".text", 0xc1000000, 0x100);
        elf.AddFile("k.c").AddSymbol("start", 0xc1000000, 0x20, binding: Local).AddSymbol("next", 0xc1000020, 0x10);
        AssertNames(elf, 0xc100001f, "start");
        AssertNames(elf, 0xc1000020, "next");
        Assert.Equal(["k.c", "start", "next"], Open(elf).All.Select(s => s.Name));
    }

    [Fact]
    public void A_section_index_beyond_16_bits_comes_from_the_extended_table()
    {
        var elf = new ElfBuilder();
        elf.AddCode(".text", 0x1000, 0x100);
        elf.AddSymbol("far", 0x1000, 8, section: 0x12345).AddSymbol("near", 0x1008, 8);
        Assert.Equal([0x12345, 1], Open(elf).All.Select(s => s.SectionIndex));
    }

    [Fact]
    public void A_name_outside_the_string_table_costs_that_symbol_only()
    {
        var elf = new ElfBuilder();
        elf.AddCode(".text", 0x1000, 0x100);
        elf.AddSymbol("good", 0x1000, 8).AddSymbol("bad", 0x1010, 8);
        var bytes = elf.Build();
        var at = bytes.AsSpan().IndexOf("\u0006\u0000\u0000\u0000\u0012"u8);
        Assert.True(at > 0);
        bytes[at + 3] = 0x7f;
        File.WriteAllBytes(_folder.File("bad"), bytes);
        Assert.Equal(["good", ""], new ElfSymbolTable(ElfFile.Open(_folder.File("bad"))).All.Select(s => s.Name));
    }

    [Fact]
    public void Symbols_of_the_stock_kernel_are_all_there()
    {
        var table = new ElfSymbolTable(ElfFile.Open(StockKernel.Vmlinux));
        var expected = PeerProgram.Run("nm", ["--defined-only", "--format=bsd", StockKernel.Vmlinux]).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var mine = table.All.Where(s => s.Type is 0 or 1 or 2 or 10 && s.SectionIndex != 0).Select(s => $"{s.Value:x16} {s.Name}").Order(StringComparer.Ordinal);
        Assert.Equal(expected.Select(l => l[..16] + l[18..]).Order(StringComparer.Ordinal), mine);
    }

    // Asked often enough that the index by address answers as well as the scan before it.
    private void AssertNames(ElfBuilder elf, ulong address, string expected)
    {
        var table = Open(elf);
        for (var round = 0; round < 10; round++)
        {
            Assert.True(table.TryFindNearest(address, out ElfSymbol symbol));
            Assert.Equal(expected, symbol.Name);
        }
    }

    private ElfSymbolTable Open(ElfBuilder elf) => new(ElfFile.Open(elf.Write(_folder)));
}
