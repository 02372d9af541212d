using System.Collections.Immutable;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Types;
using KTrace.Symbols.Values;
using KTrace.Symbols.Values.Expressions;
using static KTrace.Tests.Symbols.Values.TableScope;

namespace KTrace.Tests.Symbols.Values.Printing;

/// <summary>How values look to people. The types are those of the kernel as far as a test needs them.</summary>
public sealed class ValuePrinterTests
{
    private static readonly StructType ListHead = Struct("list_head", ("next", new PointerType(() => ListHead!, 8)), ("prev", new PointerType(() => ListHead!, 8)));
    private static readonly StructType KObject = Struct("kobject", ("name", To(CharType)), ("entry", ListHead));
    private static readonly StructType Device = Struct("device", ("kobj", KObject), ("init_name", To(CharType)));
    private static readonly StructType PciDev = Struct("pci_dev", ("vendor", UInt), ("pad", UInt), ("dev", Device));
    private static readonly StructType NetDevice = Struct("net_device", ("name", new ArrayType(CharType, 16)), ("flags", UInt), ("perm_addr", new ArrayType(U8, 32)), ("pad", UInt), ("dev_addr", To(U8)));
    private static readonly StructType Task = Struct("task_struct", ("__state", UInt), ("pid", Int), ("comm", new ArrayType(CharType, 16)));
    private static readonly StructType Chip = Struct("irq_chip", ("name", To(CharType)));
    private static readonly StructType IrqData = Struct("irq_data", ("irq", UInt), ("pad", UInt), ("chip", To(Chip)));
    private static readonly StructType Desc = Struct("irq_desc", ("irq_data", IrqData));
    private static readonly StructType CpuMask = Struct("cpumask", ("bits", new ArrayType(ULong, 128)));
    private static readonly StructType Atomic = Struct("", ("counter", Int));
    private static readonly TypedefType AtomicT = new("atomic_t", Atomic);
    private static readonly FunctionType Handler = new(() => Int, () => [new Parameter("", Int)], false);

    [Fact]
    public void Numbers_are_decimal_and_addresses_hexadecimal()
    {
        var scope = new TableScope();
        scope.Names[0xffffffff81000040] = "e1000_intr_msix_rx";
        scope.Names[0xffffffff82000010] = "init_task+0x10";
        Assert.Equal("-7", Print(scope, TypedValue.OfNumber(Int, unchecked((ulong)-7))));
        Assert.Equal("4294967289", Print(scope, TypedValue.OfNumber(UInt, unchecked((uint)-7))));
        Assert.Equal("0xffff888012345678", Print(scope, TypedValue.OfNumber(ULong, 0xffff888012345678)));
        Assert.Equal("0xffffffff82000010 <init_task+0x10>", Print(scope, TypedValue.OfNumber(ULong, 0xffffffff82000010)));
        Assert.Equal("0x1003", Print(scope, TypedValue.OfNumber(ULong, 0x1003), "flags"));
        Assert.Equal("4099", Print(scope, TypedValue.OfNumber(ULong, 0x1003), "count"));
        Assert.Equal("0xfee00000", Print(scope, TypedValue.OfNumber(UInt, 0xfee00000), "address_lo"));
        Assert.Equal("true", Print(scope, TypedValue.OfNumber(Bool, 1)));
        Assert.Equal("'x'", Print(scope, TypedValue.OfNumber(CharType, 'x')));
        Assert.Equal("'\\033'", Print(scope, TypedValue.OfNumber(CharType, 0x1b)));
        Assert.Equal("200", Print(scope, TypedValue.OfNumber(U8, 200)));
        Assert.Equal("<e1000_intr_msix_rx>", Print(scope, TypedValue.OfNumber(To(Handler), 0xffffffff81000040)));
        Assert.Equal("0xffffffffc0001000", Print(scope, TypedValue.OfNumber(To(Handler), 0xffffffffc0001000)));
        Assert.Equal("<init_task+0x10>", Print(scope, TypedValue.OfNumber(To(ULong), 0xffffffff82000010)));
        Assert.Equal("0x1234", Print(scope, TypedValue.OfNumber(To(VoidType.Instance), 0x1234)));
        Assert.Equal("NULL", Print(scope, TypedValue.OfNumber(To(Handler), 0)));
        Assert.Equal("1.5", Print(scope, new TypedValue { Type = new FloatType("double", 8), Bytes = BitConverter.GetBytes(1.5) }));
        Assert.Equal("0x1", Print(scope, new TypedValue { Type = new IntegerType("__int128", 16, IntegerEncoding.Signed), Bytes = (byte[])[1, .. new byte[15]] }));
    }

