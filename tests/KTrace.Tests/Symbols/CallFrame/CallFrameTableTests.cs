using KTrace.Symbols;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Symbols.CallFrame;

public class CallFrameTableTests
{
    private const ulong Start = 0xffffffff81001000;

    [Theory]
    [InlineData(1, false)]
    [InlineData(3, false)]
    [InlineData(4, false)]
    [InlineData(4, true)]
    public void Rows_follow_the_prologue_in_every_version_and_format(byte version, bool is64)
    {
        var cie = CallFrameBytes.Cie(version, is64: is64);
        var table = Open([.. cie, .. CallFrameBytes.Fde(0, Start, 0x20, CallFrameBytes.Advance1To3Push, is64)]);

        Assert.Equal(1, table.Count);
        Assert.Null(table.FindRow(Start - 1));
        AssertRow(table.FindRow(Start), X86_64.Rsp, 8, null);
        AssertRow(table.FindRow(Start + 1), X86_64.Rsp, 16, -16);
        AssertRow(table.FindRow(Start + 3), X86_64.Rsp, 16, -16);
        AssertRow(table.FindRow(Start + 4), X86_64.Rbp, 16, -16);
        AssertRow(table.FindRow(Start + 0x1f), X86_64.Rbp, 16, -16);
        Assert.Null(table.FindRow(Start + 0x20));
    }

    [Fact]
    public void Fdes_are_found_in_whatever_order_they_stand()
    {
        var cie = CallFrameBytes.Cie();
        byte[] Fde(ulong start) => CallFrameBytes.Fde(0, start, 0x10, [0x0e, (byte)(start & 0xff)]);
        var table = Open([.. cie, .. Fde(Start + 0x40), .. Fde(Start + 0x10), .. Fde(Start + 0x20)]);

        foreach (var offset in new ulong[] { 0x10, 0x20, 0x40 })
        {
            Assert.Equal((long)offset, table.FindRow(Start + offset + 5)!.Cfa.Offset);
        }

        Assert.Null(table.FindRow(Start + 0x30));
        Assert.True(table.TryFindRange(Start + 0x2f, out var start, out var size));
        Assert.Equal((Start + 0x20, 0x10ul), (start, size));
    }

    [Fact]
    public void An_eh_frame_with_pc_relative_addresses_and_a_signal_frame_is_read()
    {
        const ulong address = 0x7000;
        var cie = CallFrameBytes.Cie(1, "zRS", [1, 0x1b], isEhFrame: true);
        var field = (uint)(cie.Length + 8);
        byte[] fde = CallFrameBytes.Entry([.. BitConverter.GetBytes(cie.Length + 4), .. BitConverter.GetBytes((int)(0x9000 - (address + field))), .. BitConverter.GetBytes(0x10), 0]);
        var table = new CallFrameTable(new CallFrameBytes().With(".eh_frame", [.. cie, .. fde, 0, 0, 0, 0], address), X86_64.Instance);

        Assert.Null(table.Damage);
        var row = table.FindRow(0x900f);
        Assert.NotNull(row);
        Assert.True(row.IsInterrupted);
        Assert.Null(table.FindRow(0x9010));
    }

    [Fact]
    public void A_personality_and_an_lsda_are_skipped()
    {
        var cie = CallFrameBytes.Cie(1, "zPLR", [7, 0x03, 1, 2, 3, 4, 0x1b, 0x00], isEhFrame: true);
        byte[] fde = CallFrameBytes.Entry(
            [.. BitConverter.GetBytes(cie.Length + 4), .. BitConverter.GetBytes(0x9000ul), .. BitConverter.GetBytes(0x10ul), 4, 9, 9, 9, 9, 0x0e, 0x30]);
        var table = new CallFrameTable(new CallFrameBytes().With(".eh_frame", [.. cie, .. fde]), X86_64.Instance);

        Assert.Equal(0x30, table.FindRow(0x9000)!.Cfa.Offset);
    }

    [Fact]
    public void Remembered_states_come_back_and_restore_takes_the_cies_rule()
    {
        var table = Open([.. CallFrameBytes.Cie(), .. CallFrameBytes.Fde(0, Start, 0x40, [0x0e, 0x20, 0x83, 3, 0x0a, 0x44, 0x0e, 8, 0xc3, 0x44, 0x0b])]);

        Assert.Equal(-24, table.FindRow(Start)!.RuleOf(X86_64.Rbx).Offset);
        Assert.Equal(RegisterRuleKind.Unspecified, table.FindRow(Start + 4)!.RuleOf(X86_64.Rbx).Kind);
        Assert.Equal(8, table.FindRow(Start + 4)!.Cfa.Offset);
        Assert.Equal(-24, table.FindRow(Start + 8)!.RuleOf(X86_64.Rbx).Offset);
        Assert.Equal(0x20, table.FindRow(Start + 8)!.Cfa.Offset);
    }

    [Fact]
    public void A_realigned_stacks_cfa_is_an_expression_over_memory()
    {
        // gcc's DRAP: CFA = [rbp - 8], rbp saved at [rbp].
        var table = Open([.. CallFrameBytes.Cie(), .. CallFrameBytes.Fde(0, Start, 0x40, [0x0f, 3, 0x76, 0x78, 0x06, 0x10, 6, 2, 0x76, 0])]);
        var row = table.FindRow(Start)!;
        var registers = new RegisterSet(X86_64.Instance) { [X86_64.Rbp] = 0x1000 };
        var memory = new FakeMemory(0xff8, [0x2000, 0x3000]);

        Assert.Equal(CfaKind.Expression, row.Cfa.Kind);
        Assert.Equal(ExpressionOutcome.Value, row.Cfa.Expression!.Evaluate(registers, memory, null, out var cfa));
        Assert.Equal(0x2000ul, cfa);
        Assert.Equal(RegisterRuleKind.AtExpression, row.RuleOf(X86_64.Rbp).Kind);
        Assert.Equal(ExpressionOutcome.Value, row.RuleOf(X86_64.Rbp).Expression!.Evaluate(registers, memory, cfa, out var place));
        Assert.Equal(0x1000ul, place);
    }

