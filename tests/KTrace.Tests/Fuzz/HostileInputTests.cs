// Inputs that no mutation finds: made by hand so that a reader recurses, counts, inflates or walks for ever. Each goes through every reader of its kind with the
// checks of FuzzRun: declared exceptions only, seconds at most, bounded memory, a small stack.
using System.IO.Compression;
using KTrace.Symbols.Elf;
using KTrace.Tests.Support;
using KTrace.Tests.Symbols.Btf;
using KTrace.Tests.Symbols.CallFrame;

namespace KTrace.Tests.Fuzz;

public sealed class HostileInputTests
{
    private const ulong Text = 0x401000;
    private const int Many = 100_000;

    private const ushort CompileUnit = 0x11, Subprogram = 0x2e, Inlined = 0x1d, LexicalBlock = 0x0b, Structure = 0x13, Member = 0x0d, Pointer = 0x0f, Array = 0x01, Const = 0x26,
        Subroutine = 0x15, Parameter = 0x05, Typedef = 0x16, Variable = 0x34;

    private const ushort Sibling = 0x01, Name = 0x03, StmtList = 0x10, LowPc = 0x11, HighPc = 0x12, Type = 0x49, AbstractOrigin = 0x31, Specification = 0x47, Ranges = 0x55, External = 0x3f,
        CallLine = 0x59, ByteSize = 0x0b, MemberLocation = 0x38, Location = 0x02;

    private const ushort Addr = 0x01, Data2 = 0x05, Data4 = 0x06, Data8 = 0x07, String = 0x08, Data1 = 0x0b, Ref4 = 0x13, Indirect = 0x16, SecOffset = 0x17, Udata = 0x0f, Exprloc = 0x18;

    public static TheoryData<string> Objects => new(s_objects.Keys);

    public static TheoryData<string> Expressions => new(s_expressions.Keys);

