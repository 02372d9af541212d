using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Dwarf.Locations;

public sealed class LocationListTests
{
    // Each kind of entry has an expression of its own: DW_OP_lit1, lit2 …
    private static readonly byte[] Version5 = new ByteWriter()
        .U8(DwLle.GnuViewPair).Uleb(1).Uleb(2)
        .U8(DwLle.OffsetPair).Uleb(0x10).Uleb(0x20).Uleb(1).U8(0x31)
        .U8(DwLle.OffsetPair).Uleb(0x20).Uleb(0x20).Uleb(1).U8(0x3f)
        .U8(DwLle.BaseAddress).U64(0x5000)
        .U8(DwLle.OffsetPair).Uleb(0).Uleb(4).Uleb(1).U8(0x32)
        .U8(DwLle.BaseAddressx).Uleb(1)
        .U8(DwLle.OffsetPair).Uleb(0).Uleb(4).Uleb(1).U8(0x33)
        .U8(DwLle.StartEnd).U64(0x7000).U64(0x7010).Uleb(1).U8(0x34)
        .U8(DwLle.StartLength).U64(0x8000).Uleb(0x10).Uleb(1).U8(0x35)
        .U8(DwLle.StartxEndx).Uleb(0).Uleb(2).Uleb(1).U8(0x36)
        .U8(DwLle.StartxLength).Uleb(2).Uleb(8).Uleb(1).U8(0x37)
        .U8(DwLle.DefaultLocation).Uleb(1).U8(0x38)
        .U8(DwLle.EndOfList).ToArray();

    [Theory]
    [InlineData(0x1010, 0x31)]
    [InlineData(0x101f, 0x31)]
    [InlineData(0x1020, 0x38)]
    [InlineData(0x5003, 0x32)]
    [InlineData(0x6003, 0x33)]
    [InlineData(0x700f, 0x34)]
    [InlineData(0x8001, 0x35)]
    [InlineData(0x4001, 0x36)]
    [InlineData(0x4107, 0x37)]
    [InlineData(0x9999, 0x38)]
    public void Each_kind_of_entry_covers_its_addresses(ulong address, byte expected) =>
        Assert.Equal([expected], LocationLists.Find(Unit5(), DwForm.SecOffset, 12 + 4, address).Span.ToArray());

    [Fact]
    public void An_index_counts_in_the_units_table() =>
        Assert.Equal([0x31], LocationLists.Find(Unit5(), DwForm.Loclistx, 0, 0x1010).Span.ToArray());

    [Theory]
    [InlineData(4)]
    [InlineData(8)]
    public void Before_version_5_pairs_count_from_a_base_that_may_change(int size)
    {
        var list = new ByteWriter().Number(0x10, size).Number(0x20, size).U16(1).U8(0x31)
            .Number(ulong.MaxValue, size).Number(0x5000, size)
            .Number(0, size).Number(4, size).U16(2).U8(0x32).U8(0x9f)
            .Number(0, size).Number(0, size).ToArray();
        var unit = UnitWith(s => s[".debug_loc"] = list, version: 4, addressSize: size);

        Assert.Equal([0x31], LocationLists.Find(unit, DwForm.SecOffset, 0, 0x1010).Span.ToArray());
        Assert.Equal([0x32, 0x9f], LocationLists.Find(unit, DwForm.SecOffset, 0, 0x5000).Span.ToArray());
        Assert.True(LocationLists.Find(unit, DwForm.SecOffset, 0, 0x1020).IsNone);
    }

    [Fact]
    public void A_list_that_does_not_end_is_malformed() =>
        Assert.Throws<MalformedFileException>(() => LocationLists.Find(
            UnitWith(s => s[".debug_loclists"] = [DwLle.StartLength, 1, 2, 3], version: 5), DwForm.SecOffset, 0, 0x1010));

    [Fact]
    public void An_entry_of_an_unknown_kind_is_malformed() =>
        Assert.Throws<MalformedFileException>(() => LocationLists.Find(UnitWith(s => s[".debug_loclists"] = [77], version: 5), DwForm.SecOffset, 0, 0x1010));

    [Fact]
    public void Damaged_lists_throw_nothing_else()
    {
        var random = new Random(20261122);
        for (var i = 0; i < 2000; i++)
        {
            var bytes = Mutation.OfBytes([.. Version5], random);
            var unit = UnitWith(
                s =>
                {
                    s[".debug_loclists"] = bytes;
                    s[".debug_loc"] = bytes;
                    s[".debug_addr"] = new byte[40];
                },
                version: i % 2 == 0 ? 5 : 4);
            try
            {
                var found = LocationLists.Find(unit, i % 3 == 0 ? DwForm.Loclistx : DwForm.SecOffset, (ulong)random.Next(4), 0x1010);
                Assert.True(found.Span.Length <= bytes.Length);
            }
            catch (MalformedFileException)
            {
                // Declared.
            }
        }
    }

    private static Unit Unit5() => UnitWith(
        s =>
        {
            // A table of one offset behind the header, then the list.
            s[".debug_loclists"] = new ByteWriter().U32(0).U16(5).U8(8).U8(0).U32(1).U32(4).Bytes(Version5).ToArray();
            s[".debug_addr"] = new ByteWriter().U32(0).U16(5).U8(8).U8(0).U64(0x4000).U64(0x6000).U64(0x4100).ToArray();
        },
        version: 5);

    private static Unit UnitWith(Action<SyntheticSections> more, int version, int addressSize = 8)
    {
        var root = new DieSketch(DwTag.CompileUnit).With(DwAt.LowPc, DwForm.Addr, 0x1000);
        var builder = new DwarfBuilder();
        builder.AddUnit(root, version, addressSize: addressSize);
        var sections = builder.Build(new SyntheticSections(addressSize));
        more(sections);
        var unit = new Unit(new DwarfSections(sections));
        unit.Load(0);
        return unit;
    }
}
