using System.Globalization;
using KTrace.Symbols;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Support;
using KTrace.Tests.Symbols.Unwind;

namespace KTrace.Tests.Symbols.CallFrame;

/// <summary>Our rows beside readelf's, on real files.</summary>
public class CallFrameReadelfTests
{
    [Fact]
    public void Rows_of_the_stock_kernel_are_readelfs()
    {
        var fdes = ReadelfFrames.Read(StockKernel.Vmlinux);
        Assert.True(fdes.Count > 40_000, $"readelf gave {fdes.Count} FDEs");
        Assert.Equal(4_000, Compare(fdes, StockUnwind.CallFrames, 4_000, 0));
    }

    [Fact]
    public void Rows_of_a_module_are_readelfs()
    {
        // readelf shows a relocatable file's functions at their offset in their section: take those of .text, loaded at 0x1000000.
        const ulong loaded = 0x1000000;
        var path = StockKernel.DebugModule("e1000e");
        var file = ElfFile.Open(path);
        var text = file.FindSection(".text")!;
        var source = new LoadedModule(file, s => s == ".text" ? loaded : 0);
        var table = new CallFrameTable(source, X86_64.Instance);
        var fdes = ReadelfFrames.Read(path).Where(f => table.TryFindRange(f.Start + loaded, out var s, out var n) && s == f.Start + loaded && n == f.End - f.Start).ToList();
        Assert.True(fdes.Count > 300, $"only {fdes.Count} FDEs in .text (size 0x{text.Size:x})");
        Assert.Equal(2_000, Compare(fdes, table, 2_000, loaded));
    }

    private static int Compare(List<ReadelfFrames.Fde> fdes, CallFrameTable table, int count, ulong slide)
    {
        var random = new Random(6);
        var compared = 0;
        while (compared < count)
        {
            var fde = fdes[random.Next(fdes.Count)];
            if (fde.End == fde.Start || fde.Rows.Count == 0)
            {
                continue; // empty, or no instructions of its own: readelf prints no rows
            }

            var address = fde.Start + (ulong)random.NextInt64((long)(fde.End - fde.Start));
            var expected = fde.Rows.Last(r => r.Address <= address);
            var row = table.FindRow(address + slide);
            Assert.True(row is not null, $"0x{address:x}: no row, readelf has {expected.Cfa}");
            Assert.True(Cfa(row.Cfa) == expected.Cfa, $"0x{address:x}: CFA {Cfa(row.Cfa)}, readelf has {expected.Cfa}");
            foreach (var (name, rule) in expected.Registers)
            {
                var register = name == "ra" ? X86_64.Rip : X86_64.Instance.IndexOf(name);
                Assert.True(Rule(row.RuleOf(register)) == rule, $"0x{address:x}: {name} {Rule(row.RuleOf(register))}, readelf has {rule}");
            }

            Assert.Equal(expected.Registers.Count(r => r.Value != "u"), row.Saved.Length);
            compared++;
        }

        return compared;
    }

    private static string Cfa(CfaRule cfa) => cfa.Kind == CfaKind.Expression ? "exp" : X86_64.Instance.RegisterNames[cfa.Register] + Signed(cfa.Offset);

    private static string Rule(RegisterRule rule) => rule.Kind switch
    {
        RegisterRuleKind.Unspecified or RegisterRuleKind.Undefined => "u",
        RegisterRuleKind.SameValue => "s",
        RegisterRuleKind.AtCfa => "c" + Signed(rule.Offset),
        RegisterRuleKind.CfaPlus => "v" + Signed(rule.Offset),
        RegisterRuleKind.AtExpression => "exp",
        RegisterRuleKind.Expression => "vexp",
        _ => rule.Kind.ToString(),
    };

    private static string Signed(long offset) => offset.ToString("+0;-0;+0", CultureInfo.InvariantCulture);
}