    private static readonly Dictionary<string, Func<SyntheticSections>> s_objects = new()
    {
        ["a function that is its own abstract origin"] = () => Unit(f => f.With(AbstractOrigin, Ref4, f)),
        ["two functions that are each other's specification"] = () =>
        {
            var other = new DieSketch(Subprogram);
            return Unit(f => f.With(Specification, Ref4, other.With(Specification, Ref4, f)), other);
        },
        ["an inlined call of itself"] = () => Unit(f =>
        {
            var call = Ranged(Inlined);
            f.Add(call.With(AbstractOrigin, Ref4, call));
        }),
        ["a pointer to itself"] = () => OfType(Pointer),
        ["a const that is const of itself"] = () => OfType(Const),
        ["a typedef of itself"] = () => OfType(Typedef),
        ["an array of itself"] = () => OfType(Array),
        ["a function type that takes itself"] = () =>
        {
            var type = new DieSketch(Subroutine);
            Enumerable.Range(0, 40).ToList().ForEach(_ => type.Add(new DieSketch(Parameter).With(Type, Ref4, type)));
            return Unit(f => f.Add(new DieSketch(Parameter).With(Name, String, "x").With(Type, Ref4, type)), type.With(Type, Ref4, type));
        },
        ["a structure that holds itself"] = () =>
        {
            var type = new DieSketch(Structure).With(Name, String, "outer").With(ByteSize, Data1, 8);
            type.Add(new DieSketch(Member).With(Name, String, "inner").With(Type, Ref4, type).With(MemberLocation, Data1, 0), new DieSketch(Member).With(Type, Ref4, type).With(MemberLocation, Data1, 0));
            return Unit(f => f.Add(new DieSketch(Parameter).With(Name, String, "x").With(Type, Ref4, type)), type);
        },
        ["structures that hold each other twice, thirty deep"] = () =>
        {
            // Paths through them double with each level.
            var types = Enumerable.Range(0, 30).Select(i => new DieSketch(Structure).With(Name, String, i == 0 ? "outer" : "s" + i).With(ByteSize, Data4, 1 << 29)).ToArray();
            for (var i = 0; i + 1 < types.Length; i++)
            {
                types[i].Add(new DieSketch(Member).With(Type, Ref4, types[i + 1]).With(MemberLocation, Data1, 0), new DieSketch(Member).With(Type, Ref4, types[i + 1]).With(MemberLocation, Data1, 8));
            }

            return Unit(f => { }, types);
        },
        ["DW_FORM_indirect that names itself for ever"] = () => Raw(w => w.Uleb(Name).Uleb(Indirect), w => w.Bytes([.. Enumerable.Repeat((byte)Indirect, Many), 0x0b, 1])),
        ["DW_FORM_indirect that names DW_FORM_implicit_const"] = () => Raw(w => w.Uleb(Name).Uleb(Indirect), w => w.Bytes([0x21, 0x21, 0x21])),
        ["inlined calls in inlined calls, 100,000 deep"] = () => Nested(Inlined),
        ["blocks in blocks, 100,000 deep"] = () => Nested(LexicalBlock),
        ["functions in functions, 100,000 deep"] = () => Nested(Subprogram),
        ["structures in structures, 100,000 deep"] = () => Nested(Structure),
        ["a DW_AT_sibling that leads to itself"] = () => Unit(f =>
        {
            var block = new DieSketch(LexicalBlock);
            f.Add(block.With(Sibling, Ref4, block).Add(new DieSketch(Variable)));
        }),
        ["100,000 inlined calls that share one list of 1,000 ranges"] = () => SharedRanges(),
        ["a list of ranges without end"] = () => With(Unit(f => { }, ranged: true), ".debug_rnglists", [.. Enumerable.Range(0, Many).SelectMany(i => new byte[] { 0x05, 0, 0, 0, 0, 0, 0, 0, 0 })]),
        ["a list of empty ranges without end"] = () => With(Unit(f => { }, ranged: true), ".debug_rnglists", [.. Enumerable.Range(0, Many).SelectMany(i => new byte[] { 0x04, 1, 1 })]),
        ["an abbreviation table without end"] = () => With(Unit(f => { }), ".debug_abbrev", [.. Enumerable.Range(1, Many).SelectMany(i => new ByteWriter().Uleb((ulong)i).U8(0x2e).U8(1).U8(3).U8(8).U8(0).U8(0).ToArray())]),
        ["abbreviations with the largest codes"] = () => With(Unit(f => { }), ".debug_abbrev",
            [.. Enumerable.Range(0, Many).SelectMany(i => new ByteWriter().Uleb(ulong.MaxValue - (ulong)i).U8(0x2e).U8(1).U8(0).U8(0).ToArray()), 0]),
        ["an abbreviation with 100,000 attributes"] = () => With(Unit(f => { }), ".debug_abbrev", [1, 0x11, 1, .. Enumerable.Repeat<byte[]>([0x03, 0x19], Many).SelectMany(b => b), 0, 0, 0]),
        ["100,000 units of no length"] = () => With(Unit(f => { }), ".debug_info", new byte[4 * Many]),
        ["100,000 units that claim one address"] = () =>
        {
            var aranges = new ByteWriter();
            for (var i = 0; i < Many; i++)
            {
                aranges.U32(44).U16(2).U32((ulong)i).U8(8).U8(0).U32(0).U64(Text).U64(0x100).U64(0).U64(0);
            }

            return With(Unit(f => { }), ".debug_aranges", aranges.ToArray());
        },
        ["a line program that advances for ever"] = () => Lines(p => Enumerable.Range(0, Many).ToList().ForEach(_ => p.Raw(0x08, 0xff))),
        ["a line program that advances by the largest number"] = () => Lines(p => Enumerable.Range(0, 10_000).ToList().ForEach(_ => p.Raw(0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x01))),
        ["a line program of 100,000 sequences at one address"] = () => Lines(p => Enumerable.Range(0, Many).ToList().ForEach(_ => p.SetAddress(Text).Row(0, 1).Row(8, 1).EndSequence())),
        ["a line program whose addresses go back"] = () => Lines(p => Enumerable.Range(0, 20_000).ToList().ForEach(i => p.SetAddress(Text + 0x100 - ((ulong)i & 0xff)).Row(0, 1))),
        ["a line program of empty extended opcodes"] = () => Lines(p => p.Raw(new byte[2 * Many])),
        ["a line program that defines 100,000 files"] = () => Lines(p => Enumerable.Range(0, Many).ToList().ForEach(_ => p.Extended(3, w => w.Text("f").U8(0).U8(0).U8(0)))),
        ["a file table of 100,000 files without columns"] = () => With(Lines(p => { }), ".debug_line", LineHeader([1, 1, 8, 1, 47, 0, 0, 0xa0, 0x8d, 6])),
        ["a file table with 255 columns"] = () => With(Lines(p => { }), ".debug_line", LineHeader([0, 0, 255, .. Enumerable.Repeat<byte[]>([1, 0x0b], 255).SelectMany(b => b), 0xff, 0x7f, .. new byte[0x10000]])),
        ["a variable with a location that jumps back for ever"] = () => Unit(f => f.Add(new DieSketch(Variable).With(Name, String, "v").With(External, Data1, 1)
            .With(Location, Exprloc, new byte[] { 0x31, 0x28, 0xfc, 0xff }))),
        ["a location that calls itself"] = () => Unit(f =>
        {
            var variable = new DieSketch(Variable).With(Name, String, "v");
            f.Add(variable.With(Location, Exprloc, new byte[] { 0x98, 0x20, 0x00 }));
        }),
    };

