using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Lookup;

/// <summary>Lookups in the stock kernel, compared with gdb and nm.</summary>
public sealed partial class StockKernelLookupTests
{
    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));
    private static readonly Lazy<FunctionLookup> Functions = new(() => new FunctionLookup(Image.Value.Symbolizer, Image.Value.ShortPath));

    private readonly Xunit.Abstractions.ITestOutputHelper _output;

    public StockKernelLookupTests(Xunit.Abstractions.ITestOutputHelper output) => _output = output;

    [Theory]
    [InlineData("request_irq")]
    [InlineData("pci_enable_msix_range")]
    [InlineData("irq_desc_get_chip")]
    [InlineData("msi_get_virq")]
    [InlineData("virt_to_head_page")]
    public void Explore(string name)
    {
        var watch = System.Diagnostics.Stopwatch.StartNew();
        var matches = Functions.Value.Find(name);
        _output.WriteLine($"{watch.Elapsed.TotalMilliseconds} ms");
        foreach (var match in matches)
        {
            _output.WriteLine($"{match.Name} {match.Declaration} file {match.File}: {match.Describe()}");
            foreach (var place in match.Places)
            {
                _output.WriteLine($"  {place}");
            }
        }

        var gdb = PeerProgram.Run("gdb", ["-batch", "-nx", "-ex", "set breakpoint pending off", "-ex", $"break {name}", "-ex", "info breakpoints", StockKernel.Vmlinux]);
        _output.WriteLine(gdb);
    }
}
