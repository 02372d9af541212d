using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Dwarf;

public sealed class ArangesTests
{
    [Theory]
    [InlineData(8, false)]
    [InlineData(8, true)]
    [InlineData(4, false)]
    public void Sets_follow_each_other_and_tuples_are_aligned_to_their_size(int addressSize, bool is64)
    {
        var bytes = new ByteWriter().Bytes(Set(0x10, addressSize, is64, (0x1000, 0x20), (0x3000, 0x10))).Bytes(Set(0x20, addressSize, is64, (0x2000, 0x100)));
        Assert.Equal([(0x1000UL, 0x1020UL, 0x10), (0x3000UL, 0x3010UL, 0x10), (0x2000UL, 0x2100UL, 0x20)], Read(bytes.ToArray()));
    }

    [Fact]
    public void A_set_that_cannot_be_read_costs_only_itself()
    {
        var wrongVersion = Set(0x10, 8, false, (0x1000, 0x20));
        wrongVersion[4] = 9;
        var outside = Set(0x7fffff, 8, false, (0x1000, 0x20));
        Assert.Equal([(0x2000UL, 0x2100UL, 0x20)], Read([.. wrongVersion, .. outside, .. Set(0x20, 8, false, (0x2000, 0x100), (0, 0), (0x5000, 1))]));
    }

    [Fact]
    public void A_set_longer_than_the_section_ends_the_reading()
    {
        var bytes = Set(0x20, 8, false, (0x2000, 0x100));
        Assert.Empty(Read(bytes[..^1]));
        Assert.Empty(Read([]));
    }

    [Fact]
    public void Units_that_overlap_give_the_first_in_the_file()
    {
        var builder = new DwarfBuilder();
        var first = builder.AddUnit(new DieSketch(DwTag.CompileUnit));
        var second = builder.AddUnit(new DieSketch(DwTag.CompileUnit));
        var source = builder.Build();
        source[".debug_aranges"] = [.. Set(second, 8, false, (0x1000, 0x100)), .. Set(first, 8, false, (0x1080, 0x10), (0x2000, 0x10))];
        // The root DIEs claim nothing, so all that is known comes from here.
        var index = new UnitIndex(new DwarfSections(source));
        Assert.Equal([second, first, second, -1, first], new ulong[] { 0x1000, 0x1080, 0x1090, 0x1100, 0x200f }.Select(index.Find));
    }

    private static byte[] Set(int unit, int addressSize, bool is64, params (ulong Low, ulong Size)[] tuples)
    {
        var body = new ByteWriter();
        if (is64)
        {
            body.U32(0xffffffff);
        }

        var lengthAt = body.Length;
        body.Number(0, is64 ? 8 : 4).U16(2).Number((ulong)unit, is64 ? 8 : 4).U8(addressSize).U8(0).Align(2 * addressSize);
        foreach (var (low, size) in tuples.Append((0UL, 0UL)))
        {
            body.Number(low, addressSize).Number(size, addressSize);
        }

        body.Patch32(lengthAt, (uint)(body.Length - lengthAt - (is64 ? 8 : 4)));
        return body.ToArray();
    }

    private static (ulong Low, ulong High, int Unit)[] Read(byte[] bytes)
    {
        var found = new GrowingArray<UnitRange>();
        Aranges.Read(new SectionData("synthetic", ".debug_aranges", bytes), 0x1000, found);
        return [.. found.Items.Take(found.Count).Select(r => (r.Low, r.High, r.Unit))];
    }
}
