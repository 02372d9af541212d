using KTrace.Debugger.NonStop.Relocation;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.NonStop.Relocation;

/// <summary>Small objects with one thing in them that forbids to move a function's first instructions, and the same object without it.</summary>
public sealed class RefusedEntryTests : IDisposable
{
    private const ulong Text = 0xffffffff81000000, Function = Text + 0x100, Data = 0xffffffff82000000;

    // push %rbp; mov %rsp,%rbp; push %rbx; mov %edi,%ebx; xor %eax,%eax; pop %rbx; pop %rbp; ret
    private static readonly byte[] s_plain = [0x55, 0x48, 0x89, 0xe5, 0x53, 0x89, 0xfb, 0x31, 0xc0, 0x5b, 0x5d, 0xc3];

    private readonly ScratchFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_plain_prologue_moves_and_says_who_would_be_torn()
    {
        var plan = Plan(s_plain);
        Assert.NotNull(plan.Plan);
        Assert.Equal([1, 3, 1], plan.Plan.Instructions.Select(i => i.Length));
        Assert.Equal([Function + 1, Function + 4], plan.Plan.Inside(Function));
        MovedCode.AssertSame(plan.Image, plan.Plan);
    }

    [Fact]
    public void The_jump_goes_behind_endbr64()
    {
        var plan = Plan([0xf3, 0x0f, 0x1e, 0xfa, .. s_plain]);
        Assert.Equal(4, plan.Plan!.PatchOffset);
        MovedCode.AssertSame(plan.Image, plan.Plan);
    }

    [Theory]
    [InlineData("call", new byte[] { 0x55, 0xe8, 0x10, 0, 0, 0, 0x5d, 0xc3 })]
    [InlineData("jmp", new byte[] { 0x53, 0x5b, 0xe9, 0x10, 0, 0, 0 })]
    [InlineData("jcc", new byte[] { 0x85, 0xff, 0x74, 0x06, 0x89, 0xf8, 0xc3, 0x90, 0x90, 0x90, 0x31, 0xc0, 0xc3 })]
    [InlineData("rip-relative", new byte[] { 0x8b, 0x05, 0x10, 0, 0, 0, 0xc3 })]
    [InlineData("gs and rip-relative", new byte[] { 0x65, 0x48, 0x8b, 0x05, 0x10, 0, 0, 0x7f, 0xc3 })]
    [InlineData("ret", new byte[] { 0xb8, 1, 0, 0, 0, 0xc3 })]
    public void What_refers_to_its_own_place_refers_to_the_same_from_the_new_one(string what, byte[] code)
    {
        var plan = Plan(code);
        Assert.True(plan.Plan is not null, what + ": " + plan.Reason);
        MovedCode.AssertSame(plan.Image, plan.Plan);
    }

    [Theory]
    [InlineData("cannot be moved (ret)", new byte[] { 0x31, 0xc0, 0xc3, 0x90, 0x90, 0x90, 0x90 })]
    [InlineData("shorter than a jump", new byte[] { 0x31, 0xc0 })]
    [InlineData("cannot be moved (call)", new byte[] { 0xff, 0xd0, 0x31, 0xc0, 0x31, 0xc0, 0xc3 })]
    [InlineData("cannot be moved (int3)", new byte[] { 0x55, 0xcc, 0x5d, 0x31, 0xc0, 0xc3 })]
    [InlineData("cannot be moved (cli)", new byte[] { 0xfa, 0x31, 0xc0, 0x31, 0xc0, 0xc3 })]
    [InlineData("cannot be moved (loop)", new byte[] { 0x31, 0xc9, 0xe2, 0x02, 0x31, 0xc0, 0xc3 })]
    [InlineData("no instructions", new byte[] { 0x55, 0x06, 0x06, 0x06, 0x06, 0x06 })]
    [InlineData("leads into", new byte[] { 0x55, 0x89, 0xf8, 0x89, 0xf1, 0xff, 0xc8, 0x75, 0xfa, 0x5d, 0xc3 })]
    [InlineData("goes back to its first", new byte[] { 0xff, 0xcf, 0x31, 0xc0, 0x89, 0xf1, 0x75, 0xf8, 0xc3 })]
    public void Code_that_cannot_be_moved_is_refused(string reason, byte[] code) => Assert.Contains(reason, Plan(code).Reason, StringComparison.Ordinal);

    [Fact]
    public void A_jump_of_another_function_into_the_middle_refuses() =>
        Assert.Contains("leads into", Plan(s_plain, text => [0xe9, .. BitConverter.GetBytes(Distance(Function + 4, Text + 5))]).Reason, StringComparison.Ordinal);

    [Fact]
    public void A_jump_tables_word_refuses() =>
        Assert.Contains("leads into", Plan(s_plain, elf: elf => elf.Add(".rodata", BitConverter.GetBytes(Function + 4), flags: ElfBuilder.Alloc, address: Data)).Reason, StringComparison.Ordinal);

