using KTrace.Symbols;
using KTrace.Symbols.Btf;
using KTrace.Symbols.Types;

namespace KTrace.Tests.Symbols.Btf;

public class BtfStructLayoutsTests
{
    private readonly BtfBytes _btf = new();
    private readonly int _int;
    private readonly int _long;

    public BtfStructLayoutsTests()
    {
        _int = _btf.Add(1, "int", 4, 0, false, 0x01000020);
        _long = _btf.Add(1, "long unsigned int", 8, 0, false, 64);
    }

    [Fact]
    public void Members_are_found_through_anonymous_structures_typedefs_and_qualifiers()
    {
        var inner = _btf.Add(4, "", 8, 1, false, _btf.String("deep"), (uint)_int, 32);
        var union = _btf.Add(5, "", 8, 2, false, 0, (uint)inner, 0, _btf.String("wide"), (uint)_long, 0);
        var layout = _btf.Add(4, "layout", 16, 2, false, _btf.String("base"), (uint)_btf.EndId + 4, 0, _btf.String("size"), (uint)_int, 64);
        var typedef = _btf.Add(8, "layout_t", (uint)layout);
        var constant = _btf.Add(10, "", (uint)typedef);
        var tag = _btf.Add(18, "percpu", (uint)constant);
        var pointer = _btf.Add(2, "", (uint)layout);
        _btf.Add(4, "module", 40, 3, false, _btf.String("state"), (uint)_int, 0, 0, (uint)union, 64, _btf.String("core"), (uint)tag, 128);
        Assert.Equal(pointer, tag + 1);
        var layouts = Open();

        Assert.Equal(new MemberLocation(0, 4, 0, 0, 0), Find(layouts, "module", "state"));
        Assert.Equal(new MemberLocation(12, 4, 0, 0, 0), Find(layouts, "module", "deep"));
        Assert.Equal(new MemberLocation(8, 8, 0, 0, 0), Find(layouts, "module", "wide"));
        Assert.Equal(new MemberLocation(24, 4, 0, 0, 0), Find(layouts, "module", "core.size"));
        Assert.Equal(new MemberLocation(8, 4, 0, 0, 0), Find(layouts, "layout_t", "size"));
        Assert.True(layouts.TryGetSize("module", out var size));
        Assert.Equal(40, size);
        Assert.False(layouts.TryFindMember("module", "nothing", out _));
        Assert.False(layouts.TryFindMember("module", "state.x", out _));
        Assert.False(layouts.TryFindMember("nothing", "state", out _));
        Assert.False(layouts.TryGetSize("int", out _));
    }

    [Fact]
    public void A_pointer_has_its_size_and_no_members()
    {
        var pointer = _btf.Add(2, "", (uint)_btf.EndId + 1);
        _btf.Add(4, "list", 16, 2, false, _btf.String("next"), (uint)pointer, 0, _btf.String("prev"), (uint)pointer, 64);
        var layouts = Open();

        Assert.Equal(new MemberLocation(8, 8, 0, 0, 0), Find(layouts, "list", "prev"));
        Assert.False(layouts.TryFindMember("list", "next.prev", out _));
    }

    [Fact]
    public void Bit_fields_of_both_encodings_name_their_byte_and_bit()
    {
        // kind flag: size << 24 | offset; without it an int type of three bits at offset 1 of its storage.
        _btf.Add(4, "flags", 4, 2, true, _btf.String("a"), (uint)_int, (3u << 24) | 7, _btf.String("b"), (uint)_int, (1u << 24) | 17);
        var odd = _btf.Add(1, "unsigned int", 4, 0, false, (1u << 16) | 3);
        _btf.Add(4, "old", 4, 1, false, _btf.String("c"), (uint)odd, 8);
        var layouts = Open();

        Assert.Equal(new MemberLocation(0, 2, 7, 3, 0), Find(layouts, "flags", "a"));
        Assert.Equal(new MemberLocation(2, 1, 1, 1, 0), Find(layouts, "flags", "b"));
        Assert.Equal(new MemberLocation(1, 1, 1, 3, 0), Find(layouts, "old", "c"));
    }