    [Fact]
    public void Errors_have_their_names()
    {
        var scope = new TableScope();
        Assert.Equal("-EINVAL", Print(scope, TypedValue.OfNumber(To(Device), unchecked((ulong)-22))));
        Assert.Equal("-4000", Print(scope, TypedValue.OfNumber(To(Device), unchecked((ulong)-4000))));
        Assert.Equal("0xfffffffffffff000", Print(scope, TypedValue.OfNumber(To(VoidType.Instance), unchecked((ulong)-4096))));
        Assert.Equal("-22 (-EINVAL)", Print(scope, TypedValue.OfNumber(Int, unchecked((ulong)-22)), "err"));
        Assert.Equal("-517 (-EPROBE_DEFER)", Print(scope, TypedValue.OfNumber(Int, unchecked((ulong)-517)), "$ret"));
        Assert.Equal("-22", Print(scope, TypedValue.OfNumber(Int, unchecked((ulong)-22)), "offset"));
        Assert.Equal("-ENOMEM", Print(new TableScope { Architecture = I386.Instance }, TypedValue.OfNumber(To(Device, 4), unchecked((uint)-12))));
    }

    [Fact]
    public void Enumerations_are_named_and_sets_of_flags_are_split()
    {
        var scope = new TableScope();
        var color = Enum("color", ("RED", 0), ("BLUE", 5), ("NONE", -1));
        var flags = Enum("bits", ("A", 1), ("B", 2), ("C", 4));
        Assert.Equal("BLUE", Print(scope, TypedValue.OfNumber(color, 5)));
        Assert.Equal("NONE", Print(scope, TypedValue.OfNumber(color, uint.MaxValue)));
        Assert.Equal("7", Print(scope, TypedValue.OfNumber(color, 7)));
        Assert.Equal("A|C", Print(scope, TypedValue.OfNumber(flags, 5)));
        Assert.Equal("B|0x10", Print(scope, TypedValue.OfNumber(flags, 0x12)));
        Assert.Equal("0", Print(scope, TypedValue.OfNumber(flags, 0)));
        Assert.Equal("16", Print(scope, TypedValue.OfNumber(flags, 16)));
    }

