using System.Buffers.Binary;
using System.Globalization;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Symbols;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.NonStop.Sites;

public sealed class TraceableFunctionsTests
{
    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));
    private static readonly Lazy<TraceableFunctions> Kernel = new(() => TraceableFunctions.Of(Image.Value));

    [Theory]
    [InlineData("schedule", false)]
    [InlineData("request_threaded_irq", false)]
    [InlineData("early_irq_init", true)]
    public void A_function_that_was_compiled_with_the_tracer_begins_with_its_call(string function, bool isInit)
    {
        var entry = Address(function);
        Assert.Equal(new TracerNop(entry, entry, isInit), Kernel.Value.Find(entry));
        Span<byte> code = stackalloc byte[5];
        Assert.True(Image.Value.TryRead(entry, code));
        Assert.Equal(0xe8, code[0]);
        Assert.Equal(Address("__fentry__"), entry + 5 + (ulong)BinaryPrimitives.ReadInt32LittleEndian(code[1..]));
    }

    [Theory]
    [InlineData("__switch_to_asm", "assembly")]
    [InlineData("do_syscall_64", "noinstr")]
    [InlineData("entry_SYSCALL_64", "entry code")]
    [InlineData("snprintf", "lib/vsprintf.c is compiled without the function tracer")]
    [InlineData("__SCT__cond_resched", "the trampoline of a static call")]
    [InlineData("jiffies", "data, not code")]
    [InlineData("arch_rethook_prepare", "notrace, and on the kernel's list of places that take no probe")]
    [InlineData("perf_trace_sched_switch", "notrace")]
    public void Why_a_function_has_no_no_op_is_said(string function, string reason)
    {
        Assert.Null(Kernel.Value.Find(Address(function)));
        Assert.StartsWith(reason, Kernel.Value.WhyNot(Address(function)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_place_inside_a_function_is_no_entry()
    {
        Assert.Null(Kernel.Value.Find(Address("schedule") + 5));
        Assert.Equal("inside schedule, not at its entry", Kernel.Value.WhyNot(Address("schedule") + 5));
        Assert.False(Kernel.Value.IsEntry(Address("schedule") + 5));
        Assert.True(Kernel.Value.IsEntry(Address("__switch_to_asm")));
    }

    [Fact]
    public void A_module_lists_its_own_where_it_was_loaded()
    {
        var module = Module();
        var functions = TraceableFunctions.Of(module);

        Assert.InRange(functions.Count, 300, 500);
        var open = module.Symbols!.Find("e1000e_open").Single().Symbol.Value;
        Assert.Equal(new TracerNop(open, open, false), functions.Find(open));
        var init = module.Symbols.Find("init_module").Single().Symbol.Value;
        Assert.Equal(new TracerNop(init, init, true), functions.Find(init));
        Assert.StartsWith("notrace", functions.WhyNot(module.Symbols.Find("kmalloc_array").Single().Symbol.Value), StringComparison.Ordinal);
    }

    [Fact]
    public void A_module_of_which_no_file_is_known_cannot_be_traced_without_stops()
    {
        var functions = TraceableFunctions.Of(KernelModule.Unknown("e1000e", Architecture.ForName("x86-64")!, 0xffffffffc0000000, new AddressRange(0xffffffffc0000000, 0xffffffffc0100000)));
        Assert.False(functions.HasTable);
        Assert.Null(functions.Find(0xffffffffc0000000));
        Assert.Equal("no file of the module is known", functions.WhyNot(0xffffffffc0000000));
    }

    [Theory]
    [InlineData(false, 0)]
    [InlineData(true, 4)]
    public void The_call_may_stand_behind_an_endbr(bool withEndbr, int distance)
    {
        var functions = Made(withEndbr ? [0xf3, 0x0f, 0x1e, 0xfa, 0xe8, 0, 0, 0, 0, 0xc3] : [0x0f, 0x1f, 0x44, 0, 0, 0xc3], distance);
        Assert.Equal(new TracerNop(0xffffffff81000000, 0xffffffff81000000 + (ulong)distance, false), functions.Find(0xffffffff81000000));
    }

    [Theory]
    [InlineData(new byte[] { 0x90, 0x90, 0x90, 0x90, 0xe8, 0, 0, 0, 0, 0xc3 }, 4)]
    [InlineData(new byte[] { 0x55, 0x48, 0x89, 0xe5, 0x5d, 0xc3 }, 0)]
    public void A_table_is_believed_only_where_the_bytes_agree(byte[] code, int distance) => Assert.Null(Made(code, distance).Find(0xffffffff81000000));

    [Fact]
    public void A_table_that_lies_about_its_end_is_none()
    {
        var functions = Made([0xe8, 0, 0, 0, 0, 0xc3], 0, tableSize: ulong.MaxValue);
        Assert.False(functions.HasTable);
        Assert.Equal("the kernel was built without the function tracer", functions.WhyNot(0xffffffff81000000));
    }

    private static TraceableFunctions Made(byte[] code, int distance, ulong tableSize = 16)
    {
        const ulong Text = 0xffffffff81000000, Table = 0xffffffff82000000;
        var table = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(table.AsSpan(8), Text + (ulong)distance);
        using var folder = new ScratchFolder();
        var builder = new ElfBuilder();
        var text = builder.Add(".text", code, flags: ElfBuilder.Alloc | ElfBuilder.Exec, address: Text);
        var data = builder.Add(".init.data", table, flags: ElfBuilder.Alloc, address: Table);
        builder.AddSymbol("function", Text, (ulong)code.Length, text).AddSymbol("__start_mcount_loc", Table, 0, data, type: 0).AddSymbol("__stop_mcount_loc", Table + tableSize, 0, data, type: 0);
        return TraceableFunctions.Of(KernelImage.Open(builder.Write(folder)));
    }

    private static ulong Address(string function) => Image.Value.Symbols.Find(function)[0].Symbol.Value;

    private static KernelModule Module()
    {
        ElfFile[] files = [ElfFile.Open(StockKernel.Module("e1000e")), ElfFile.Open(StockKernel.DebugModule("e1000e"))];
        var place = RelocatedSections.OneAfterTheOther(files[^1]);
        var sections = files[^1].Sections.Where(s => s.IsAllocated).GroupBy(s => s.Name).ToDictionary(g => g.Key, g => 0xffffffffc0000000 + place(g.First()));
        return KernelModule.Load("e1000e", Architecture.ForName("x86-64")!, sections, files);
    }
}