    [Fact]
    public void A_damaged_fde_is_not_there_and_the_others_are()
    {
        var table = Open(
        [
            .. CallFrameBytes.Cie(),
            .. CallFrameBytes.Fde(0, Start, 0x10, [0x3f]),
            .. CallFrameBytes.Fde(8, Start + 0x10, 0x10, []),
            .. CallFrameBytes.Fde(0, Start + 0x20, 0x10, []),
        ]);

        Assert.Null(table.FindRow(Start));
        Assert.Null(table.FindRow(Start + 0x10));
        Assert.NotNull(table.FindRow(Start + 0x20));
        Assert.NotNull(table.Damage);
    }

    [Fact]
    public void A_truncated_section_keeps_what_stands_before_the_cut()
    {
        byte[] whole = [.. CallFrameBytes.Cie(), .. CallFrameBytes.Fde(0, Start, 0x10, []), .. CallFrameBytes.Fde(0, Start + 0x10, 0x10, [])];
        var table = Open(whole[..^3]);

        Assert.NotNull(table.FindRow(Start));
        Assert.Null(table.FindRow(Start + 0x10));
        Assert.NotNull(table.Damage);
    }

    [Theory]
    [InlineData(new byte[] { 0x08, 10, 0x08, 3, 0x1c }, 7)] // minus
    [InlineData(new byte[] { 0x09, 0xf6, 0x08, 3, 0x1b }, unchecked((ulong)-3))] // div is signed
    [InlineData(new byte[] { 0x31, 0x28, 1, 0, 0x35, 0x36 }, 6)] // bra over lit5: the stack holds only lit6
    [InlineData(new byte[] { 0x32, 0x33, 0x16, 0x1c }, 1)] // 3 - 2 after swap
    [InlineData(new byte[] { 0x32, 0x33, 0x34, 0x17, 0x13, 0x13 }, 4)] // rot: third becomes top's place
    [InlineData(new byte[] { 0x32, 0x33, 0x15, 1, 0x22 }, 5)] // pick
    [InlineData(new byte[] { 0x0d, 0xfe, 0xff, 0xff, 0xff, 0x19 }, 2)] // abs
    [InlineData(new byte[] { 0x77, 8, 0x23, 0x80, 1 }, 0x1088)] // breg7 8, plus_uconst 128
    [InlineData(new byte[] { 0x38, 0x31, 0x24, 0x31, 0x25, 0x32, 0x1e }, 16)] // shl, shr, mul
    [InlineData(new byte[] { 0x33, 0x32, 0x2b }, 1)] // gt
    public void Expressions_compute(byte[] expression, ulong expected)
    {
        var registers = new RegisterSet(X86_64.Instance) { [X86_64.Rsp] = 0x1000 };
        Assert.Equal(ExpressionOutcome.Value, Expression(expression).Evaluate(registers, new FakeMemory(0, []), null, out var value));
        Assert.Equal(expected, value);
    }

    [Theory]
    [InlineData(new byte[] { 0x2f, 0xfd, 0xff })] // an endless loop
    [InlineData(new byte[] { 0x22 })] // nothing to add
    [InlineData(new byte[] { 0x31, 0x30, 0x1b })] // division by zero
    [InlineData(new byte[] { 0x70, 0 })] // an unknown register
    [InlineData(new byte[] { 0x2f, 0x40, 0x00 })] // a branch out
    [InlineData(new byte[] { 0x50 })] // a location, not a value
    [InlineData(new byte[] { 0x08 })] // cut
    public void Expressions_that_make_no_sense_have_no_value(byte[] expression)
    {
        var registers = new RegisterSet(X86_64.Instance) { [X86_64.Rsp] = 0x1000 };
        Assert.Equal(ExpressionOutcome.Unusable, Expression(expression).Evaluate(registers, new FakeMemory(0, []), null, out _));
    }

    private static CallFrameExpression Expression(byte[] bytes) => new(new SectionData("synthetic", "x", bytes), 0, bytes.Length, 8);

    private static CallFrameTable Open(byte[] debugFrame) => new(new CallFrameBytes().With(".debug_frame", debugFrame), X86_64.Instance);

    private static void AssertRow(UnwindRow? row, int register, long offset, long? rbp)
    {
        Assert.NotNull(row);
        Assert.Equal(new CfaRule(CfaKind.Register, register, offset), row.Cfa);
        Assert.Equal(new RegisterRule(RegisterRuleKind.AtCfa, -8), row.RuleOf(X86_64.Rip));
        Assert.Equal(rbp is null ? default : new RegisterRule(RegisterRuleKind.AtCfa, rbp.Value), row.RuleOf(X86_64.Rbp));
    }

    private sealed class FakeMemory(ulong start, ulong[] words) : IMemoryReader
    {
        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            var bytes = System.Runtime.InteropServices.MemoryMarshal.AsBytes<ulong>(words);
            if (address < start || address - start + (ulong)destination.Length > (ulong)bytes.Length)
            {
                return MemoryReadResult.NotFetched;
            }

            bytes.Slice((int)(address - start), destination.Length).CopyTo(destination);
            return MemoryReadResult.Ok;
        }
    }
}