    [Fact]
    public void Flags_of_the_kernel_have_the_names_of_its_own_enumerators_or_of_its_macros()
    {
        var scope = new TableScope();
        Assert.Equal("0x2080 IRQF_SHARED|IRQF_ONESHOT", Print(scope, TypedValue.OfNumber(ULong, 0x2080), "irqflags", "request_threaded_irq"));
        Assert.Equal("0", Print(scope, TypedValue.OfNumber(ULong, 0), "irqflags", "request_threaded_irq"));
        Assert.Equal("0x14200 IRQF_TIMER", Print(scope, TypedValue.OfNumber(UInt, 0x14200), "flags", "irqaction"));
        Assert.Equal("0x1003", Print(scope, TypedValue.OfNumber(UInt, 0x1003), "flags", "net_device"));
        scope.Named[(TypeTag.Enum, "net_device_flags")] = Enum("net_device_flags", ("IFF_UP", 1), ("IFF_BROADCAST", 2), ("IFF_MULTICAST", 0x1000));
        var fresh = new TableScope();
        fresh.Named[(TypeTag.Enum, "net_device_flags")] = scope.Named[(TypeTag.Enum, "net_device_flags")];
        fresh.Named[(TypeTag.Enum, "pageflags")] = Enum("pageflags", ("PG_locked", 0), ("PG_dirty", 4), ("__NR_PAGEFLAGS", 24));
        Assert.Equal("0x1003 IFF_UP|IFF_BROADCAST|IFF_MULTICAST", Print(fresh, TypedValue.OfNumber(UInt, 0x1003), "flags", "net_device"));
        Assert.Equal("0x100000000000011 PG_locked|PG_dirty|0x100000000000000", Print(fresh, TypedValue.OfNumber(ULong, 0x100000000000011), "flags", "page"));
        Assert.Equal("TASK_RUNNING", Print(fresh, TypedValue.OfNumber(UInt, 0), "__state", "task_struct"));
        Assert.Equal("0x402 TASK_IDLE", Print(fresh, TypedValue.OfNumber(UInt, 0x402), "__state", "task_struct"));

        var gfp = new TypedefType("gfp_t", UInt);
        Assert.Equal("3520", Print(fresh, TypedValue.OfNumber(gfp, 0xdc0)));
        fresh.Type(Struct("folio", ("x", Int)));
        Assert.Equal("0xdc0 GFP_KERNEL|__GFP_ZERO", Print(fresh, TypedValue.OfNumber(gfp, 0xdc0)));
        var newer = new TableScope();
        newer.Named[(TypeTag.Enum, "")] = Enum("", ("___GFP_DMA_BIT", 0), ("___GFP_IO_BIT", 6), ("___GFP_FS_BIT", 7));
        Assert.Equal("0xc1 __GFP_DMA|__GFP_IO|__GFP_FS", Print(newer, TypedValue.OfNumber(gfp, 0xc1)));
    }

    [Fact]
    public void Text_is_quoted_escaped_and_bounded()
    {
        var scope = new TableScope().WithText(0x1000, "eth0-rx-0").WithText(0x1100, "a\"b\\\n\x1b[31mé\u202e").With(0x1200, 0xff, 0xc3, 0x28, 0)
            .With(0x10000, [.. Enumerable.Repeat((byte)'z', 4096)]);
        Assert.Equal("\"eth0-rx-0\"", Print(scope, TypedValue.OfNumber(To(CharType), 0x1000)));
        Assert.Equal("\"a\\\"b\\\\\\n\\033[31mé\\342\\200\\256\"", Print(scope, TypedValue.OfNumber(To(CharType), 0x1100)));
        Assert.Equal("\"\\377\\303(\"", Print(scope, TypedValue.OfNumber(To(CharType), 0x1200)));
        Assert.Equal("\"" + new string('z', 128) + "\"…", Print(scope, TypedValue.OfNumber(To(CharType), 0x10000)));
        Assert.Equal("\"zz\"", Print(scope, scope.At(new ArrayType(CharType, 2), 0x10000)));
        Assert.Equal("\"eth0-rx-0\"", Print(scope, scope.At(new ArrayType(CharType, 16), 0x1000)));
        Assert.Equal("\"ab\"", Print(scope, new TypedValue { Type = new ArrayType(CharType, 4), Bytes = (byte[])[.. "ab\0c"u8] }));
        Assert.Equal("<cannot read 0xdead000>", Print(scope, TypedValue.OfNumber(To(CharType), 0xdead000)));
    }

