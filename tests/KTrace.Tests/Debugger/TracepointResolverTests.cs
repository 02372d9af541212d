using KTrace.Debugger;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Tracepoints;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger;

public sealed class TracepointResolverTests : IDisposable
{
    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));

    private readonly ModuleFiles _modules = new([StockKernel.Module("e1000e"), StockKernel.DebugModule("e1000e")]);

    public void Dispose() => _modules.Dispose();

    [Theory]
    [InlineData("request_threaded_irq")]
    [InlineData("manage.c:request_threaded_irq")]
    [InlineData("kernel/irq/manage.c:request_threaded_irq")]
    [InlineData("irq/manage.c:request_threaded_irq")]
    public void A_global_function_is_found_by_the_file_that_defines_it(string request)
    {
        var tracepoint = Resolve(request);
        Assert.Equal(("request_threaded_irq", null), (tracepoint.Symbol, tracepoint.Module));
        Assert.Equal(Image.Value.Symbols.Find("request_threaded_irq").Single().Symbol.Value, tracepoint.LinkAddress);
    }

    [Theory]
    [InlineData("kernel/reboot.c:type_show")]
    [InlineData("nvmem/core.c:type_show")]
    [InlineData("pti.c:p4d_offset")]
    public void One_of_several_static_functions_is_found_by_its_file(string request) => Assert.NotEqual(0ul, Resolve(request).LinkAddress);

    [Fact]
    public void A_file_name_is_not_matched_in_its_middle() => Assert.Throws<TargetException>(() => Resolve("anage.c:request_threaded_irq"));

    [Fact]
    public void An_older_name_leads_to_its_successor_and_says_so()
    {
        var tracepoint = Resolve("irq_msi_compose_msg");
        Assert.Equal(("x86_vector_msi_compose_msg", "irq_msi_compose_msg"), (tracepoint.Symbol, tracepoint.Request.Text));
        Assert.Contains("is x86_vector_msi_compose_msg in this kernel", tracepoint.Note);
    }

    [Theory]
    [InlineData("e1000e_open")]
    [InlineData("e1000e:e1000e_open")]
    [InlineData("e1000e.ko:e1000e_open")]
    public void A_modules_function_waits(string request)
    {
        var tracepoint = Resolve(request);
        Assert.Equal(("e1000e_open", "e1000e", null), (tracepoint.Symbol, tracepoint.Module, tracepoint.Address));
        Assert.False(tracepoint.WasArmed);
    }

    [Fact]
    public void An_address_is_named_by_its_function()
    {
        var start = Resolve("schedule").LinkAddress;
        Assert.Equal("schedule+0x5", Resolve($"0x{start + 5:x}").Symbol);
        Assert.Equal(start + 5, Resolve("schedule+5").LinkAddress);
        Assert.Equal("schedule", Resolve($"0x{start:x}").Symbol);
    }

    [Fact]
    public void A_function_that_is_inlined_everywhere_is_armed_at_every_place_and_in_modules_to_come()
    {
        var tracepoint = Resolve("request_irq");
        Assert.Equal(("request_irq", null, 27), (tracepoint.Symbol, tracepoint.Module, tracepoint.Places.Length));
        Assert.True(tracepoint.IsInlined);
        Assert.Contains("request_irq is inlined at 27 places", tracepoint.Note);
        Assert.Equal(2, Resolve("arch/x86/kernel/hpet.c:request_irq").Places.Length + Resolve("drivers/gpio/gpiolib-cdev.c:request_irq").Places.Length);
    }

    [Fact]
    public void A_function_that_is_inlined_at_too_many_places_is_refused_with_their_number_and_a_way_out()
    {
        var e = Assert.Throws<TargetException>(() => Resolve("kmalloc"));
        Assert.Matches("is at [0-9]{3,} places .* at most 256", e.Message);
        Assert.Contains(":kmalloc", e.Remedy);
    }

    [Theory]
    [InlineData("kernel/irq/manage.c:2162", "kernel/irq/manage.c:2162", null)]
    [InlineData("irq/manage.c:2150", "kernel/irq/manage.c:2162", "line 2150 of kernel/irq/manage.c has no code; the next that has is 2162")]
    public void A_line_is_armed_where_it_begins(string request, string symbol, string? note)
    {
        var tracepoint = Resolve(request);
        Assert.Equal((symbol, note), (tracepoint.Symbol, tracepoint.Note));
        Assert.Equal("request_threaded_irq", Assert.Single(tracepoint.Places).Function);
    }

    [Fact]
    public void A_line_of_a_module_waits_for_it()
    {
        var tracepoint = Resolve("e1000e/netdev.c:2147");
        Assert.Equal("e1000e", tracepoint.Module);
        Assert.Empty(tracepoint.Places);
    }

    [Fact]
    public void A_pattern_becomes_a_tracepoint_for_each_function()
    {
        var tracepoints = new TracepointResolver(Image.Value, _modules).Resolve(["schedule", "/^irq_(en|dis)able$/", "e1000e:e1000_set_mac*"]);
        Assert.Equal(["schedule", "irq_disable", "irq_enable"], tracepoints.Take(3).Select(t => t.Symbol));
        Assert.Equal(Enumerable.Range(1, tracepoints.Count), tracepoints.Select(t => t.Id));
        Assert.All(tracepoints.Skip(3), t => Assert.Equal("e1000e", t.Module));
        Assert.True(tracepoints.Count > 3);
    }

    [Theory]
    [InlineData("*", "at most 256")]
    [InlineData("no_such_*", "no function matches")]
    [InlineData("/(/", "no regular expression")]
    public void A_pattern_that_is_of_no_use_is_refused(string pattern, string message) =>
        Assert.Contains(message, Assert.Throws<TargetException>(() => new TracepointResolver(Image.Value, _modules).Resolve([pattern])).Message);

    [Fact]
    public void Numbers_are_given_in_order() =>
        Assert.Equal([1, 2, 3], new TracepointResolver(Image.Value, _modules).Resolve(["schedule", "e1000e_open", "schedule"]).Select(t => t.Id));

    private Tracepoint Resolve(string request) => new TracepointResolver(Image.Value, _modules).Resolve([request]).Single();
}