    private static readonly Dictionary<string, byte[]> s_expressions = new()
    {
        ["a jump to itself"] = [0x2f, 0xfd, 0xff],
        ["a loop with a condition that holds"] = [0x31, 0x12, 0x28, 0xfc, 0xff],
        ["a stack that grows for ever"] = [0x31, 0x12, 0x2f, 0xfc, 0xff],
        ["a jump before the beginning"] = [0x2f, 0x00, 0x80],
        ["a jump behind the end"] = [0x2f, 0xff, 0x7f],
        ["a division by zero"] = [0x31, 0x30, 0x1b],
        ["the smallest number divided by minus one"] = [0x0e, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x11, 0x7f, 0x1b],
        ["a remainder of nothing"] = [0x31, 0x30, 0x1d],
        ["a shift by more bits than there are"] = [0x31, 0x08, 0xff, 0x24],
        ["a pick below the stack"] = [0x15, 0xff],
        ["a deref of the largest size"] = [0x30, 0x94, 0xff],
        ["entry values in entry values"] = [.. Enumerable.Repeat<byte[]>([0xa3, 0x7f], 60).SelectMany(b => b)],
        ["100,000 numbers"] = [.. Enumerable.Repeat((byte)0x31, Many)],
    };

    [Theory]
    [MemberData(nameof(Objects))]
    public void Hostile_debug_information_is_bounded(string what)
    {
        using var folder = new ScratchFolder();
        var file = ElfFile.Open(Code().AddSymbol("main", Text, 0x80).AddSymbol("work", Text + 0x80, 0x80).Write(folder));
        var sections = s_objects[what]();
        string[] names = [".debug_info", ".debug_abbrev", ".debug_str", ".debug_line", ".debug_line_str", ".debug_rnglists", ".debug_aranges", ".debug_addr", ".debug_loclists"];
        var seed = new FuzzSeed(what, names.ToDictionary(n => n, n => sections.GetSection(n).Span.ToArray()), new FuzzObject(file, new ElfSymbolTable(file), [Text, Text + 1, Text + 0x7f, Text + 0x80, Text + 0xff]));
        foreach (var reader in FuzzReaders.All.Where(r => r.Name.StartsWith("dwarf-", StringComparison.Ordinal)))
        {
            FuzzRun.RunAsItIs(reader with { AllocationLimit = 640 << 20 }, seed);
        }
    }

    [Theory]
    [MemberData(nameof(Expressions))]
    public void Hostile_expressions_end(string what) => FuzzRun.RunAsItIs(FuzzReaders.Named("call-frame-expressions"), FuzzSeed.OfFile(what, s_expressions[what]));

    [Fact]
    public void Types_of_BTF_that_go_in_circles_end()
    {
        var btf = new BtfBytes();
        var integer = btf.Add(1, "int", 4, 0, false, 32);
        // Identifiers are given in order, so a type can name the next one, and itself.
        btf.Add(8, "t", (uint)integer + 1);
        btf.Add(10, "", (uint)integer + 2);
        btf.Add(3, "", 0, 0, false, (uint)integer + 3, (uint)integer, uint.MaxValue);
        btf.Add(4, "s", 8, 2, false, btf.String("a"), (uint)integer + 4, 0, 0, (uint)integer + 4, 0);
        btf.Add(4, "module", uint.MaxValue, 1, false, btf.String("core_layout"), (uint)integer + 3, uint.MaxValue);
        for (uint i = 0; i < 40; i++)
        {
            // Each holds the next twice, without a name: paths double with each.
            btf.Add(4, i == 0 ? "task_struct" : "s" + i, 8, 2, false, 0, (uint)integer + 7 + i, 0, 0, (uint)integer + 7 + i, 0);
        }

        FuzzRun.RunAsItIs(FuzzReaders.Named("btf"), FuzzSeed.OfFile("circles", btf.Bytes()));
    }

    [Fact]
    public void Compressed_sections_that_inflate_without_measure_are_refused()
    {
        foreach (var claimed in (ulong[])[1UL << 30, uint.MaxValue, ulong.MaxValue])
        {
            var packed = new MemoryStream();
            using (var zlib = new ZLibStream(packed, CompressionLevel.SmallestSize, leaveOpen: true))
            {
                zlib.Write(new byte[64 << 20]);
            }

            var bomb = new ByteWriter().U32(1).U32(0).U64(claimed).U64(1).Bytes(packed.ToArray());
            var elf = new ElfBuilder();
            elf.AddCode(".text", Text, 0x100);
            elf.Add(".debug_info", bomb.ToArray(), flags: 0x800);
            elf.Add(".debug_str", bomb.ToArray(), flags: 0x800);
            FuzzRun.RunAsItIs(FuzzReaders.Named("elf"), FuzzSeed.OfFile("bomb", elf.AddSymbol("main", Text, 0x80).Build()));
        }
    }