    [Fact]
    public void Objects_behind_pointers_have_their_names()
    {
        var scope = new TableScope().WithText(0x1000, "0000:00:02.0").WithText(0x1100, "PCI-MSI")
            .WithWords(0x2000, 0x8086, 0x1000, 0, 0, 0)
            .With(0x3000, [.. "eth0\0\0\0\0\0\0\0\0\0\0\0\0"u8, .. new byte[64]]).With(0x4000, [0, 0, 0, 0, 62, 0, 0, 0, .. "ifconfig\0\0\0\0\0\0\0\0"u8]).WithWords(0x5000, 24, 0x6000).WithWords(0x6000, 0x1100)
            .With(0x7000, [.. "\x01\x02garbage"u8, .. new byte[64]]);
        Assert.Equal("0x2000 \"0000:00:02.0\"", Print(scope, TypedValue.OfNumber(To(PciDev), 0x2000)));
        Assert.Equal("0x2008 \"0000:00:02.0\"", Print(scope, TypedValue.OfNumber(To(Device), 0x2008)));
        Assert.Equal("0x3000 \"eth0\"", Print(scope, TypedValue.OfNumber(To(NetDevice), 0x3000)));
        Assert.Equal("0x4000 \"ifconfig\" pid 62", Print(scope, TypedValue.OfNumber(To(Task), 0x4000)));
        Assert.Equal("0x5000 irq 24 \"PCI-MSI\"", Print(scope, TypedValue.OfNumber(To(Desc), 0x5000)));
        Assert.Equal("0x5000 irq 24 \"PCI-MSI\"", Print(scope, TypedValue.OfNumber(To(IrqData), 0x5000)));
        Assert.Equal("0x6000 \"PCI-MSI\"", Print(scope, TypedValue.OfNumber(To(Chip), 0x6000)));
        Assert.Equal("0x7000", Print(scope, TypedValue.OfNumber(To(NetDevice), 0x7000)));
        Assert.Equal("0xdead0000", Print(scope, TypedValue.OfNumber(To(NetDevice), 0xdead0000)));
        Assert.Equal("0x3000", Print(scope, TypedValue.OfNumber(To(NetDevice), 0x3000), options: new PrintOptions { FollowPointers = false }));
    }

    [Fact]
    public void Structures_are_one_line_with_their_members()
    {
        var bits = ImmutableArray.Create(new Member("a", UInt, 0, 3), new Member("b", Int, 3, 5), new Member("", UInt, 8, 4), new Member("c", UInt, 12, 20));
        var fields = new StructType(StructKind.Struct, "fields", 4, false, () => bits);
        var inner = Struct("point", ("x", Int), ("y", Int));
        var union = new StructType(StructKind.Union, "", 4, false, () => [new Member("word", UInt, 0, 0), new Member("low", U8, 0, 0)]);
        var outer = Struct("outer", ("in", inner), ("", union), ("table", new ArrayType(Int, 6)), ("count", AtomicT), ("tail", new ArrayType(Int, null)));
        var scope = new TableScope().With(0x1000, 0xfd, 0x10, 0, 0).With(0x2000, 1, 0, 0, 0, 2, 0, 0, 0, 7, 1, 0, 0).With(0x200c, [5, 0, 0, 0, .. new byte[20]]).With(0x2024, 9, 0, 0, 0);
        Assert.Equal("{.a = 5, .b = -1, .c = 1}", Print(scope, scope.At(fields, 0x1000)));
        Assert.Equal("{.in = {.x = 1, .y = 2}, .word = 263, .low = 7, .table = {5, 0 <repeats 5 times>}, .count = 9, .tail = {}}", Print(scope, scope.At(outer, 0x2000)));
        Assert.Equal("{\n  .x = 1,\n  .y = 2\n}", Print(scope, scope.At(inner, 0x2000), options: new PrintOptions { IsIndented = true }));
        Assert.Equal("{.in = {…}, .word = 263, .low = 7, .table = {…}, .count = 9, .tail = {}}", Print(scope, scope.At(outer, 0x2000), options: new PrintOptions { MaximumDepth = 1 }));
        Assert.Equal("{.in = {.x = 1, .y = 2}, …", Print(scope, scope.At(outer, 0x2000), options: new PrintOptions { MaximumLength = 26 }));
        Assert.Equal("<0x3000, only declared>", Print(scope, scope.At(new StructType(StructKind.Struct, "secret", 0, true, () => []), 0x3000)));
        Assert.Equal("{.x = <cannot read 0x9000>, .y = <cannot read 0x9004>}", Print(scope, scope.At(inner, 0x9000)));
        Assert.Equal("{.x = 3, .y = 4}", Print(scope, new TypedValue { Type = inner, Bytes = (byte[])[3, 0, 0, 0, 4, 0, 0, 0] }));
    }

