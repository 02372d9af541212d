using System.Collections.Immutable;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Types;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Types;

/// <summary>Every way of writing a type down, one by one.</summary>
public sealed class DwarfTypesTests
{
    private const ushort Data1 = 0x0b, Data4 = 0x06, Data8 = 0x07, Sdata = 0x0d, Udata = 0x0f, String = 0x08, Ref4 = 0x13, RefAddr = 0x10, Present = 0x19, Block1 = 0x0a, RefSig8 = 0x20, Strp = 0x0e;

    private readonly DieSketch _int = Base("int", 4, 5);
    private readonly DieSketch _root = new(DwTag.CompileUnit);

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    public void Members_have_offsets_in_every_form(int version)
    {
        var structure = Die(DwTag.StructureType, "s").With(DwAt.ByteSize, Data1, 32).Add(
            Member("first", _int),
            Member("constant", _int).With(DwAt.DataMemberLocation, Data1, 4),
            Member("block", _int).With(DwAt.DataMemberLocation, Block1, new byte[] { DwOp.PlusUconst, 0x88, 0x01 }),
            Member("udata", _int).With(DwAt.DataMemberLocation, Udata, 300));
        var members = Members(structure, version);
        Assert.Equal(["first 0", "constant 4", "block 136", "udata 300"], members.Select(m => $"{m.Name} {m.Offset}"));
    }

    [Fact]
    public void Bit_fields_count_from_the_lowest_bit_whichever_end_the_producer_counts_from()
    {
        var structure = Die(DwTag.StructureType, "s").With(DwAt.ByteSize, Data1, 8).Add(
            Member("modern", _int).With(DwAt.BitSize, Data1, 3).With(DwAt.DataBitOffset, Data1, 5),
            // From the top of a storage unit of 4 bytes at 4: 32 - 26 - 4 = 2.
            Member("old", _int).With(DwAt.ByteSize, Data1, 4).With(DwAt.BitSize, Data1, 4).With(DwAt.BitOffset, Data1, 26).With(DwAt.DataMemberLocation, Data1, 4),
            Member("typed", _int).With(DwAt.BitSize, Data1, 4).With(DwAt.BitOffset, Data1, 26).With(DwAt.DataMemberLocation, Data1, 4),
            Member("over", _int).With(DwAt.BitSize, Data1, 6).With(DwAt.BitOffset, Sdata, -2).With(DwAt.DataMemberLocation, Data1, 0));
        Assert.Equal([(5L, 3), (34L, 4), (34L, 4), (28L, 6)], Members(structure).Select(m => (m.BitOffset, m.BitSize)));
    }

    [Fact]
    public void Arrays_have_dimensions_flexible_ends_and_none()
    {
        var grid = new DieSketch(DwTag.ArrayType).With(DwAt.Type, Ref4, _int).Add(
            new DieSketch(DwTag.SubrangeType).With(DwAt.UpperBound, Data1, 1), new DieSketch(DwTag.SubrangeType).With(DwAt.Count, Data1, 3));
        var flexible = new DieSketch(DwTag.ArrayType).With(DwAt.Type, Ref4, _int).Add(new DieSketch(DwTag.SubrangeType));
        var old = new DieSketch(DwTag.ArrayType).With(DwAt.Type, Ref4, _int).Add(new DieSketch(DwTag.SubrangeType).With(DwAt.UpperBound, Data4, 0xffffffffu));
        var minus = new DieSketch(DwTag.ArrayType).With(DwAt.Type, Ref4, _int).Add(new DieSketch(DwTag.SubrangeType).With(DwAt.UpperBound, Sdata, -1));
        var variable = new DieSketch(DwTag.ArrayType).With(DwAt.Type, Ref4, _int).Add(new DieSketch(DwTag.SubrangeType).With(DwAt.UpperBound, Ref4, _int));
        var types = Build(grid, flexible, old, minus, variable);
        Assert.Equal(["int[2][3]", "int[]", "int[0]", "int[0]", "int[]"], new[] { grid, flexible, old, minus, variable }.Select(d => types.TypeAt(d.Offset).ToString()));
        Assert.Equal(24, types.TypeAt(grid.Offset).Size);
        Assert.Equal(12, ((ArrayType)types.TypeAt(grid.Offset)).Element.Size);
    }