    [Fact]
    public void Call_frames_that_refer_to_each_other_or_go_on_for_ever_end()
    {
        byte[] forever = [.. Enumerable.Repeat<byte[]>([0x0a], Many).SelectMany(b => b)];
        foreach (var section in (byte[][])
            [
                // An FDE that is its own CIE; 100,000 remembered states; locations that go back.
                CallFrameBytes.Fde(0, 0x2000, 0x100, []),
                [.. CallFrameBytes.Cie(), .. CallFrameBytes.Fde(0, 0x2000, 0x100, forever)],
                [.. CallFrameBytes.Cie(), .. CallFrameBytes.Fde(0, 0x2000, 0x100, [0x01, 0, 0, 0, 0, 0, 0, 0, 0, 0x0b, 0x0b, 0x0b])],
                [.. CallFrameBytes.Cie(), .. Enumerable.Range(0, 20_000).SelectMany(_ => CallFrameBytes.Fde(0, 0x2000, ulong.MaxValue, []))],
            ])
        {
            FuzzRun.RunAsItIs(FuzzReaders.Named("call-frames"), new FuzzSeed("frames", new Dictionary<string, byte[]> { [".debug_frame"] = section }, new List<ulong> { 0x2000, 0x2010, 0 }));
        }
    }

    [Fact]
    public void Hostile_texts_end()
    {
        FuzzRun.RunAsItIs(FuzzReaders.Named("scenarios"), FuzzSeed.OfText("nested", string.Concat(Enumerable.Repeat("[", Many))));
        FuzzRun.RunAsItIs(FuzzReaders.Named("scenarios"), FuzzSeed.OfText("aliases", "a: &a [x,x,x,x,x,x,x,x]\n" + string.Concat("bcdefghijk".Select((c, i) => $"{c}: &{c} [{string.Join(',', Enumerable.Repeat("*" + "abcdefghij"[i], 9))}]\n"))));
        FuzzRun.RunAsItIs(FuzzReaders.Named("scenarios"), FuzzSeed.OfText("alias of itself", "tracepoints: &a [*a]\n"));
        FuzzRun.RunAsItIs(FuzzReaders.Named("manifests"), FuzzSeed.OfText("nested", string.Concat(Enumerable.Repeat("{\"a\":", Many))));
        FuzzRun.RunAsItIs(FuzzReaders.Named("rsp-target-xml"), FuzzSeed.OfText("nested", string.Concat(Enumerable.Repeat("<x>", Many))));
        FuzzRun.RunAsItIs(FuzzReaders.Named("rsp-target-xml"), FuzzSeed.OfText("entities", "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;\">]><target>&b;</target>"));
        FuzzRun.RunAsItIs(FuzzReaders.Named("hit-filters"), FuzzSeed.OfText("stars", "function=" + string.Concat(Enumerable.Repeat("*a", 2_000))));
        FuzzRun.RunAsItIs(FuzzReaders.Named("rsp-packets"), FuzzSeed.OfFile("runs", [(byte)'$', (byte)'a', .. Enumerable.Repeat<byte[]>([(byte)'*', (byte)'~'], Many).SelectMany(b => b)]));
    }

    private static ElfBuilder Code()
    {
        var elf = new ElfBuilder();
        elf.AddCode(".text", Text, 0x100);
        return elf;
    }

    private static SyntheticSections With(SyntheticSections sections, string name, byte[] bytes)
    {
        sections[name] = bytes;
        return sections;
    }

    private static DieSketch Ranged(ushort tag) => new DieSketch(tag).With(LowPc, Addr, Text).With(HighPc, Data4, 0x100);

    private static SyntheticSections Unit(Action<DieSketch> build, params DieSketch[] more) => Unit(build, false, more);

    private static SyntheticSections Unit(Action<DieSketch> build, bool ranged, params DieSketch[] more)
    {
        var function = ranged ? new DieSketch(Subprogram).With(Ranges, SecOffset, 0) : Ranged(Subprogram);
        build(function);
        var root = new DieSketch(CompileUnit).With(Name, String, "a.c").With(LowPc, Addr, Text).With(HighPc, Data4, 0x100);
        var builder = new DwarfBuilder();
        builder.AddUnit(root.Add(function).Add(more));
        return builder.Build();
    }

