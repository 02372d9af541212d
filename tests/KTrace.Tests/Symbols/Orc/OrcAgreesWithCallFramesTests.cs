using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Symbols.Unwind;

namespace KTrace.Tests.Symbols.Orc;

/// <summary>
/// Two witnesses of the same stack: gcc's CFI and objtool's ORC. They come from different programs (one writes the code, the other decodes it),
/// so where they agree both readers are right.
/// </summary>
public class OrcAgreesWithCallFramesTests
{
    [Fact]
    public void Both_tables_give_the_same_frame_address_in_C_functions()
    {
        var text = StockUnwind.Vmlinux.FindSection(".text")!;
        var random = new Random(3);
        int same = 0, sameByExpression = 0, switches = 0, inlineAssembly = 0, realigning = 0, dead = 0;
        for (var i = 0; i < 60_000; i++)
        {
            var address = text.Address + (ulong)random.NextInt64((long)text.Size);
            if (StockUnwind.CallFrames.FindRow(address) is not { } cfi)
            {
                continue;
            }

            if (StockUnwind.Orc.FindRow(address) is not { } orc)
            {
                dead++; // unreachable code behind a noreturn call or a jump table: objtool never got there
            }
            else if (orc.Cfa == cfi.Cfa)
            {
                same++;
                Assert.Equal(cfi.RuleOf(X86_64.Rip), orc.RuleOf(X86_64.Rip));
                var (bp, orcBp) = (cfi.RuleOf(X86_64.Rbp), orc.RuleOf(X86_64.Rbp));
                Assert.True(
                    bp == orcBp || (bp.Kind == RegisterRuleKind.Unspecified && orcBp.Kind == RegisterRuleKind.SameValue)
                        || (bp.Kind == RegisterRuleKind.AtExpression && orcBp.Kind == RegisterRuleKind.AtSelf),
                    $"0x{address:x}: rbp {bp} and {orcBp}");
            }
            else if (cfi.Cfa.Kind == CfaKind.Expression)
            {
                // A realigned stack: gcc writes [rbp - 40] as an expression.
                Assert.Equal((CfaKind.Dereferenced, X86_64.Rbp), (orc.Cfa.Kind, orc.Cfa.Register));
                AssertSameValue(cfi, orc, address);
                sameByExpression++;
            }
            else if (orc.Cfa is { Kind: CfaKind.Dereferenced, Register: X86_64.Rsp })
            {
                switches++; // call_on_irqstack: inline assembly changes rsp
            }
            else if (cfi.Cfa.Register == X86_64.Rsp && orc.Cfa.Register == X86_64.Rsp)
            {
                Assert.True(orc.Cfa.Offset > cfi.Cfa.Offset, $"0x{address:x}: inline assembly that popped more than it pushed?");
                inlineAssembly++;
            }
            else
            {
                Assert.True(cfi.Cfa.Register is X86_64.R10 or X86_64.R13, $"0x{address:x}: cfi {cfi.Cfa}, orc {orc.Cfa}");
                realigning++; // "lea 8(%rsp), %r10": both hold for an instruction or two
            }
        }

        Assert.True(same > 40_000, $"only {same} agree");
        Assert.True(sameByExpression > 100, $"only {sameByExpression} expressions");
        Assert.True(switches + inlineAssembly + realigning + dead < same / 1000, $"{switches} switches, {inlineAssembly} in inline assembly, {realigning} realigning, {dead} dead");
    }

    private static void AssertSameValue(UnwindRow cfi, UnwindRow orc, ulong address)
    {
        var registers = new RegisterSet(X86_64.Instance) { [X86_64.Rbp] = 0x10000 };
        Assert.Equal(KTrace.Symbols.Dwarf.ExpressionOutcome.NotFetched, cfi.Cfa.Expression!.Evaluate(registers, new NoMemory(), null, out var place));
        Assert.True(place == 0x10000 + (ulong)orc.Cfa.Offset, $"0x{address:x}: [0x{place:x}] and rbp{orc.Cfa.Offset}");
    }

    private sealed class NoMemory : IMemoryReader
    {
        public MemoryReadResult Read(ulong address, Span<byte> destination) => MemoryReadResult.NotFetched;
    }
}
