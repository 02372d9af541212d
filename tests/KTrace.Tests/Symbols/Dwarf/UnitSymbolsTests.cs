using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Dwarf;

/// <summary>Functions, inlined calls and how units are found, on units written by hand.</summary>
public sealed class UnitSymbolsTests
{
    [Fact]
    public void Inlined_calls_come_innermost_first_through_lexical_blocks()
    {
        var (callee, middle) = (Abstract("callee"), Abstract("middle"));
        var function = Function("outer", 0x1000, 0x100)
            .Add(Inlined(middle, 0x1010, 0x40, 1, 20)
                .Add(new DieSketch(DwTag.LexicalBlock)
                    .Add(Inlined(callee, 0x1020, 0x10, 2, 30))));
        var frames = Resolve(0x1025, callee, middle, function);
        Assert.Equal(["callee:b.h:5", "middle:b.h:30", "outer:a.c:20"], frames.Select(Describe));
        Assert.Equal([5UL, 0x15, 0x25], frames.Select(f => f.Offset));
        Assert.Equal([true, true, false], frames.Select(f => f.IsInline));
        Assert.Equal(["middle:b.h:5", "outer:a.c:20"], Resolve(0x1015, callee, middle, function).Select(Describe));
        Assert.Equal(["outer:b.h:5"], Resolve(0x1005, callee, middle, function).Select(Describe));
    }

    [Fact]
    public void An_inlined_call_in_several_pieces_is_found_in_each()
    {
        var callee = Abstract("callee");
        var function = Function("outer", 0x1000, 0x100)
            .Add(new DieSketch(DwTag.InlinedSubroutine).With(DwAt.AbstractOrigin, DwForm.Ref4, callee).With(DwAt.Ranges, DwForm.SecOffset, 0).With(DwAt.CallLine, DwForm.Data1, 7));
        var lists = new ByteWriter().U8(DwRle.StartEnd).U64(0x1010).U64(0x1014).U8(DwRle.StartEnd).U64(0x1080).U64(0x1084).U8(0).ToArray();
        foreach (var (address, count) in new[] { (0x1012UL, 2), (0x1020UL, 1), (0x1083UL, 2), (0x1084UL, 1) })
        {
            Assert.Equal(count, Resolve(address, s => s[".debug_rnglists"] = lists, callee, function).Count);
        }
    }

    [Fact]
    public void A_function_of_another_function_is_found_when_a_symbol_says_that_there_is_one()
    {
        // GNU C's nested functions: the code lies outside the parent's.
        var parent = Function("parent", 0x1000, 0x10).Add(Function("nested", 0x1050, 0x10));
        Assert.Equal("nested", Assert.Single(Resolve(0x1055, _ => { }, [("nested", 0x1050, 0x10)], parent)).Function);
    }

