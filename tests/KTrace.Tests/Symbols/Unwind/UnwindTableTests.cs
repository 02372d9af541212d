using System.Collections.Immutable;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Symbols.Unwind;

public class UnwindTableTests
{
    private static readonly SavedRegister ReturnAddress = new(X86_64.Rip, new RegisterRule(RegisterRuleKind.AtCfa, -8));
    private static readonly UnwindRow Cfi = new(
        UnwindRule.Cfi, FrameShape.Call, new CfaRule(CfaKind.Register, X86_64.Rsp, 32), [ReturnAddress, new SavedRegister(X86_64.Rbx, new RegisterRule(RegisterRuleKind.AtCfa, -16))]);

    private static readonly UnwindRow Orc = Cfi with { Rule = UnwindRule.Orc, Saved = [ReturnAddress, new SavedRegister(X86_64.Rbp, new RegisterRule(RegisterRuleKind.SameValue))], KeepsCalleeSaved = false };

    [Fact]
    public void Cfi_comes_first_where_both_agree() => Assert.Equal([Cfi, Orc], Rows(Cfi, Orc));

    [Fact]
    public void Where_inline_assembly_pushed_orcs_frame_address_takes_cfis_registers()
    {
        var pushed = Orc with { Cfa = Orc.Cfa with { Offset = 40 } };
        var rows = Rows(Cfi, pushed);

        Assert.Equal((UnwindRule.Orc, 40L), (rows[0].Rule, rows[0].Cfa.Offset));
        Assert.Equal(-16, rows[0].RuleOf(X86_64.Rbx).Offset);
        Assert.Equal(RegisterRuleKind.SameValue, rows[0].RuleOf(X86_64.Rbp).Kind);
        Assert.Equal(Cfi, rows[1]);
    }

    [Fact]
    public void Where_the_stack_was_switched_orc_is_believed()
    {
        var switched = Orc with { Cfa = new CfaRule(CfaKind.Dereferenced, X86_64.Rsp, 0, 24) };

        Assert.Equal(switched.Cfa, Rows(Cfi, switched)[0].Cfa);
    }

    [Fact]
    public void A_functions_first_instruction_needs_no_table()
    {
        Assert.Equal(8, Assert.Single(Rows(null, null, 0x1000)).Cfa.Offset);
        Assert.Empty(Rows(null, null, 0x1001));
    }

    [Theory]
    [InlineData(0, 8)]
    [InlineData(3, 8)] // patched: lfence; jmp
    [InlineData(12, 16)] // behind its call of itself
    [InlineData(16, 16)]
    public void A_retpoline_has_pushed_a_word_behind_its_call(ulong offset, long cfa) =>
        Assert.Equal(cfa, Rows(null, UnwindRow.End(UnwindRule.Orc), 0x1000 + offset, "__x86_indirect_thunk_rax")[0].Cfa.Offset);

    [Fact]
    public void Modules_come_go_and_move_with_their_slide()
    {
        var table = new UnwindTable(X86_64.Instance, []);
        var loaded = table.With(Object("e1000e", 0x5000, 0x4000, Cfi, null));

        Assert.False(table.IsText(0x5000));
        Assert.True(loaded.IsText(0x5000));
        Assert.False(loaded.IsText(0x6000));
        Assert.Equal("function", loaded.FunctionAt(0x5010));
        Assert.Equal([Cfi], loaded.FindRows(0x5010).ToArray());
        Assert.Equal([Orc], loaded.With(Object("e1000e", 0x5000, 0x4000, null, Orc)).FindRows(0x5010).ToArray());
        Assert.False(loaded.Without("e1000e").IsText(0x5000));
    }

    [Theory]
    [InlineData(new byte[] { 0x55, 0x48, 0x89, 0xe5 }, 0)]
    [InlineData(new byte[] { 0xf3, 0x0f, 0x1e, 0xfa, 0x55, 0x48, 0x89, 0xe5 }, 4)] // endbr64
    [InlineData(new byte[] { 0xe8, 1, 2, 3, 4, 0x55, 0x48, 0x89, 0xe5 }, 5)] // call __fentry__
    [InlineData(new byte[] { 0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x1f, 0x44, 0, 0, 0x55, 0x48, 0x89, 0xe5 }, 9)]
    [InlineData(new byte[] { 0x53, 0x48, 0x89, 0xe5 }, -1)] // push %rbx
    [InlineData(new byte[] { 0x55, 0x53 }, -1)] // rbp is only saved
    public void A_frame_pointers_prologue_is_recognised(byte[] code, int push)
    {
        Assert.Equal(push >= 0, FramePointerRows.TryFindPush(code, X86_64.Instance, out var found));
        Assert.True(push < 0 || push == found);
    }

    [Fact]
    public void A_kernel_without_frame_pointers_gives_no_frame_pointer_rows()
    {
        var rows = FramePointerRows.TryOpen(StockUnwind.Vmlinux, X86_64.Instance, a => StockUnwind.Symbols.At(a))!;

        Assert.Null(rows.FindRow(StockUnwind.Symbols.AddressOf("do_exit") + 0x80));
    }

    private static UnwindRow[] Rows(UnwindRow? cfi, UnwindRow? orc, ulong address = 0x1080, string name = "function") =>
        new UnwindTable(X86_64.Instance, [Object("vmlinux", 0x1000, 0, cfi, orc, name)]).FindRows(address).ToArray();

    private static UnwindObject Object(string name, ulong start, ulong slide, UnwindRow? cfi, UnwindRow? orc, string function = "function") => new(
        name, [new AddressRange(start, start + 0x1000)], slide, new One(cfi), new One(orc), null, _ => new SymbolStart(function, start - slide));

    private sealed class One(UnwindRow? row) : IUnwindRowSource
    {
        public UnwindRow? FindRow(ulong address) => row;
    }
}