    [Fact]
    public void Enumerations_have_the_sign_that_is_said_or_seen()
    {
        var said = Die(DwTag.EnumerationType, "said").With(DwAt.Encoding, Data1, 5).With(DwAt.ByteSize, Data1, 4).Add(Enumerator("A", Data4, 0xfffffffdu));
        var typed = Die(DwTag.EnumerationType, "typed").With(DwAt.Type, Ref4, _int).With(DwAt.ByteSize, Data1, 4).Add(Enumerator("B", Data4, 0xffffffffu));
        var seen = Die(DwTag.EnumerationType, "seen").With(DwAt.ByteSize, Data1, 4).Add(Enumerator("C", Sdata, -2));
        var plain = Die(DwTag.EnumerationType, "plain").With(DwAt.ByteSize, Data1, 4).Add(Enumerator("D", Data4, 0xffffffffu), Enumerator("E", Data1, 255));
        var types = Build(said, typed, seen, plain);
        EnumType Of(DieSketch die) => (EnumType)types.TypeAt(die.Offset);
        Assert.Equal([(true, -3L), (true, -1L), (true, -2L), (false, 0xffffffffL)], new[] { said, typed, seen, plain }.Select(d => (Of(d).IsSigned, Of(d).Enumerators[0].Value)));
        Assert.Equal(255, Of(plain).Enumerators[1].Value);
    }

    [Fact]
    public void Functions_qualifiers_and_pointers_are_declared_as_C_has_them()
    {
        var constant = new DieSketch(DwTag.ConstType).With(DwAt.Type, Ref4, _int);
        var pointer = new DieSketch(DwTag.PointerType).With(DwAt.Type, Ref4, constant);
        var restricted = new DieSketch(DwTag.RestrictType).With(DwAt.Type, Ref4, pointer);
        var atomic = new DieSketch(DwTag.AtomicType).With(DwAt.Type, Ref4, _int);
        var nothing = new DieSketch(DwTag.PointerType);
        var function = new DieSketch(DwTag.SubroutineType).With(DwAt.Type, Ref4, _int).Add(
            new DieSketch(DwTag.FormalParameter).With(DwAt.Type, Ref4, nothing), new DieSketch(DwTag.UnspecifiedParameters));
        var callback = new DieSketch(DwTag.PointerType).With(DwAt.Type, Ref4, function);
        var types = Build(constant, pointer, restricted, atomic, nothing, function, callback);
        Assert.Equal("const int * restrict p", types.TypeAt(restricted.Offset).Declare("p"));
        Assert.Equal("_Atomic int x", types.TypeAt(atomic.Offset).Declare("x"));
        Assert.Equal("int (*f)(void *, ...)", types.TypeAt(callback.Offset).Declare("f"));
        Assert.Equal("void", types.TypeAt(-1).ToString());
    }

    [Fact]
    public void A_functions_type_has_its_parameters_names_also_when_they_stand_in_its_origin()
    {
        var parameter = Die(DwTag.FormalParameter, "irq").With(DwAt.Type, Ref4, _int);
        var @abstract = Die(DwTag.Subprogram, "handle").With(DwAt.Type, Ref4, _int).Add(parameter);
        var concrete = new DieSketch(DwTag.Subprogram).With(DwAt.AbstractOrigin, Ref4, @abstract).Add(new DieSketch(DwTag.FormalParameter).With(DwAt.AbstractOrigin, Ref4, parameter));
        var types = Build(@abstract, concrete);
        foreach (var die in new[] { @abstract, concrete })
        {
            Assert.Equal("int handle(int irq)", TypeListing.Declare(new Variable("handle", types.TypeAt(die.Offset), 0)));
        }
    }

    [Fact]
    public void A_structure_that_a_unit_only_declares_is_completed_from_another_unit()
    {
        var declared = Die(DwTag.StructureType, "page").With(DwAt.Declaration, Present, 1);
        var nowhere = Die(DwTag.StructureType, "secret").With(DwAt.Declaration, Present, 1);
        var pointer = new DieSketch(DwTag.PointerType).With(DwAt.Type, Ref4, declared);
        var definition = Die(DwTag.StructureType, "page").With(DwAt.ByteSize, Data1, 64).Add(Member("flags", _int));
        var builder = new DwarfBuilder();
        builder.AddUnit(new DieSketch(DwTag.CompileUnit).Add(declared, nowhere, pointer));
        builder.AddUnit(new DieSketch(DwTag.CompileUnit).Add(definition, _int));
        var names = Names(builder.Build());
        var type = (StructType)((PointerType)names.Types.TypeAt(pointer.Offset)).Target;
        Assert.Equal((64, false, "flags"), (type.Size, type.IsIncomplete, Assert.Single(type.Members).Name));
        var incomplete = (StructType)names.Types.TypeAt(nowhere.Offset);
        Assert.Equal((0, true, 0), (incomplete.Size, incomplete.IsIncomplete, incomplete.Members.Length));
        Assert.Equal(definition.Offset, Assert.Single(names.Search.FindAll("page", false, DwTag.StructureType), d => d.Unit.Header.Offset != 0).Entry);
    }