    private static SyntheticSections OfType(ushort tag)
    {
        var type = new DieSketch(tag);
        return Unit(f => f.With(Type, Ref4, type).Add(new DieSketch(Parameter).With(Name, String, "x").With(Type, Ref4, type)), type.With(Type, Ref4, type));
    }

    // A unit whose second DIE, a function, has one more attribute with any bytes.
    private static SyntheticSections Raw(Action<ByteWriter> specification, Action<ByteWriter> value)
    {
        var abbreviations = new ByteWriter().Bytes([1, 0x11, 1, 0x11, 0x01, 0x12, 0x06, 0, 0, 2, 0x2e, 0, 0x11, 0x01, 0x12, 0x06]);
        specification(abbreviations);
        abbreviations.Bytes([0, 0, 0]);
        var body = new ByteWriter().U16(5).U8(1).U8(8).U32(0).U8(1).U64(Text).U32(0x100).U8(2).U64(Text).U32(0x100);
        value(body);
        body.U8(0);
        var sections = new SyntheticSections();
        sections[".debug_abbrev"] = abbreviations.ToArray();
        sections[".debug_info"] = new ByteWriter().U32((ulong)body.Length).Bytes(body.ToArray()).ToArray();
        return sections;
    }

    private static SyntheticSections Nested(ushort tag)
    {
        var abbreviations = new ByteWriter().Bytes([1, 0x11, 1, 0x11, 0x01, 0x12, 0x06, 0, 0, 2, 0x2e, 1, 0x11, 0x01, 0x12, 0x06, 0, 0, 3]).Uleb(tag).Bytes([1, 0x11, 0x01, 0x12, 0x06, 0, 0, 0]);
        var body = new ByteWriter().U16(5).U8(1).U8(8).U32(0).U8(1).U64(Text).U32(0x100).U8(2).U64(Text).U32(0x100);
        for (var i = 0; i < Many; i++)
        {
            body.U8(3).U64(Text).U32(0x100);
        }

        body.Bytes(new byte[Many + 2]);
        var sections = new SyntheticSections();
        sections[".debug_abbrev"] = abbreviations.ToArray();
        sections[".debug_info"] = new ByteWriter().U32((ulong)body.Length).Bytes(body.ToArray()).ToArray();
        return sections;
    }

    private static SyntheticSections SharedRanges()
    {
        var abbreviations = new ByteWriter().Bytes([1, 0x11, 1, 0x11, 0x01, 0x12, 0x06, 0, 0, 2, 0x2e, 1, 0x11, 0x01, 0x12, 0x06, 0, 0, 3, 0x1d, 0, 0x55, 0x17, 0, 0, 0]);
        var body = new ByteWriter().U16(5).U8(1).U8(8).U32(0).U8(1).U64(Text).U32(0x100).U8(2).U64(Text).U32(0x100);
        for (var i = 0; i < Many; i++)
        {
            body.U8(3).U32(0);
        }

        body.U8(0).U8(0);
        var ranges = new ByteWriter();
        for (var i = 0; i < 1000; i++)
        {
            ranges.U8(0x07).U64(Text + (ulong)(i % 128 * 2)).Uleb(1);
        }

        var sections = new SyntheticSections();
        sections[".debug_abbrev"] = abbreviations.ToArray();
        sections[".debug_info"] = new ByteWriter().U32((ulong)body.Length).Bytes(body.ToArray()).ToArray();
        sections[".debug_rnglists"] = ranges.U8(0).ToArray();
        return sections;
    }

    private static SyntheticSections Lines(Action<LineProgramBuilder> build)
    {
        var program = new LineProgramBuilder().SetAddress(Text).Row(0, 1);
        build(program);
        var root = new DieSketch(CompileUnit).With(Name, String, "a.c").With(LowPc, Addr, Text).With(HighPc, Data4, 0x100).With(StmtList, SecOffset, 0);
        var builder = new DwarfBuilder();
        builder.AddUnit(root.Add(Ranged(Subprogram).With(Name, String, "f")));
        return With(builder.Build(), ".debug_line", program.EndSequence().Build());
    }

    // A version 5 header with the given tables behind standard_opcode_lengths.
    private static byte[] LineHeader(byte[] tables)
    {
        byte[] rest = [1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, .. tables];
        var body = new ByteWriter().U16(5).U8(8).U8(0).U32((ulong)rest.Length).Bytes(rest);
        return new ByteWriter().U32((ulong)body.Length).Bytes(body.ToArray()).ToArray();
    }
}
