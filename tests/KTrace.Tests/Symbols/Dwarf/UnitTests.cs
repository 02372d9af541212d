using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Dwarf;

public sealed class UnitTests
{
    public static TheoryData<int, bool, int> Formats => new()
    {
        { 2, false, 4 }, { 2, false, 8 }, { 3, false, 8 }, { 3, true, 8 }, { 4, false, 4 }, { 4, false, 8 }, { 4, true, 8 }, { 5, false, 4 }, { 5, false, 8 }, { 5, true, 8 },
    };

    [Theory]
    [MemberData(nameof(Formats))]
    public void A_unit_of_every_version_and_format_is_read(int version, bool is64, int addressSize)
    {
        var builder = new DwarfBuilder();
        var sectionOffset = version >= 4 ? DwForm.SecOffset : is64 ? DwForm.Data8 : DwForm.Data4;
        builder.AddUnit(new DieSketch(DwTag.CompileUnit).With(DwAt.Name, DwForm.String, "first.c"), version, is64, addressSize);
        var second = builder.AddUnit(
            new DieSketch(DwTag.CompileUnit)
                .With(DwAt.Name, DwForm.Strp, "second.c")
                .With(DwAt.CompDir, DwForm.String, "/src")
                .With(DwAt.LowPc, DwForm.Addr, 0x1000)
                .With(DwAt.HighPc, version >= 4 ? DwForm.Data4 : DwForm.Addr, version >= 4 ? 0x20 : 0x1020)
                .With(DwAt.StmtList, sectionOffset, 0x77)
                .With(DwAt.Language, DwForm.Data1, 12),
            version, is64, addressSize);
        var sections = new DwarfSections(builder.Build(new SyntheticSections(addressSize)));
        var unit = new Unit(sections);
        var ranges = new GrowingArray<AddressRange>();
        unit.Load(second, ranges);
        Assert.Equal(version, unit.Header.Version);
        Assert.Equal(addressSize, unit.Header.AddressSize);
        Assert.Equal(is64 ? 8 : 4, unit.Header.OffsetSize);
        Assert.Equal(("second.c", "/src"), (sections.Text(unit.Name), sections.Text(unit.CompDir)));
        Assert.Equal((0x77, 12), (unit.LineOffset, unit.Language));
        Assert.Equal(new AddressRange(0x1000, 0x1020), ranges[0]);
        Assert.Equal([0, second], new UnitIndex(sections).UnitOffsets.ToArray());
    }

    [Fact]
    public void Skeletons_are_read_and_type_units_are_passed_over()
    {
        var builder = new DwarfBuilder();
        var type = builder.AddUnit(new DieSketch(0x41), unitType: DwUt.Type, afterHeader: w => w.U64(1).U32(0));
        var skeleton = builder.AddUnit(new DieSketch(DwTag.SkeletonUnit).With(DwAt.LowPc, DwForm.Addr, 0x1234), unitType: DwUt.Skeleton, afterHeader: w => w.U64(7));
        var sections = new DwarfSections(builder.Build());
        var unit = new Unit(sections);
        unit.Load(type);
        Assert.True(unit.Header.IsTypeUnit);
        Assert.False(unit.HasChildren);
        unit.Load(skeleton);
        Assert.Equal(0x1234UL, unit.LowPc);
    }

    [Fact]
    public void Indexed_strings_addresses_and_range_lists_count_from_their_bases_wherever_those_stand()
    {
        var builder = new DwarfBuilder();
        // The bases come last, behind what needs them.
        builder.AddUnit(new DieSketch(DwTag.CompileUnit)
            .With(DwAt.Name, DwForm.Strx1, 1)
            .With(DwAt.CompDir, DwForm.Strx, 0)
            .With(DwAt.LowPc, DwForm.Addrx, 2)
            .With(DwAt.Ranges, DwForm.Rnglistx, 1)
            .With(DwAt.StrOffsetsBase, DwForm.SecOffset, 8)
            .With(DwAt.AddrBase, DwForm.SecOffset, 16)
            .With(DwAt.RnglistsBase, DwForm.SecOffset, 12));
        var source = builder.Build();
        source[".debug_str"] = new ByteWriter().Text("/dir").Text("name.c").ToArray();
        source[".debug_str_offsets"] = new ByteWriter().U64(0).U32(0).U32(5).ToArray();
        source[".debug_addr"] = new ByteWriter().U64(0).U64(0).U64(1).U64(2).U64(0x5000).U64(0x6000).ToArray();
        // Two offsets from the base, then the lists: the second is startx_length(3, 0x10), base_addressx(2), offset_pair(1, 5).
        source[".debug_rnglists"] = new ByteWriter().Bytes(new byte[12]).U32(8).U32(9)
            .U8(0).U8(DwRle.StartxLength).Uleb(3).Uleb(0x10).U8(DwRle.BaseAddressx).Uleb(2).U8(DwRle.OffsetPair).Uleb(1).Uleb(5).U8(0).ToArray();
        var sections = new DwarfSections(source);
        var unit = new Unit(sections);
        var ranges = new GrowingArray<AddressRange>();
        unit.Load(0, ranges);
        Assert.Equal(("name.c", "/dir", 0x5000UL), (sections.Text(unit.Name), sections.Text(unit.CompDir), unit.LowPc));
        Assert.Equal([new AddressRange(0x6000, 0x6010), new AddressRange(0x5001, 0x5005)], ranges.Items[..ranges.Count]);
    }