    [Fact]
    public void Lists_masks_counters_and_addresses_are_what_they_mean()
    {
        var scope = new TableScope().WithWords(0x1000, 0x1000, 0x1000).WithWords(0x2000, 0x2100, 0x2200).WithWords(0x2100, 0x2200, 0x2000).WithWords(0x2200, 0x2000, 0x2100)
            .WithWords(0x3000, [0xff8f, 0xffffffffffffffff, .. new ulong[126]]).WithWords(0x4000, 0x4100, 0).With(0x4100, 0x52, 0x54, 0, 0x12, 0x34, 0x56)
            .With(0x5000, [.. "eth0\0\0\0\0\0\0\0\0\0\0\0\0"u8, 3, 16, 0, 0, 0x52, 0x54, 0, 0x12, 0x34, 0x56, .. new byte[26], 0, 0, 0, 0]).WithWords(0x5038, 0x4100).With(0x6000, 10, 0, 2, 15).WithText(0x4200, "x")
            .Global("nr_cpu_ids", UInt, 0x6100).With(0x6100, 8, 0, 0, 0).WithWords(0x7000, 0x7100, 0).WithWords(0x7100, 0xdead000);
        Assert.Equal("empty", Print(scope, scope.At(ListHead, 0x1000)));
        Assert.Equal("list of 2, first 0x2100", Print(scope, scope.At(ListHead, 0x2000)));
        Assert.Equal("list that breaks off behind 2 at 0xdead000, first 0x7100", Print(scope, scope.At(ListHead, 0x7000)));
        Assert.Equal("0-3,7", Print(scope, scope.At(CpuMask, 0x3000)));
        Assert.Equal("0x3000 0-3,7", Print(scope, TypedValue.OfNumber(To(CpuMask), 0x3000)));
        Assert.Equal("0-3,7", Print(scope, scope.At(new ArrayType(CpuMask, 1), 0x3000)));
        scope.Variables.Remove("nr_cpu_ids");
        Assert.Equal("0-3,7-15,64-127", Print(scope, scope.At(CpuMask, 0x3000)));
        Assert.Equal("7", Print(scope, new TypedValue { Type = AtomicT, Bytes = (byte[])[7, 0, 0, 0] }));
        Assert.Equal("7", Print(scope, new TypedValue { Type = Struct("kref", ("refcount", Struct("refcount_struct", ("refs", AtomicT)))), Bytes = (byte[])[7, 0, 0, 0] }));
        Assert.Equal("{.name = \"eth0\", .flags = 0x1003, .perm_addr = 52:54:00:12:34:56, .pad = 0, .dev_addr = 52:54:00:12:34:56}", Print(scope, scope.At(NetDevice, 0x5000)));
        Assert.Equal("10.0.2.15", Print(scope, scope.At(Struct("in_addr", ("s_addr", new TypedefType("__be32", UInt))), 0x6000)));
        Assert.Equal("10.0.2.15", Print(scope, TypedValue.OfNumber(new TypedefType("__be32", UInt), 0x0f02000a), "saddr", "iphdr"));
        Assert.Equal("0x0800", Print(scope, TypedValue.OfNumber(new TypedefType("__be16", new IntegerType("short unsigned int", 2, IntegerEncoding.Unsigned)), 0x0008), "h_proto", "ethhdr"));
        Assert.Equal("52:54:00:12:34:56", Print(scope, scope.At(new ArrayType(U8, 6), 0x4100), "h_dest", "ethhdr"));
        Assert.Equal("{0x52, 0x54, 0x00, 0x12, 0x34, 0x56}", Print(scope, scope.At(new ArrayType(U8, 6), 0x4100), "data"));
        Assert.Equal("\"x\"", Print(scope, new TypedValue { Type = Struct("qstr", ("hash_len", ULong), ("name", To(U8))), Bytes = (byte[])[.. BitConverter.GetBytes(0UL), .. BitConverter.GetBytes(0x4200UL)] }));
    }