    [Fact]
    public void A_label_in_the_middle_refuses() =>
        Assert.Contains("leads into", Plan(s_plain, elf: elf => elf.AddSymbol("label", Function + 4, type: 0)).Reason, StringComparison.Ordinal);

    [Theory]
    [InlineData(".smp_locks", 4)]
    [InlineData(".retpoline_sites", 4)]
    [InlineData(".return_sites", 4)]
    [InlineData(".call_sites", 4)]
    [InlineData(".static_call_sites", 8)]
    [InlineData("__bug_table", 12)]
    [InlineData("__ex_table", 12)]
    public void A_place_that_the_kernel_patches_or_asks_about_refuses(string section, int size)
    {
        byte[] Entry(ulong place) => [.. BitConverter.GetBytes(Distance(place, Data)), .. BitConverter.GetBytes(Distance(Function, Data + 4)), .. new byte[4]];
        Assert.Contains(section, Plan(s_plain, elf: elf => elf.Add(section, Entry(Function + 1)[..size], flags: ElfBuilder.Alloc, address: Data)).Reason, StringComparison.Ordinal);
        Assert.NotNull(Plan(s_plain, elf: elf => elf.Add(section, Entry(Function + 9)[..size], flags: ElfBuilder.Alloc, address: Data)).Plan);
    }

    [Theory]
    [InlineData(".parainstructions", "paravirtual")]
    [InlineData("__mcount_loc", "tracer's no-op")]
    [InlineData("_kprobe_blacklist", "forbids probes")]
    public void So_do_tables_of_addresses(string section, string reason) =>
        Assert.Contains(reason, Plan(s_plain, elf: elf => elf.Add(section, [.. BitConverter.GetBytes(Function), .. new byte[8]], flags: ElfBuilder.Alloc, address: Data)).Reason, StringComparison.Ordinal);

    [Theory]
    [InlineData("__noinstr_text_start", "__noinstr_text_end")]
    [InlineData("__entry_text_start", "__entry_text_end")]
    [InlineData("__kprobes_text_start", "__kprobes_text_end")]
    public void Text_that_must_be_left_alone_is(string start, string end) =>
        Assert.StartsWith("it ", Plan(s_plain, elf: elf => elf.AddSymbol(start, Function, type: 0).AddSymbol(end, Function + 0x20, type: 0)).Reason, StringComparison.Ordinal);

    [Fact]
    public void A_guest_with_other_code_there_gets_no_block()
    {
        var plan = Plan(s_plain).Plan!;
        byte[] other = [.. s_plain[..plan.Length]];
        other[1] = 0x4c;
        Assert.False(plan.TryAssemble(0xfffffffff0000000, 0xfffffffff0001000, Function, other, out _, out var reason));
        Assert.Contains("not the file's", reason, StringComparison.Ordinal);
        Assert.False(plan.TryAssemble(0x4000_0000_0000, 0x4000_0000_1000, Function, s_plain.AsSpan(0, plan.Length), out _, out reason));
        Assert.Contains("out of reach", reason, StringComparison.Ordinal);
    }

    [Fact]
    public void Who_stands_between_the_instructions_is_found_among_pcs_and_on_stacks()
    {
        var occupied = new OccupiedWindows([(Plan(s_plain).Plan!, Function)]);
        Assert.Equal(Function, occupied.At(Function + 4));
        Assert.Null(occupied.At(Function));
        Assert.Null(occupied.At(Function + 5));
        Assert.Equal([Function], occupied.In([.. new byte[16], .. BitConverter.GetBytes(Function + 1), .. new byte[8]]));
        Assert.Empty(occupied.In(BitConverter.GetBytes(Function)));
    }

    private static int Distance(ulong to, ulong from) => unchecked((int)(to - from));

    private (KernelImage Image, RelocationPlan? Plan, string Reason) Plan(byte[] function, Func<ulong, byte[]>? before = null, Action<ElfBuilder>? elf = null)
    {
        var text = Enumerable.Repeat((byte)0x90, 0x200).ToArray();
        before?.Invoke(Text).CopyTo(text, 0);
        function.CopyTo(text, (int)(Function - Text));
        var builder = new ElfBuilder();
        builder.Add(".text", text, flags: ElfBuilder.Alloc | ElfBuilder.Exec, address: Text);
        builder.AddSymbol("before", Text, 0x10).AddSymbol("function", Function, (ulong)function.Length);
        elf?.Invoke(builder);
        var image = KernelImage.Open(builder.Write(_folder, Guid.NewGuid().ToString("N")));
        return RelocatedEntry.TryPlan(RelocatableCode.Of(image), Function, out var plan, out var reason) ? (image, plan, reason) : (image, null, reason);
    }
}
