using System.Text;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Recovery;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Recovery;

public sealed class SpecialFunctionTests
{
    [Fact]
    public void The_quick_look_passes_over_no_special_name_of_a_whole_kernel()
    {
        var symbols = new ElfSymbolTable(ElfFile.Open(StockKernel.Vmlinux));
        var special = 0;
        foreach (var symbol in symbols.All)
        {
            if (SpecialFunctions.Classify(symbol.Name) != SpecialFunction.None)
            {
                special++;
                Assert.True(SpecialFunctions.MayBe(Encoding.UTF8.GetBytes(symbol.Name)), symbol.Name);
            }
        }

        Assert.True(special > 40, $"{special}");
        Assert.True(SpecialFunctions.MayBe("__x86.get_pc_thunk.bx"u8));
    }
}
