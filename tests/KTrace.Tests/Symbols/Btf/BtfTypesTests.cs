using KTrace.Symbols;
using KTrace.Symbols.Btf;
using KTrace.Symbols.Types;

namespace KTrace.Tests.Symbols.Btf;

public class BtfTypesTests
{
    private readonly BtfBytes _btf = new();
    private readonly uint _int;

    public BtfTypesTests() => _int = (uint)_btf.Add(1, "int", 4, 0, false, 0x01000020);

    private BtfTypes Open() => new(BtfFile.Open(_btf.Section()));

    [Fact]
    public void Every_kind_becomes_the_type_that_C_has_for_it()
    {
        _btf.Add(1, "char", 1, 0, false, 0x01000008);
        _btf.Add(1, "unsigned char", 1, 0, false, 8);
        _btf.Add(1, "_Bool", 1, 0, false, 0x04000008);
        var @double = _btf.Add(16, "double", 8);
        var pointer = _btf.Add(2, "", _int);
        var constant = _btf.Add(10, "", (uint)pointer);
        var tagged = _btf.Add(18, "user", _int);
        var userPointer = _btf.Add(2, "", (uint)tagged);
        var restricted = _btf.Add(11, "", (uint)pointer);
        var @volatile = _btf.Add(9, "", _int);
        var proto = _btf.Add(13, "", _int, 2, false, _btf.String("arg"), (uint)userPointer, 0, 0);
        var function = _btf.Add(12, "printk", (uint)proto, 1);
        var variable = _btf.Add(14, "counter", (uint)@volatile, 0, false, 1);
        var callback = _btf.Add(2, "", (uint)proto);
        var typedef = _btf.Add(8, "fn_t", (uint)callback);
        var declared = _btf.Add(7, "nowhere", 0);
        _btf.Add(17, "tag", (uint)function, 0, false, uint.MaxValue);
        var types = Open();
        Assert.Equal(IntegerEncoding.SignedCharacter, ((IntegerType)types.FindType(TypeTag.Ordinary, "char")!).Encoding);
        Assert.Equal(IntegerEncoding.UnsignedCharacter, ((IntegerType)types.FindType(TypeTag.Ordinary, "unsigned char")!).Encoding);
        Assert.Equal(IntegerEncoding.Boolean, ((IntegerType)types.FindType(TypeTag.Ordinary, "_Bool")!).Encoding);
        Assert.Equal("int * const x", types.TypeOf(constant).Declare("x"));
        Assert.Equal("int *", types.TypeOf(userPointer).ToString());
        Assert.Equal("int * restrict", types.TypeOf(restricted).ToString());
        Assert.Equal("int (*)(int *, ...)", types.TypeOf(callback).ToString());
        Assert.Equal("int printk(int *arg, ...)", TypeListing.Declare(new Variable("printk", types.FindFunction("printk")!, 0)));
        Assert.Equal("volatile int", types.FindVariable("counter")!.ToString());
        Assert.Equal("typedef int (*fn_t)(int *, ...);  /* size: 8 */\n", TypeListing.Of(types.TypeOf(typedef)));
        Assert.Equal((8, "double"), (types.TypeOf(@double).Size, types.TypeOf(@double).Name));
        Assert.True(types.FindType(TypeTag.Struct, "nowhere") is StructType { IsIncomplete: true } && types.FindType(TypeTag.Union, "nowhere") is null);
        Assert.Equal("void", types.TypeOf(variable + 100).ToString());
        Assert.Equal("nowhere", types.TypeOf(declared).Name);
    }

    [Fact]
    public void Enumerators_have_their_sign_and_all_of_their_bits()
    {
        _btf.Add(6, "plain", 4, 2, false, _btf.String("HIGH"), 0x80000000, _btf.String("LOW"), 1);
        _btf.Add(6, "signed", 4, 1, true, _btf.String("MINUS"), unchecked((uint)-5));
        _btf.Add(6, "old", 4, 1, false, _btf.String("OLD_MINUS"), unchecked((uint)-1));
        _btf.Add(19, "wide", 8, 1, false, _btf.String("WIDE"), 0x11223344, 0x80000000);
        _btf.Add(19, "wider", 8, 1, true, _btf.String("WIDE_MINUS"), unchecked((uint)-2), uint.MaxValue);
        var types = Open();
        Assert.Equal(
            [0x80000000L, -5, -1, unchecked((long)0x8000000011223344), -2],
            new[] { "HIGH", "MINUS", "OLD_MINUS", "WIDE", "WIDE_MINUS" }.Select(n => types.FindEnumerator(n)!.Value.Value));
        Assert.Null(types.FindEnumerator("plain"));
        Assert.Contains("WIDE = 9223372037142229828,", TypeListing.Of(types.FindType(TypeTag.Enum, "wide")!), StringComparison.Ordinal);
    }

    [Fact]
    public void A_modules_types_go_on_from_the_kernels_and_complete_its_declarations()
    {
        var declared = _btf.Add(7, "adapter", 0);
        var pointer = _btf.Add(2, "", (uint)declared);
        _btf.Add(4, "device", 8, 1, false, _btf.String("owner"), (uint)pointer, 0);
        var kernelFile = BtfFile.Open(_btf.Section());
        var module = new BtfBytes(kernelFile.EndId, _btf.StringsLength);
        module.Add(4, "adapter", 16, 1, false, module.String("dev"), (uint)kernelFile.EndId - 1, 0);
        var kernel = new BtfTypes(kernelFile);
        var types = new BtfTypes(BtfFile.Open(module.Section(), kernelFile), kernel);
        Assert.True(kernel.FindType(TypeTag.Struct, "adapter") is StructType { IsIncomplete: true });
        var adapter = (StructType)types.FindType(TypeTag.Struct, "adapter")!;
        Assert.Equal((16, "struct device"), (adapter.Size, adapter.Members[0].Type.ToString()));
        Assert.Equal(4, types.FindType(TypeTag.Ordinary, "int")!.Size);
    }

    [Fact]
    public void Types_that_are_made_of_themselves_end()
    {
        var first = _btf.EndId;
        var typedef = _btf.Add(8, "loop", (uint)first);
        var array = _btf.Add(3, "", 0, 0, false, (uint)first + 1, _int, 3);
        var tag = _btf.Add(18, "t", (uint)first + 2);
        var structure = _btf.Add(4, "", 8, 1, false, 0, (uint)first + 3, 0);
        var proto = _btf.Add(13, "", (uint)first + 4, 2, false, 0, (uint)first + 4, 0, (uint)first + 4);
        var function = _btf.Add(12, "f", (uint)first + 5, 1);
        var types = Open();
        foreach (var id in new[] { typedef, array, tag, structure, proto, function })
        {
            var type = types.TypeOf(id);
            Assert.True(type.Size is >= 0 and <= 8);
            Assert.True(type.Declare("x").Length < 100_000);
            Assert.True(TypeListing.Of(type).Length < 1_000_000);
            Assert.False(StructLayouts.TryFind(type, "nothing", out _));
        }
    }
}
