using KTrace.Debugger.NonStop.Reading;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.NonStop.Reading;

/// <summary>The stock kernel's own .altinstr_aux, as a disassembler reads it.</summary>
public sealed class FeatureTestsTests
{
    private const ulong Slide = 0x780_0000;

    [Fact]
    public void Wherever_an_interrupt_finds_a_feature_test_it_has_interrupted_the_function_that_asks()
    {
        var image = KernelImage.Open(StockKernel.Vmlinux);
        var map = new KernelMap(image, Slide);
        var features = new FeatureTests(map);
        var text = new TracerText(map.Unwind, features, new NonStopReadingOptions(), word => word, X86_64.Instance);
        var section = image.File.Sections.Single(s => s.Name == ".altinstr_aux");
        var code = Disassembler.Disassemble(X86_64.Instance, section.Data.Span, section.Address);
        Assert.True(code.Count > 300, $"{code.Count} instructions");
        ulong? back = null;
        foreach (var instruction in code.Reverse())
        {
            back = instruction.Text.StartsWith("jmp", StringComparison.Ordinal) ? instruction.Target + Slide : back;
            var address = instruction.Address + Slide;
            Assert.Equal(back, features.BackFrom(address));
            Assert.False(text.IsText(address));
            Assert.Equal(back, text.FindRuntimeText(address, null!).Original);
            Assert.False(text.FindRows(back!.Value).IsEmpty);
        }

        Assert.Null(features.BackFrom(section.Address));
        Assert.Null(features.BackFrom(section.Address + section.Size + Slide));
    }
}