    [Fact]
    public void Type_units_are_found_by_their_signature()
    {
        var structure = Die(DwTag.StructureType, "apart").With(DwAt.ByteSize, Data1, 4).Add(Member("x", _int));
        var builder = new DwarfBuilder();
        var user = Die(DwTag.Variable, "v").With(DwAt.Type, RefSig8, 0x1122334455667788UL);
        var stub = Die(DwTag.StructureType, "apart").With(DwAt.Declaration, Present, 1).With(DwAt.Signature, RefSig8, 0x1122334455667788UL);
        builder.AddUnit(new DieSketch(DwTag.CompileUnit).Add(user, stub));
        var at = 0;
        var unit = builder.AddUnit(
            new DieSketch(DwTag.TypeUnit).Add(structure, _int), unitType: 2, afterHeader: w =>
            {
                w.U64(0x1122334455667788);
                at = w.Length;
                w.U32(0);
            });
        var sections = builder.Build();
        var info = sections.GetSection(".debug_info").Span.ToArray();
        BitConverter.TryWriteBytes(info.AsSpan(at), structure.Offset - unit);
        sections[".debug_info"] = info;
        var types = Names(sections).Types;
        Assert.Equal("x", Assert.Single(((StructType)types.TypeAt(user.Offset)).Members).Name);
        Assert.Equal(4, types.TypeAt(stub.Offset).Size);
        Assert.Equal("void", types.TypeAt(user.Offset + 1000).ToString());
    }

    [Fact]
    public void References_may_lead_into_other_units()
    {
        var builder = new DwarfBuilder();
        var typedef = Die(DwTag.Typedef, "u32").With(DwAt.Type, RefAddr, _int);
        builder.AddUnit(new DieSketch(DwTag.CompileUnit).Add(typedef));
        builder.AddUnit(new DieSketch(DwTag.PartialUnit).Add(_int), version: 4);
        Assert.Equal(4, Names(builder.Build()).Types.TypeAt(typedef.Offset).Size);
    }

    [Fact]
    public void Types_that_are_made_of_themselves_end()
    {
        var typedef = Die(DwTag.Typedef, "loop");
        typedef.With(DwAt.Type, Ref4, typedef);
        var array = new DieSketch(DwTag.ArrayType).Add(new DieSketch(DwTag.SubrangeType).With(DwAt.Count, Data1, 2));
        array.With(DwAt.Type, Ref4, array);
        var structure = Die(DwTag.StructureType, "").With(DwAt.ByteSize, Data1, 8);
        structure.Add(new DieSketch(DwTag.Member).With(DwAt.Type, Ref4, structure).With(DwAt.DataMemberLocation, Data1, 0));
        var function = new DieSketch(DwTag.SubroutineType);
        function.With(DwAt.Type, Ref4, function).Add(new DieSketch(DwTag.FormalParameter).With(DwAt.Type, Ref4, function), new DieSketch(DwTag.FormalParameter).With(DwAt.Type, Ref4, function));
        var first = Die(DwTag.Variable, "first");
        var second = Die(DwTag.Variable, "second").With(DwAt.Type, Ref4, first);
        first.With(DwAt.Type, Ref4, second);
        var origin = new DieSketch(DwTag.Subprogram);
        origin.With(DwAt.AbstractOrigin, Ref4, origin);
        var qualified = new DieSketch(DwTag.ConstType);
        qualified.With(DwAt.Type, Ref4, qualified);
        var dies = new[] { typedef, array, structure, function, first, second, origin, qualified };
        var types = Build(dies);
        foreach (var die in dies)
        {
            var type = types.TypeAt(die.Offset);
            Assert.True(type.Size is >= 0 and <= 8);
            Assert.NotNull(type.Resolved);
            Assert.True(type.Declare("x").Length < 100_000);
            Assert.True(TypeListing.Of(type).Length < 1_000_000);
            Assert.False(StructLayouts.TryFind(type, "nothing.at[1].all", out _));
        }
    }

    [Fact]
    public void Sizes_beyond_all_reason_saturate()
    {
        var array = new DieSketch(DwTag.ArrayType).With(DwAt.Type, Ref4, _int).Add(
            new DieSketch(DwTag.SubrangeType).With(DwAt.Count, Data8, ulong.MaxValue >> 1), new DieSketch(DwTag.SubrangeType).With(DwAt.Count, Data8, ulong.MaxValue >> 1));
        Assert.Equal(1L << 62, Build(array).TypeAt(array.Offset).Size);
    }

