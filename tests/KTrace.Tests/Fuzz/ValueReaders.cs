using KTrace.Symbols;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Btf;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tests.Support;
using KTrace.Tests.Symbols.Values;

namespace KTrace.Tests.Fuzz;

/// <summary>Types, arguments and locals, expressions, names that people look for.</summary>
internal static class ValueReaders
{
    private static readonly FuzzMutation[] s_bytes = [Mutation.OfBytes, Mutation.OfBytes, Mutation.OfBytes, Mutation.OfBlocks];

    private const int MostTypes = 300;

    public static IEnumerable<FuzzReader> All =>
    [
        new("dwarf-types", 8, ObjectReaders.Objects, s_bytes, DwarfGraph, FuzzReader.Malformed),
        new("btf-types", 6, UnwindReaders.BtfSeeds, s_bytes, BtfGraph, FuzzReader.Malformed) { AllocationLimit = 512 << 20 },
        new("dwarf-lookup", 5, ObjectReaders.Objects, s_bytes, Lookup, FuzzReader.Malformed),
        new("arguments", 8, KernelSeeds, [MutationOfElf.Of], Arguments, FuzzReader.Malformed) { AllocationLimit = 256 << 20 },
        new("expressions", 5, ExpressionSeeds, [Mutation.OfText], Expressions, e => e is ExpressionSyntaxException { Message.Length: > 0 } ? null : "is not declared"),
        new("names", 4, NameSeeds, [Mutation.OfText, Mutation.OfBytes], Names, FuzzReader.Malformed),
    ];

    // Everything that a printer, a listing or an expression asks of a type, a few levels deep.
    private static void Walk(FuzzCase c, CType type, int depth, ref int left)
    {
        if (depth > 6 || --left < 0)
        {
            return;
        }

        var children = new List<CType>();
        c.Ask(() => _ = type.Size);
        c.Ask(() => _ = type.ToString());
        c.Ask(() => children.Add(type.Resolved));
        if (depth == 0)
        {
            c.Ask(() => TypeListing.Of(type));
        }

        c.Ask(() =>
        {
            switch (type)
            {
                case PointerType pointer:
                    children.Add(pointer.Target);
                    break;
                case ArrayType array:
                    children.Add(array.Element);
                    break;
                case TypedefType typedef:
                    children.Add(typedef.Target);
                    break;
                case QualifiedType qualified:
                    children.Add(qualified.Target);
                    break;
                case StructType structure:
                    children.AddRange(structure.Members.Take(20).Select(m => m.Type));
                    MemberGaps.Of(structure);
                    break;
                case EnumType enumeration:
                    _ = enumeration.Enumerators.Length;
                    break;
                case FunctionType function:
                    children.Add(function.Returns);
                    children.AddRange(function.Parameters.Take(20).Select(p => p.Type));
                    break;
            }
        });
        foreach (var child in children.Where(child => child != type))
        {
            Walk(c, child, depth + 1, ref left);
        }
    }

    private static void Ask(FuzzCase c, ITypeSource types)
    {
        var left = MostTypes;
        foreach (var (tag, name) in ((TypeTag, string)[])[(TypeTag.Struct, "outer"), (TypeTag.Struct, "inner"), (TypeTag.Struct, "task_struct"), (TypeTag.Struct, "s"), (TypeTag.Ordinary, "t"), (TypeTag.Enum, "e"), (TypeTag.Ordinary, "int")])
        {
            if (c.Ask(() => types.FindType(tag, name)) is { } type)
            {
                Walk(c, type, 0, ref left);
            }
        }

        foreach (var name in (string[])["global", "counter", "init_task", "jiffies", "nothing"])
        {
            c.Ask(() => types.FindVariable(name)?.ToString());
        }

        c.Ask(() => types.FindFunction("main")?.ToString());
        c.Ask(() => types.FindEnumerator("E")?.ToString());
        c.Ask(() => types.SuggestTypes("outr", 5));
    }

    private static void DwarfGraph(FuzzCase c)
    {
        var about = (FuzzObject)c.Seed.Context!;
        var sections = c.Sections(about.File.AddressSize);
        var symbolizer = new Symbolizer(sections, about.Symbols);
        Ask(c, new ObjectTypes(sections, symbolizer, about.File.AddressSize));
        var graph = new DwarfTypes(symbolizer);
        var left = MostTypes;
        for (var i = 0; i < 60; i++)
        {
            var at = c.Random.Next(Math.Max(1, symbolizer.Sections.Info.Length));
            if (c.Ask(() => graph.TypeAt(at)) is { } type)
            {
                Walk(c, type, 0, ref left);
            }
        }
    }

    private static void BtfGraph(FuzzCase c)
    {
        var file = BtfFile.Open(new SectionData("fuzz", ".BTF", c.Bytes));
        var types = new BtfTypes(file);
        var left = MostTypes;
        for (var id = 0; id < Math.Min(file.EndId, 60); id++)
        {
            if (c.Ask(() => types.TypeOf(id)) is { } type)
            {
                Walk(c, type, 0, ref left);
            }
        }

        Ask(c, new ObjectTypes(With(c.Bytes), null, 8));
    }

    private static SyntheticSections With(byte[] btf)
    {
        var sections = new SyntheticSections();
        sections[".BTF"] = btf;
        return sections;
    }