    [Fact]
    public void A_clone_keeps_its_suffix_and_an_alias_gives_way_to_the_source()
    {
        var function = Function("work", 0x1000, 0x20);
        var clone = Assert.Single(Resolve(0x1004, _ => { }, [("work.isra.0", 0x1000, 0x20)], function));
        Assert.Equal(("work", "work.isra.0"), (clone.Function, clone.Symbol));
        Assert.Equal("work", Assert.Single(Resolve(0x1004, _ => { }, [("__x64_work", 0x1000, 0x20)], function)).Function);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_unit_is_found_with_and_without_aranges(bool withAranges)
    {
        var frames = Resolve(0x1004, s => s[".debug_aranges"] = withAranges ? ArangesOf(0, 0x1000, 0x100) : [], Function("f", 0x1000, 0x20));
        Assert.Equal("f:b.h:5", Describe(Assert.Single(frames)));
    }

    [Fact]
    public void Damaged_aranges_cost_nothing_but_time()
    {
        var frames = Resolve(0x1004, s => s[".debug_aranges"] = [.. Enumerable.Repeat((byte)0xff, 64)], Function("f", 0x1000, 0x20));
        Assert.Equal("f", Assert.Single(frames).Function);
    }

    [Fact]
    public void A_damaged_unit_costs_its_own_addresses_only()
    {
        var builder = new DwarfBuilder();
        var bad = new DieSketch(DwTag.CompileUnit).With(DwAt.LowPc, DwForm.Addr, 0x1000).With(DwAt.HighPc, DwForm.Data4, 0x100);
        var loop = Function("bad", 0x1000, 0x20);
        loop.With(DwAt.Sibling, DwForm.Ref4, loop).Add(new DieSketch(DwTag.Variable));
        builder.AddUnit(bad.Add(loop));
        builder.AddUnit(new DieSketch(DwTag.CompileUnit).With(DwAt.LowPc, DwForm.Addr, 0x2000).With(DwAt.HighPc, DwForm.Data4, 0x100).Add(Function("good", 0x2000, 0x20)));
        var symbolizer = Symbolizer(builder.Build(), [("bad_symbol", 0x1000, 0x20)]);
        Assert.Equal("bad_symbol", Assert.Single(symbolizer.Symbolize(0x1004)).Function);
        Assert.Equal("good", Assert.Single(symbolizer.Symbolize(0x2004)).Function);
    }

    [Fact]
    public void Functions_and_names_survive_a_damaged_line_table()
    {
        var frame = Assert.Single(Resolve(0x1004, s => s[".debug_line"] = [1, 2, 3], Function("f", 0x1000, 0x20)));
        Assert.Equal(("f", null), (frame.Function, frame.Source));
    }

    [Fact]
    public void An_address_that_nothing_covers_gives_one_frame_that_says_so()
    {
        var frame = Assert.Single(Resolve(0x9999, Function("f", 0x1000, 0x20)));
        Assert.Equal(("0x9999", null), (frame.Function, frame.Source));
    }

    [Fact]
    public void A_batch_says_the_same_as_one_at_a_time()
    {
        var (callee, function) = (Abstract("callee"), Function("outer", 0x1000, 0x80));
        function.Add(Inlined(callee, 0x1010, 0x20, 1, 20), Inlined(callee, 0x1040, 0x20, 1, 21));
        var symbolizer = Build(_ => { }, [], callee, function);
        var addresses = Enumerable.Range(0xff8, 0x100).Select(a => (ulong)a).Reverse().ToArray();
        var result = new BatchResolver(symbolizer.Sections, symbolizer.Units, symbolizer.Symbols, shortPaths: true).Resolve(addresses);
        for (var i = 0; i < addresses.Length; i++)
        {
            var one = symbolizer.Symbolize(addresses[i]).Where(f => !f.Function.StartsWith("0x", StringComparison.Ordinal) || f.Source is not null).ToList();
            Assert.Equal(one.Count, result.FrameCount(i));
            Assert.Equal(one.Select(f => f.Source?.Line ?? 0), Enumerable.Range(0, result.FrameCount(i)).Select(n => result.Frame(i, n).Line));
        }
    }

    private static DieSketch Abstract(string name) => new DieSketch(DwTag.Subprogram).With(DwAt.Name, DwForm.String, name);

    private static DieSketch Function(string name, ulong low, int size) =>
        Abstract(name).With(DwAt.LowPc, DwForm.Addr, low).With(DwAt.HighPc, DwForm.Data4, size);

    private static DieSketch Inlined(DieSketch origin, ulong low, int size, int file, int line) =>
        new DieSketch(DwTag.InlinedSubroutine).With(DwAt.AbstractOrigin, DwForm.Ref4, origin).With(DwAt.LowPc, DwForm.Addr, low).With(DwAt.HighPc, DwForm.Data4, size)
            .With(DwAt.CallFile, DwForm.Data1, file).With(DwAt.CallLine, DwForm.Data1, line);

    private static string Describe(Frame frame) => $"{frame.Function}:{frame.Source?.File}:{frame.Source?.Line}";

    private static IReadOnlyList<Frame> Resolve(ulong address, params DieSketch[] dies) => Resolve(address, _ => { }, dies);

    private static IReadOnlyList<Frame> Resolve(ulong address, Action<SyntheticSections> change, params DieSketch[] dies) => Resolve(address, change, [], dies);

    private static IReadOnlyList<Frame> Resolve(ulong address, Action<SyntheticSections> change, (string, ulong, int)[] symbols, params DieSketch[] dies) =>
        Build(change, symbols, dies).Symbolize(address);

    private static Symbolizer Build(Action<SyntheticSections> change, (string, ulong, int)[] symbols, params DieSketch[] dies)
    {
        var builder = new DwarfBuilder();
        builder.AddUnit(new DieSketch(DwTag.CompileUnit).With(DwAt.LowPc, DwForm.Addr, 0x1000).With(DwAt.HighPc, DwForm.Data4, 0x100)
            .With(DwAt.StmtList, DwForm.SecOffset, 0).With(DwAt.Language, DwForm.Data1, 12).Add(dies));
        var source = builder.Build();
        source[".debug_line"] = new LineProgramBuilder().SetAddress(0x1000).Raw(4, 2).Row(0, 4).Raw(2, 0x80, 2).EndSequence().Build();
        change(source);
        return Symbolizer(source, symbols);
    }

    private static Symbolizer Symbolizer(SyntheticSections source, (string Name, ulong Value, int Size)[] symbols)
    {
        using var folder = new ScratchFolder();
        var elf = new ElfBuilder();
        elf.AddCode(".text", 0x1000, 0x2000);
        foreach (var (name, value, size) in symbols)
        {
            elf.AddSymbol(name, value, (ulong)size);
        }

        return new Symbolizer(source, new ElfSymbolTable(ElfFile.Open(elf.Write(folder))));
    }

    private static byte[] ArangesOf(int unit, ulong low, ulong size)
    {
        var set = new ByteWriter().U16(2).U32((ulong)unit).U8(8).U8(0).U32(0).U64(low).U64(size).U64(0).U64(0).ToArray();
        return new ByteWriter().U32((ulong)set.Length).Bytes(set).ToArray();
    }
}
