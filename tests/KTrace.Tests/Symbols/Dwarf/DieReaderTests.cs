using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Dwarf;

public sealed class DieReaderTests
{
    private const ushort Marker = 0x3fff;

    public static TheoryData<ushort, object, ulong> Numbers => new()
    {
        { DwForm.Data1, 0xfe, 0xfe }, { DwForm.Data2, 0xfedc, 0xfedc }, { DwForm.Data4, 0xfedcba98L, 0xfedcba98 }, { DwForm.Data8, 0x1122334455667788L, 0x1122334455667788 },
        { DwForm.Udata, 0x12345678, 0x12345678 }, { DwForm.Sdata, -2, ulong.MaxValue - 1 }, { DwForm.Sdata, 63, 63 }, { DwForm.Flag, 1, 1 }, { DwForm.FlagPresent, 0, 1 },
        { DwForm.ImplicitConst, -5, unchecked((ulong)-5L) }, { DwForm.SecOffset, 0x1234, 0x1234 }, { DwForm.Addr, 0x81000000L, 0x81000000 },
        { DwForm.Addrx, 1, 0xabc0 }, { DwForm.Addrx1, 1, 0xabc0 }, { DwForm.Addrx2, 1, 0xabc0 }, { DwForm.Addrx3, 1, 0xabc0 }, { DwForm.Addrx4, 1, 0xabc0 },
        { DwForm.GnuAddrIndex, 1, 0xabc0 }, { DwForm.Rnglistx, 300, 300 }, { DwForm.Loclistx, 300, 300 },
    };

    public static TheoryData<ushort, object> AllForms()
    {
        var all = new TheoryData<ushort, object>();
        foreach (var row in Numbers)
        {
            all.Add((ushort)row[0], row[1]);
        }

        foreach (var (form, value) in new (ushort, object)[]
        {
            (DwForm.Block1, new byte[3]), (DwForm.Block2, new byte[300]), (DwForm.Block4, new byte[5]), (DwForm.Block, new byte[200]), (DwForm.Exprloc, new byte[130]),
            (DwForm.Data16, new byte[16]), (DwForm.String, "inline"), (DwForm.Strp, "string"), (DwForm.LineStrp, 0), (DwForm.Strx, 200), (DwForm.Strx1, 1), (DwForm.Strx2, 1),
            (DwForm.Strx3, 1), (DwForm.Strx4, 1), (DwForm.GnuStrIndex, 1), (DwForm.StrpSup, 0), (DwForm.GnuStrpAlt, 0), (DwForm.Ref1, 1), (DwForm.Ref2, 1), (DwForm.Ref4, 1),
            (DwForm.Ref8, 1), (DwForm.RefUdata, 200), (DwForm.RefAddr, 1), (DwForm.RefSig8, 1), (DwForm.RefSup4, 1), (DwForm.RefSup8, 1), (DwForm.GnuRefAlt, 0),
        })
        {
            all.Add(form, value);
        }

        return all;
    }

    [Theory]
    [MemberData(nameof(AllForms))]
    public unsafe void Every_form_is_passed_over_in_both_formats(ushort form, object value)
    {
        foreach (var is64 in new[] { false, true })
        {
            var unit = Load(new DieSketch(DwTag.Variable).With(0x2100, form, value).With(Marker, DwForm.Data1, 0x5a), is64);
            fixed (byte* bytes = unit.Sections.Info.Span)
            {
                var reader = new DieReader(unit, bytes, unit.FirstChild);
                Assert.True(reader.ReadEntry());
                reader.Skip(in reader.Attribute(0));
                Assert.Equal(0x5aUL, reader.ReadNumber(in reader.Attribute(1)));
                // And the same by the whole entry's size.
                reader = new DieReader(unit, bytes, unit.FirstChild);
                reader.ReadEntry();
                reader.SkipAttributes();
                Assert.False(reader.ReadEntry());
                Assert.True(reader.AtEnd);
            }
        }
    }