    private static void Lookup(FuzzCase c)
    {
        var about = (FuzzObject)c.Seed.Context!;
        var lookup = new FunctionLookup(new Symbolizer(c.Sections(about.File.AddressSize), about.Symbols));
        foreach (var name in (string[])["twice", "square", "helper", "cold", "nothing"])
        {
            c.Ask(() => lookup.Find(name));
            c.Ask(() => lookup.Find(name, "main.c"));
        }

        for (var line = 0; line < 30; line += 4)
        {
            c.Ask(() => lookup.FindLine("main.c", line));
        }

        c.Ask(() => NamePattern.TryParse("*o*", out var pattern, out _) ? lookup.Names(pattern) : []);
        c.Ask(() => lookup.Suggest("sqare"));
    }

    private static IReadOnlyList<FuzzSeed> KernelSeeds(ScratchFolder folder) => [FuzzSeed.OfFile("vmlinux", FuzzPrograms.Kernel)];

    private static void Arguments(FuzzCase c)
    {
        var image = KernelImage.Open(c.FilePath);
        if (c.Ask(() => new KernelMap(image, 0)) is not { } map)
        {
            return;
        }

        using var recovery = new FrameRecovery(map);
        var variables = new FrameVariables(map) { Recovery = recovery };
        var memory = new Stack();
        for (var i = 0; i < 12; i++)
        {
            var registers = new RegisterSet(image.Architecture);
            for (var r = 0; r < image.Architecture.DwarfRegisterCount; r++)
            {
                registers[r] = Stack.Start + (ulong)(c.Random.Next(0x800) & ~7);
            }

            registers[image.Architecture.IndexOf(image.Architecture.WordSize == 8 ? "rip" : "eip")] = 0xffffffff81000000 + (ulong)c.Random.Next(0x90);
            if (c.Ask(() => StackUnwinder.Unwind(registers, memory, map.Unwind, 8)) is not { } stack)
            {
                continue;
            }

            c.Ask(() =>
            {
                var missing = new List<KTrace.Symbols.Unwind.AddressRange>();
                foreach (var variable in variables.ArgumentsOf(stack, memory, missing).SelectMany(v => v))
                {
                    _ = (variable.Type.ToString(), variable.Value?.Number, variable.Provenance);
                }
            });
            for (var frame = 0; frame < Math.Min(stack.Frames.Length, 3); frame++)
            {
                for (var depth = 0; depth < 2; depth++)
                {
                    c.Ask(() => _ = variables.LocalsOf(stack, frame, depth, memory).Length);
                }
            }
        }
    }

    private static IReadOnlyList<FuzzSeed> ExpressionSeeds(ScratchFolder folder) =>
    [
        .. new[]
        {
            "desc->irq_data.chip->name == \"IO-APIC\"", "*msg, msg->address_lo & ~0xfffUL", "(struct outer *)0x10 + 1", "a ? b : c[3] << 2 || !d && -e % 7", "sizeof(struct outer) > 4u",
            "per_cpu(x, 1)->y", "$rdi + $rsp", "(unsigned long)&x[2].y, 'a', \"\\x41\\n\"", "((((1))))", "0x7fffffffffffffff * 3 / 0",
        }.Select(text => FuzzSeed.OfText(text, text)),
    ];

    private static void Expressions(FuzzCase c)
    {
        foreach (var expression in c.Ask(() => Expression.ParseList(c.Text).ToArray())?.Take(20) ?? [])
        {
            c.Ask(() => expression.Evaluate(new TableScope()));
            c.Ask(() => expression.EvaluateCondition(new TableScope()));
        }

        c.Ask(() => TypeNameParser.Parse(c.Text, new TableScope(), out _)?.ToString());
    }

    private static IReadOnlyList<FuzzSeed> NameSeeds(ScratchFolder folder) =>
    [
        .. new[]
        {
            "_RNvMs0_NtCs5HLMdIDBhgK_4core3fmtNtB5_9Formatter9write_str", "_RINvNtC3std3mem8align_ofNtNtC3std3mem12DiscriminantE", "_RNqCs4fqI2P2rA04_11utf8_idents30____7hkackfecea1cbdathfdh9hlq6y",
            "_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE", "__pfx_foo.isra.0.cold", "foo.constprop.3.part.7.llvm.123456789", "/^irq_.*(a|b)+$/", "*irq_*_[a-z]?",
        }.Select(text => FuzzSeed.OfText(text, text)),
    ];

    private static void Names(FuzzCase c)
    {
        var text = c.Text;
        c.Ask(() => RustName.Demangle(text));
        c.Ask(() => _ = CloneName.Parse(text).Source.Length + CloneName.SourceLength(text.AsSpan()));
        c.Ask(() => Punycode.Decode(text));
        c.Ask(() =>
        {
            if (NamePattern.TryParse(text, out var pattern, out var problem))
            {
                pattern.IsMatch(new string('a', 2_000) + "!");
                pattern.IsMatch(c.Bytes);
            }
            else
            {
                Assert.NotEmpty(problem);
            }
        });
    }

    /// <summary>Two pages of stack that hold addresses of themselves and of the kernel's code.</summary>
    private sealed class Stack : IMemoryReader
    {
        public const ulong Start = 0xffffc90000010000;

        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            if (address < Start || address >= Start + 0x2000)
            {
                return (address & 0x10) == 0 ? MemoryReadResult.NotFetched : MemoryReadResult.Unreadable;
            }

            for (var i = 0; i < destination.Length; i++)
            {
                var word = (address + (ulong)i) / 8;
                var value = (word * 0x9e3779b97f4a7c15 >> 60) < 8 ? 0xffffffff81000000 + (word * 13 % 0x90) : Start + (word * 24 % 0x1000);
                destination[i] = (byte)(value >> (int)(8 * ((address + (ulong)i) % 8)));
            }

            return MemoryReadResult.Ok;
        }
    }
}