    [Fact]
    public void Every_entry_of_a_range_list_is_understood()
    {
        var builder = new DwarfBuilder();
        builder.AddUnit(new DieSketch(DwTag.CompileUnit).With(DwAt.LowPc, DwForm.Addr, 0x100).With(DwAt.Ranges, DwForm.SecOffset, 0));
        var source = builder.Build();
        source[".debug_rnglists"] = new ByteWriter()
            .U8(DwRle.OffsetPair).Uleb(1).Uleb(2) // relative to DW_AT_low_pc
            .U8(DwRle.OffsetPair).Uleb(3).Uleb(3) // empty: dropped
            .U8(DwRle.BaseAddress).U64(0x1000).U8(DwRle.OffsetPair).Uleb(4).Uleb(8)
            .U8(DwRle.StartEnd).U64(0x2000).U64(0x2010).U8(DwRle.StartLength).U64(0x3000).Uleb(0x20).U8(0).ToArray();
        Assert.Equal(
            [new AddressRange(0x101, 0x102), new AddressRange(0x1004, 0x1008), new AddressRange(0x2000, 0x2010), new AddressRange(0x3000, 0x3020)],
            RootRanges(source));
    }

    [Theory]
    [InlineData(4, 0xffffffffUL)]
    [InlineData(8, ulong.MaxValue)]
    public void The_ranges_of_DWARF_4_have_base_selection_entries(int addressSize, ulong selector)
    {
        var builder = new DwarfBuilder();
        builder.AddUnit(new DieSketch(DwTag.CompileUnit).With(DwAt.LowPc, DwForm.Addr, 0x100).With(DwAt.Ranges, DwForm.SecOffset, 0), version: 4, addressSize: addressSize);
        var source = builder.Build(new SyntheticSections(addressSize));
        var list = new ByteWriter();
        foreach (var word in new[] { 1UL, 2UL, selector, 0x1000UL, 4UL, 8UL, 0UL, 0UL })
        {
            list.Number(word, addressSize);
        }

        source[".debug_ranges"] = list.ToArray();
        Assert.Equal([new AddressRange(0x101, 0x102), new AddressRange(0x1004, 0x1008)], RootRanges(source));
    }

    [Fact]
    public void A_list_that_never_ends_is_an_error_and_no_hang()
    {
        var builder = new DwarfBuilder();
        builder.AddUnit(new DieSketch(DwTag.CompileUnit).With(DwAt.Ranges, DwForm.SecOffset, 0));
        var source = builder.Build();
        source[".debug_rnglists"] = [.. Enumerable.Repeat(new byte[] { DwRle.OffsetPair, 1, 2 }, 10_000).SelectMany(b => b)];
        Assert.Equal(".debug_rnglists", Assert.Throws<MalformedFileException>(() => RootRanges(source)).Section);
    }

    [Theory]
    [InlineData("\u0001\u0000", "length")] // three bytes of length
    [InlineData("\u0010\u0000\u0000\u0000\u0005\u0000", "a unit longer than the section")]
    [InlineData("\u0008\u0000\u0000\u0000\u0006\u0000\u0001\u0008\u0000\u0000\u0000\u0000", "version 6")]
    [InlineData("\u0008\u0000\u0000\u0000\u0005\u0000\u0001\u0003\u0000\u0000\u0000\u0000", "an address of 3 bytes")]
    [InlineData("\u00f5\u00ff\u00ff\u00ff\u0005\u0000\u0001\u0008\u0000\u0000\u0000\u0000", "a reserved length")]
    public void A_header_that_cannot_be_one_names_section_and_offset(string bytes, string why)
    {
        var source = new SyntheticSections { [".debug_info"] = [.. bytes.Select(c => (byte)c)] };
        var error = Assert.Throws<MalformedFileException>(() => new Unit(new DwarfSections(source)).Load(0));
        Assert.True(error.Section == ".debug_info" && error.Offset < 20, why + ": " + error.Message);
    }

    private static AddressRange[] RootRanges(ISectionSource source)
    {
        var ranges = new GrowingArray<AddressRange>();
        new Unit(new DwarfSections(source)).Load(0, ranges);
        return ranges.Items[..ranges.Count];
    }
}