    [Fact]
    public void Arrays_have_element_sizes_and_elements_are_reached_by_index()
    {
        var pair = _btf.Add(4, "pair", 8, 2, false, _btf.String("x"), (uint)_int, 0, _btf.String("y"), (uint)_int, 32);
        var array = _btf.Add(3, "", 0, 0, false, (uint)pair, (uint)_int, 4);
        var nested = _btf.Add(3, "", 0, 0, false, (uint)array, (uint)_int, 2);
        var flexible = _btf.Add(3, "", 0, 0, false, (uint)pair, (uint)_int, 0);
        _btf.Add(4, "table", 72, 3, false, _btf.String("n"), (uint)_int, 0, _btf.String("grid"), (uint)nested, 64, _btf.String("rest"), (uint)flexible, 576);
        var layouts = Open();

        Assert.Equal(new MemberLocation(8, 64, 0, 0, 32), Find(layouts, "table", "grid"));
        Assert.Equal(2, Find(layouts, "table", "grid").ElementCount);
        Assert.Equal(new MemberLocation(8 + 32 + 16 + 4, 4, 0, 0, 0), Find(layouts, "table", "grid[1][2].y"));
        Assert.Equal(new MemberLocation(72 + 24, 4, 0, 0, 0), Find(layouts, "table", "rest[3].x"));
        Assert.False(layouts.TryFindMember("table", "grid[2]", out _));
        Assert.False(layouts.TryFindMember("table", "grid[x]", out _));
        Assert.False(layouts.TryFindMember("table", "n[0]", out _));
    }

    [Fact]
    public void All_newer_kinds_are_stepped_over()
    {
        _btf.Add(6, "e", 4, 2, false, _btf.String("A"), 0, _btf.String("B"), 1);
        _btf.Add(7, "fwd", 0);
        var proto = _btf.Add(13, "", 0, 1, false, _btf.String("arg"), (uint)_int);
        var function = _btf.Add(12, "f", (uint)proto, 1);
        var variable = _btf.Add(14, "v", (uint)_int, 0, false, 1);
        _btf.Add(15, ".data", 4, 1, false, (uint)variable, 0, 4);
        _btf.Add(16, "double", 8);
        _btf.Add(17, "tag", (uint)function, 0, false, uint.MaxValue);
        _btf.Add(18, "user", (uint)_int);
        _btf.Add(19, "big", 8, 1, false, _btf.String("C"), 1, 2);
        _btf.Add(4, "last", 4, 1, false, _btf.String("m"), (uint)_int, 0);

        Assert.Equal(4, Find(Open(), "last", "m").Size);
    }

    [Fact]
    public void A_modules_btf_goes_on_where_the_kernels_ends()
    {
        _btf.Add(4, "device", 8, 1, false, _btf.String("id"), (uint)_long, 0);
        var kernel = BtfFile.Open(_btf.Section());
        var module = new BtfBytes(kernel.EndId, _btf.StringsLength);
        module.Add(4, "adapter", 16, 2, false, module.String("dev"), (uint)kernel.EndId - 1, 0, module.String("irq"), (uint)_int, 64);
        var layouts = new StructLayouts(new BtfTypes(BtfFile.Open(module.Section(), kernel)).FindType);

        Assert.Equal(new MemberLocation(8, 4, 0, 0, 0), Find(layouts, "adapter", "irq"));
        Assert.Equal(new MemberLocation(0, 8, 0, 0, 0), Find(layouts, "adapter", "dev.id"));
        Assert.Equal(new MemberLocation(0, 8, 0, 0, 0), Find(layouts, "device", "id"));
    }

    [Fact]
    public void A_kind_that_is_not_known_yet_is_malformed_because_its_size_is_not_known()
    {
        _btf.Add(20, "future", 0);
        Assert.Contains("kind 20", Assert.Throws<MalformedFileException>(() => BtfFile.Open(_btf.Section())).Message);
    }

    [Fact]
    public void Types_that_refer_to_themselves_have_no_members_and_no_end_of_time()
    {
        _btf.Add(8, "loop", (uint)_btf.EndId);
        var self = _btf.EndId;
        _btf.Add(4, "snake", 8, 1, false, 0, (uint)self, 0);
        var layouts = Open();

        Assert.False(layouts.TryGetSize("loop", out _));
        Assert.False(layouts.TryFindMember("snake", "x", out _));
    }

    private StructLayouts Open() => new(new BtfTypes(BtfFile.Open(_btf.Section())).FindType);

    private static MemberLocation Find(StructLayouts layouts, string structure, string path)
    {
        Assert.True(layouts.TryFindMember(structure, path, out var location), $"{structure}.{path} is not there");
        return location;
    }
}