    [Fact]
    public void What_was_not_fetched_is_collected_in_one_round()
    {
        var scope = new TableScope().WithText(0x1000, "eth0").WithText(0x2000, "eth1");
        var pair = Struct("pair", ("first", To(CharType)), ("second", To(CharType)));
        scope.NotFetched.Add(0x1000);
        scope.NotFetched.Add(0x2000);
        var printed = ValuePrinter.Print(new TypedValue { Type = pair, Bytes = (byte[])[.. BitConverter.GetBytes(0x1000UL), .. BitConverter.GetBytes(0x2000UL)] }, scope);
        Assert.False(printed.IsComplete);
        Assert.Equal(new MemoryRange[] { new(0x1000, 128), new(0x2000, 128) }, printed.Missing.ToArray());
        Assert.Equal("{.first = 0x1000, .second = 0x2000}", printed.Text);
        scope.NotFetched.Clear();
        Assert.Equal("{.first = \"eth0\", .second = \"eth1\"}", ValuePrinter.Print(new TypedValue { Type = pair, Bytes = (byte[])[.. BitConverter.GetBytes(0x1000UL), .. BitConverter.GetBytes(0x2000UL)] }, scope).Text);
    }

    [Fact]
    public void A_member_is_printed_by_what_its_owner_says_of_it()
    {
        var scope = new TableScope().With(0x5000, [.. "eth0"u8, .. new byte[80]]).Type(NetDevice).With(0x5010, 3, 16, 0, 0, 0x52, 0x54, 0, 0x12, 0x34, 0x56);
        scope.Local("dev", To(NetDevice), 0x5000).Local("flags", ULong, 0x80);
        var value = Assert.IsType<ExpressionOutcome.Value>(Expression.Parse("dev->perm_addr").Evaluate(scope)).Named;
        Assert.Equal(("perm_addr", "net_device"), (value.Name, value.Owner));
        value = Assert.IsType<ExpressionOutcome.Value>(Expression.Parse("flags").Evaluate(scope)).Named;
        Assert.Equal("0x80 IRQF_SHARED", ValuePrinter.Print(value with { Owner = "request_irq" }, scope).Text);
        Assert.Equal("", Assert.IsType<ExpressionOutcome.Value>(Expression.Parse("flags + 1").Evaluate(scope)).Named.Name);
    }

    [Fact]
    public void A_variable_that_is_not_known_says_so()
    {
        var scope = new TableScope();
        Assert.Equal("<optimized out>", ValuePrinter.Print(new FrameVariable("data", Int, true, null), "f", scope).Text);
        Assert.Equal("<cannot be read>", ValuePrinter.Print(new FrameVariable("data", Int, true, new TypedValue { Type = Int, Provenance = Provenance.Unreadable }), "f", scope).Text);
        Assert.Equal("<optimized out>", Print(scope, new TypedValue { Type = Desc }));
    }

    [Fact]
    public void A_tree_opens_members_elements_and_what_pointers_point_to()
    {
        var scope = new TableScope().WithWords(0x5000, 24, 0x6000).WithWords(0x6000, 0x1100).With(0x8000, 1, 0, 0, 0);
        var children = ValuePrinter.Children(TypedValue.OfNumber(To(Desc), 0x5000), scope).Values;
        var data = Assert.Single(children);
        Assert.Equal(("irq_data", "irq_desc"), (data.Name, data.Owner));
        var members = ValuePrinter.Children(data.Value, scope).Values;
        Assert.Equal(["irq", "pad", "chip"], members.Select(m => m.Name));
        Assert.Equal("24", ValuePrinter.Print(members[0], scope).Text);
        Assert.Equal(["name"], ValuePrinter.Children(members[2].Value, scope).Values.Select(m => m.Name));
        Assert.Equal(["[0]", "[1]", "[2]"], ValuePrinter.Children(scope.At(new ArrayType(Int, 3), 0x8000), scope).Values.Select(m => m.Name));
        Assert.Equal("*", Assert.Single(ValuePrinter.Children(TypedValue.OfNumber(To(Int), 0x8000), scope).Values).Name);
        Assert.False(ValuePrinter.HasChildren(TypedValue.OfNumber(To(Desc), 0)));
        Assert.False(ValuePrinter.HasChildren(TypedValue.OfNumber(Int, 1)));
        scope.NotFetched.Add(0x8000);
        Assert.Equal(new MemoryRange(0x8000, 8), Assert.Single(ValuePrinter.Children(scope.At(To(Desc), 0x8000), scope).Missing));
    }