    [Fact]
    public void Damage_in_one_type_costs_that_type()
    {
        var good = Die(DwTag.StructureType, "good").With(DwAt.ByteSize, Data1, 4).Add(Member("x", _int));
        var bad = Die(DwTag.StructureType, "bad").With(DwAt.ByteSize, Data1, 4).Add(new DieSketch(DwTag.Member).With(DwAt.Name, Strp, "name").With(DwAt.Type, Data4, 0x7fffffff));
        var builder = new DwarfBuilder();
        builder.AddUnit(_root.Add(_int, good, bad));
        var sections = builder.Build();
        sections[".debug_str"] = [];
        var types = Names(sections).Types;
        Assert.Equal("x", Assert.Single(((StructType)types.TypeAt(good.Offset)).Members).Name);
        Assert.Equal(("", "void"), ((StructType)types.TypeAt(bad.Offset)).Members is [var member] ? (member.Name, member.Type.ToString()) : default);
        Assert.Equal("void", types.TypeAt(1).ToString());
        Assert.Equal("void", types.TypeAt(int.MaxValue).ToString());
    }

    [Fact]
    public void A_name_is_found_as_text_as_an_offset_as_the_tail_of_another_and_as_a_number()
    {
        var inline = Die(DwTag.Typedef, "u8").With(DwAt.Type, Ref4, _int);
        var offset = new DieSketch(DwTag.StructureType).With(DwAt.Name, Strp, "irq_desc").With(DwAt.ByteSize, Data1, 8);
        var builder = new DwarfBuilder();
        builder.AddUnit(_root.Add(_int, inline, offset));
        var numbered = new DieSketch(DwTag.StructureType).With(DwAt.Name, (ushort)0x25, 1).With(DwAt.ByteSize, Data1, 12);
        builder.AddUnit(new DieSketch(DwTag.CompileUnit).With(DwAt.StrOffsetsBase, (ushort)0x17, 8).Add(numbered));
        var sections = builder.Build();
        // As GNU ld merges them: "irq_desc" is the end of a longer string.
        sections[".debug_str"] = [.. "\0irq_desc\0x_numbered\0"u8];
        sections[".debug_str_offsets"] = [.. new ByteWriter().U32(12).U16(5).U16(0).U32(0).U32(12).ToArray()];
        var names = Names(sections);
        Assert.Equal("u8", names.FindType(TypeTag.Ordinary, "u8")?.Name);
        Assert.Equal(8, names.FindType(TypeTag.Struct, "irq_desc")?.Size);
        Assert.Equal(12, names.FindType(TypeTag.Struct, "numbered")?.Size);
        Assert.Null(names.FindType(TypeTag.Struct, "desc"));
        Assert.Null(names.FindType(TypeTag.Union, "irq_desc"));
        Assert.Null(names.FindType(TypeTag.Struct, ""));
    }

    [Fact]
    public void A_name_that_is_the_tail_of_very_many_strings_is_found()
    {
        var structure = new DieSketch(DwTag.StructureType).With(DwAt.Name, Strp, "unused").With(DwAt.ByteSize, Data1, 8);
        var builder = new DwarfBuilder();
        builder.AddUnit(_root.Add(_int, structure));
        var sections = builder.Build();
        var strings = new ByteWriter().U8(0);
        for (var i = 0; i < 500; i++)
        {
            strings.Text($"x{i}_stat");
        }

        // The one that the linker chose is the last.
        var info = sections.GetSection(".debug_info").Span.ToArray();
        BitConverter.TryWriteBytes(info.AsSpan(structure.Offset + 1), strings.Length - 5);
        (sections[".debug_info"], sections[".debug_str"]) = (info, strings.ToArray());
        Assert.Equal("stat", Names(sections).FindType(TypeTag.Struct, "stat")?.Name);
    }

    private DwarfTypes Build(params DieSketch[] dies)
    {
        var builder = new DwarfBuilder();
        builder.AddUnit(_root.Add([_int, .. dies]));
        return Names(builder.Build()).Types;
    }

    private ImmutableArray<Member> Members(DieSketch structure, int version = 5)
    {
        var builder = new DwarfBuilder();
        builder.AddUnit(_root.Add(_int, structure), version);
        return ((StructType)Names(builder.Build()).Types.TypeAt(structure.Offset)).Members;
    }

    private static DwarfNames Names(SyntheticSections sections)
    {
        using var folder = new ScratchFolder();
        File.WriteAllBytes(folder.File("empty"), new ElfBuilder().Build());
        return new DwarfNames(new KTrace.Symbols.Symbolizer(sections, new KTrace.Symbols.Elf.ElfSymbolTable(KTrace.Symbols.Elf.ElfFile.Open(folder.File("empty")))));
    }

    private static DieSketch Die(ushort tag, string name) => new DieSketch(tag).With(DwAt.Name, String, name);

    private static DieSketch Base(string name, int size, int encoding) => Die(DwTag.BaseType, name).With(DwAt.ByteSize, Data1, size).With(DwAt.Encoding, Data1, encoding);

    private static DieSketch Member(string name, DieSketch type) => Die(DwTag.Member, name).With(DwAt.Type, Ref4, type);

    private static DieSketch Enumerator(string name, ushort form, object value) => Die(DwTag.Enumerator, name).With(DwAt.ConstValue, form, value);
}
