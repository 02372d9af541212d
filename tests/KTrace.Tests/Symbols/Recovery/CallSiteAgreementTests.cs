using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Recovery;

/// <summary>What the compiler says that calls pass, against what the machine code shows.</summary>
public sealed class CallSiteAgreementTests
{
    [Fact]
    public void The_code_of_random_functions_passes_what_the_compiler_says()
    {
        var image = KernelImage.Open(StockKernel.Vmlinux);
        var agreement = new CallSiteAgreement(image);
        var random = new Random(20_260);
        var functions = Enumerable.Range(1, image.Symbols.Count - 1)
            .Where(i => image.Symbols.At(i) is { Type: ElfSymbol.TypeFunction, Size: > 0 })
            .Select(i => image.Symbols.At(i).Value).ToArray();
        for (var seen = 0; seen < 2000;)
        {
            seen += agreement.Run(functions[random.Next(functions.Length)]);
        }

        // "Different": the code proves a constant, or a copy, where the compiler names a register that holds the same for a reason that only a branch tells. Never another number.
        Assert.Empty(agreement.Contradicting);
        Assert.True(agreement.Different.Count <= agreement.Compared / 200, string.Join('\n', agreement.Different));
        Assert.True(agreement.Agreed >= agreement.Compared * 99 / 100, $"{agreement.Agreed} of {agreement.Compared}; lost: {string.Join('\n', agreement.Lost)}");
    }
}