    [Fact]
    public void Hostile_memory_and_types_cost_bounded_reads_and_text()
    {
        // A list that never returns to its head, a structure that contains pointers to itself, an array of a million elements, a type that contains itself.
        var cycle = new TableScope().WithWords(0x1000, 0x2000, 0).WithWords(0x2000, 0x3000, 0).WithWords(0x3000, 0x2000, 0);
        Assert.Equal("list of more than 32, first 0x2000", Print(cycle, cycle.At(ListHead, 0x1000)));
        Assert.True(cycle.Reads < 50);

        StructType? recursive = null;
        recursive = new StructType(StructKind.Struct, "self", 64, false, () => [new Member("in", recursive!, 0, 0), new Member("", recursive!, 64, 0), new Member("next", To(recursive!), 128, 0)]);
        var endless = new TableScope().With(0, new byte[1 << 20]);
        var text = Print(endless, endless.At(recursive, 0x1000));
        Assert.True(text.Length <= 200, text);

        var large = new TableScope().With(0x10000, new byte[1 << 20]);
        foreach (var count in (long[])[1 << 20, long.MaxValue, 1L << 40])
        {
            Assert.True(Print(large, large.At(new ArrayType(Int, count), 0x10000)).Length <= 200);
            Assert.True(Print(large, large.At(new ArrayType(Desc, count), 0x10000)).Length <= 200);
            Assert.True(Print(large, large.At(new ArrayType(CharType, count), 0x10000)).Length <= 200);
            Assert.True(ValuePrinter.Children(large.At(new ArrayType(Int, count), 0x10000), large).Values.Length <= 1024);
        }

        var lying = new StructType(StructKind.Struct, "liar", long.MaxValue, false, () => [new Member("x\u001b[2J\u202e", Int, long.MaxValue, 0), new Member("bits", UInt, -5, 1000), new Member("far", Desc, 1L << 60, 0)]);
        text = Print(large, large.At(lying, 0x10000));
        Assert.DoesNotContain('\u001b', text);
        Assert.DoesNotContain('\u202e', text);
        Assert.True(large.BytesRead < 1 << 20, $"{large.BytesRead}");
        Print(large, new TypedValue { Type = lying, Bytes = new byte[3] });
        Print(large, new TypedValue { Type = Long, Bytes = new byte[3] });
    }

    [Fact]
    public void Any_memory_prints_without_an_exception_and_without_anything_raw()
    {
        const int Cases = 2000;
        var random = new Random(42);
        CType[] types = [ListHead, PciDev, NetDevice, Task, Desc, CpuMask, AtomicT, To(NetDevice), To(CharType), To(Task), new ArrayType(CharType, 40), new ArrayType(NetDevice, 5), new ArrayType(To(CharType), 9), Enum("e", ("A", 1), ("B", 4))];
        for (var i = 0; i < Cases; i++)
        {
            var memory = new byte[4096];
            random.NextBytes(memory);
            for (var j = 0; j + 8 <= memory.Length; j += 8)
            {
                if (random.Next(2) == 0)
                {
                    BitConverter.TryWriteBytes(memory.AsSpan(j), 0x1000UL + (ulong)random.Next(4096));
                }
            }

            var scope = new TableScope().With(0x1000, memory);
            var value = scope.At(types[random.Next(types.Length)], 0x1000 + (ulong)random.Next(4000));
            var text = ValuePrinter.Print(new NamedValue("flags", value, "net_device"), scope, new PrintOptions { IsIndented = random.Next(4) == 0 }).Text;
            Assert.True(text.Length <= 200);
            Assert.DoesNotContain(text, c => char.IsControl(c) && c != '\n');
            foreach (var child in ValuePrinter.Children(value, scope, 50).Values)
            {
                ValuePrinter.Print(child, scope);
            }
        }
    }

    private static string Print(TableScope scope, TypedValue value, string name = "", string? owner = null, PrintOptions? options = null)
    {
        var printed = ValuePrinter.Print(new NamedValue(name, value, owner), scope, options);
        Assert.True(printed.IsComplete);
        return printed.Text;
    }
}