    [Theory]
    [MemberData(nameof(Numbers))]
    public unsafe void Every_number_has_its_value(ushort form, object value, ulong expected)
    {
        var unit = Load(new DieSketch(DwTag.Variable).With(0x2100, form, value), is64: false);
        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, unit.FirstChild);
            reader.ReadEntry();
            Assert.Equal(expected, reader.ReadNumber(in reader.Attribute(0)));
        }
    }

    [Fact]
    public unsafe void An_indirect_form_is_followed_once()
    {
        var unit = Load(new DieSketch(DwTag.Variable).With(0x2100, DwForm.Indirect, 0), is64: false, info =>
        {
            // The builder wrote a 4-byte zero for the form that it does not know: DW_FORM_udata, 0x80 0x01 = 128, and a byte to spare.
            var at = info.Length - 5;
            (info[at], info[at + 1], info[at + 2]) = ((byte)DwForm.Udata, 0x80, 0x01);
        });
        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, unit.FirstChild);
            reader.ReadEntry();
            Assert.Equal(128UL, reader.ReadNumber(in reader.Attribute(0)));
        }
    }

    [Fact]
    public unsafe void A_sibling_that_leads_backwards_is_an_error_and_no_loop()
    {
        var child = new DieSketch(DwTag.LexicalBlock);
        child.With(DwAt.Sibling, DwForm.Ref4, child).Add(new DieSketch(DwTag.Variable));
        var unit = Load(child, is64: false);
        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, unit.FirstChild);
            reader.ReadEntry();
            var threw = false;
            try
            {
                reader.SkipTree();
            }
            catch (MalformedFileException e)
            {
                threw = e.Section == ".debug_info" && e.Message.Contains("DW_AT_sibling", StringComparison.Ordinal);
            }

            Assert.True(threw);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public unsafe void Trees_are_passed_over_with_and_without_siblings(bool withSibling)
    {
        var next = new DieSketch(DwTag.Variable).With(Marker, DwForm.Data1, 7);
        var tree = new DieSketch(DwTag.StructureType).With(DwAt.Name, DwForm.String, "s");
        if (withSibling)
        {
            tree.With(DwAt.Sibling, DwForm.Ref4, next);
        }

        tree.Add(new DieSketch(DwTag.Member).Add(new DieSketch(DwTag.BaseType)), new DieSketch(DwTag.Member));
        var unit = Load([tree, next], is64: false);
        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, unit.FirstChild);
            reader.ReadEntry();
            reader.SkipTree();
            Assert.True(reader.ReadEntry());
            Assert.Equal(7UL, reader.ReadNumber(in reader.Attribute(0)));
        }
    }

    [Fact]
    public void A_function_whose_origins_go_round_has_no_name()
    {
        var one = new DieSketch(DwTag.Subprogram);
        var two = new DieSketch(DwTag.Subprogram).With(DwAt.AbstractOrigin, DwForm.Ref4, one);
        one.With(DwAt.AbstractOrigin, DwForm.Ref4, two);
        var unit = Load([one, two], is64: false);
        Assert.True(unit.FunctionName(one.Offset).IsNone);
    }

    [Fact]
    public void A_name_may_come_from_another_unit()
    {
        var original = new DieSketch(DwTag.Subprogram).With(DwAt.Name, DwForm.String, "shared");
        var copy = new DieSketch(DwTag.Subprogram).With(DwAt.AbstractOrigin, DwForm.RefAddr, original);
        var builder = new DwarfBuilder();
        builder.AddUnit(new DieSketch(DwTag.PartialUnit).Add(original), unitType: DwUt.Partial);
        var second = builder.AddUnit(new DieSketch(DwTag.CompileUnit).Add(copy));
        var sections = new DwarfSections(builder.Build());
        var unit = new Unit(sections, new UnitFinder(sections, new UnitIndex(sections)).Find);
        unit.Load(second);
        Assert.Equal("shared", sections.Text(unit.FunctionName(copy.Offset)));
    }

    private static Unit Load(DieSketch child, bool is64, Action<byte[]>? change = null) => Load([child], is64, change);

    private static Unit Load(DieSketch[] children, bool is64, Action<byte[]>? change = null)
    {
        var builder = new DwarfBuilder();
        builder.AddUnit(new DieSketch(DwTag.CompileUnit).With(DwAt.AddrBase, DwForm.SecOffset, 8).Add(children), is64: is64);
        var source = builder.Build();
        var info = source.GetSection(".debug_info").Span.ToArray();
        change?.Invoke(info);
        source[".debug_info"] = info;
        source[".debug_addr"] = new ByteWriter().U64(0).U64(0x1111).U64(0xabc0).ToArray();
        source[".debug_str_offsets"] = new byte[2048];
        var unit = new Unit(new DwarfSections(source));
        unit.Load(0);
        return unit;
    }
}
