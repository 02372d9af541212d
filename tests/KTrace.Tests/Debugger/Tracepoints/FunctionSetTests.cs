using KTrace.Debugger;
using KTrace.Debugger.Modules;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Tracepoints;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.Tracepoints;

/// <summary>Many functions by one request, on the stock kernel.</summary>
public sealed class FunctionSetTests : IDisposable
{
    private static readonly Lazy<KernelImage> Image = new(() => KernelImage.Open(StockKernel.Vmlinux));

    private readonly ModuleFiles _modules = new([StockKernel.Module("e1000e"), StockKernel.DebugModule("e1000e")]);

    public void Dispose() => _modules.Dispose();

    [Fact]
    public void Functions_of_source_files_are_those_that_addr2line_places_there()
    {
        var tracepoints = Resolve("@kernel/irq/*");

        Assert.InRange(tracepoints.Count, 300, 450);
        Assert.Contains(tracepoints, t => t.Symbol == "request_threaded_irq");
        Assert.DoesNotContain(tracepoints, t => t.Symbol == "irq_work_queue");
        Assert.All(tracepoints, t => Assert.StartsWith("kernel/irq/", Image.Value.Symbolizer.CompiledFileOf(Image.Value.Symbolizer.UnitIdAt(t.LinkAddress))));
    }

    [Fact]
    public void Functions_of_a_header_are_found_in_every_file_that_has_code_of_them()
    {
        var files = Resolve("@include/linux/slab.h").Select(t => Image.Value.Symbolizer.Symbolize(t.LinkAddress)[^1].Source!.File).Distinct();
        Assert.Equal("include/linux/slab.h", Assert.Single(files).Replace("./", "", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("@drivers/net/ethernet/intel/e1000e/*")]
    [InlineData("@module:e1000e")]
    [InlineData("e1000e:*")]
    public void A_modules_functions_wait_for_it(string request)
    {
        var tracepoints = Resolve(request);

        Assert.InRange(tracepoints.Count, 380, 400);
        Assert.All(tracepoints, t => Assert.Equal(("e1000e", true), (t.Module, t.Places.IsEmpty)));
        Assert.Contains(tracepoints, t => t.Symbol == "e1000e_open");
        Assert.Equal(tracepoints.Count, tracepoints.Select(t => (t.Symbol, t.Ordinal)).Distinct().Count());
    }

    [Fact]
    public void Each_function_is_one_tracepoint_of_the_one_request_and_has_one_entry()
    {
        var tracepoints = Resolve("irq_* sample 3");

        Assert.All(tracepoints, t => Assert.Same(tracepoints[0].Request, t.Request));
        Assert.Equal(3, tracepoints[0].Request.Actions.Sample);
        Assert.Equal(Enumerable.Range(1, tracepoints.Count), tracepoints.Select(t => t.Id));
        Assert.All(tracepoints, t => Assert.Contains(Assert.Single(t.Places).Kind, (CodePlaceKind[])[CodePlaceKind.Entry, CodePlaceKind.Clone]));
        Assert.Equal(tracepoints.Count, tracepoints.Select(t => t.LinkAddress).Distinct().Count());
        Assert.All(tracepoints.Select(t => t.ToRecord()), r => Assert.Equal("irq_* sample 3", r.Requested));
    }

    [Fact]
    public void Twenty_thousand_functions_are_no_matter_where_nothing_has_to_stop()
    {
        var resolver = new TracepointResolver(Image.Value, _modules) { Capture = CaptureChoice.Auto };
        var tracepoints = resolver.Resolve(["*"]);

        Assert.InRange(tracepoints.Count, 30_000, 60_000);
        Assert.All(tracepoints, t => Assert.NotNull(resolver.Traceable.Find(t.LinkAddress)));
        Assert.Contains(resolver.LeftOut, f => f is { Name: "__switch_to_asm", Reason: "assembly" });
        Assert.Contains(resolver.Notes, n => n.Contains("left out, as only stops can trace them", StringComparison.Ordinal));
    }

    [Fact]
    public void Addresses_that_have_several_names_are_traced_once()
    {
        var tracepoints = Resolve("/sys_(fork|vfork)$/");
        Assert.Equal(tracepoints.Count, tracepoints.Select(t => t.LinkAddress).Distinct().Count());
        Assert.True(Image.Value.Symbols.Glob("__*_sys_*fork").Count(s => tracepoints.Any(t => t.LinkAddress == s.Value)) > tracepoints.Count);
    }

    [Theory]
    [InlineData("@irq", "request_threaded_irq", 500)]
    [InlineData("@irq", "x86_vector_alloc_irqs", 500)]
    [InlineData("@irq", "pci_msi_create_irq_domain", 500)]
    [InlineData("@pci", "pci_enable_device", 800)]
    [InlineData("@initcalls", "pci_driver_init", 500)]
    [InlineData("@initcalls", "rcu_spawn_gp_kthread", 500)]
    [InlineData("@net-open", "__dev_open", 30)]
    public void Ready_sets_have_what_their_names_promise(string set, string function, int atLeast)
    {
        var tracepoints = Resolve(set);
        Assert.True(tracepoints.Count >= atLeast, $"{tracepoints.Count}");
        Assert.Contains(tracepoints, t => t.Symbol == function);
    }

    [Fact]
    public void Initcalls_are_the_functions_between_the_tables_ends()
    {
        // What System.map names: __initcall__kmod_NAME__N_LINE_FUNCTION and its level, one for each entry.
        var named = Image.Value.Symbols.All.Count(s => s.Name.StartsWith("__initcall__kmod_", StringComparison.Ordinal));
        Assert.InRange(new TracepointResolver(Image.Value, _modules) { Capture = CaptureChoice.Auto }.Resolve(["@initcalls"]).Count, named * 8 / 10, named);
    }

    [Fact]
    public void Exceptions_are_taken_away_from_patterns_and_sets_but_not_from_what_was_named()
    {
        var all = Resolve("@kernel/irq/*");
        var resolver = new TracepointResolver(Image.Value, _modules) { Capture = CaptureChoice.Auto, Except = ["irq_*", "@kernel/irq/proc.c", "free_irq", "schedule"] };
        var less = resolver.Resolve(["@kernel/irq/*", "irq_set_irq_type"]);

        Assert.Equal(["irq_set_irq_type"], less.Select(t => t.Symbol).Where(s => s.StartsWith("irq_", StringComparison.Ordinal)));
        Assert.DoesNotContain(less, t => t.Symbol == "free_irq");
        Assert.Contains(less, t => t.Symbol == "request_threaded_irq");
        Assert.True(less.Count < all.Count - 100);
        Assert.Equal(["--except schedule takes nothing away: none of its functions was asked for"], resolver.Notes.Where(n => n.StartsWith("--except", StringComparison.Ordinal)));
    }

    [Fact]
    public void A_function_is_traced_once_by_sets_and_by_its_own_tracepoint_alone_where_it_has_one()
    {
        var tracepoints = Resolve("irq_set_*", "request_threaded_irq print irq", "@kernel/irq/*", "e1000e:e1000e_open if 1", "@module:e1000e");

        Assert.Equal("request_threaded_irq print irq", Assert.Single(tracepoints, t => t.Symbol == "request_threaded_irq").Request.Text);
        Assert.Equal("irq_set_*", Assert.Single(tracepoints, t => t.Symbol == "irq_set_irq_type").Request.Text);
        Assert.Equal("e1000e:e1000e_open if 1", Assert.Single(tracepoints, t => t.Symbol == "e1000e_open").Request.Text);
    }

    [Theory]
    [InlineData("@irqq", "there is no set @irqq; there are @irq, @pci, @initcalls, @net-open", "-b @irq")]
    [InlineData("@e1000e", "there is no set @e1000e", "-b @module:e1000e takes all functions of that module")]
    [InlineData("@module:e1000", "no .ko file of module e1000 is known; near names: e1000e", "-b @module:e1000e")]
    [InlineData("@module:nomod", "no .ko file of module nomod is known", "if it is built into the kernel")]
    [InlineData("@module:", "names no module", "for example")]
    [InlineData("@", "names no set", "@initcalls")]
    [InlineData("@kernel/irqq/*", "no function comes from @kernel/irqq/*; near: kernel/irq/*", "-b '@kernel/irq/*'")]
    [InlineData("@drivers/net/ethernet/intel/e1000/*", "near: drivers/net/ethernet/intel/e1000e/*", "-b '@drivers/net/ethernet/intel/e1000e/*'")]
    [InlineData("@/(/", "no regular expression", "a pattern is")]
    [InlineData("e1000e:x_*", "no function of module e1000e matches", "-b @module:e1000e takes all")]
    [InlineData("irqq_*", "no function matches irqq_*", "a pattern is")]
    [InlineData("schedul.c:irq_*", "no function matches", "a pattern is")]
    public void What_matches_nothing_is_told_with_what_was_probably_meant(string request, string message, string remedy)
    {
        var e = Assert.Throws<TargetException>(() => Resolve(request));
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
        Assert.Contains(remedy, e.Remedy, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("irqq_*", "--except: no function matches irqq_*")]
    [InlineData("schedulee", "--except: no function matches schedulee")]
    [InlineData("schedule print 1", "a function, a pattern or a set is left out")]
    [InlineData("schedule+4", "a function, a pattern or a set is left out")]
    public void An_exception_that_names_nothing_is_refused(string except, string message) => Assert.Contains(
        message, Assert.Throws<TargetException>(() => new TracepointResolver(Image.Value, _modules) { Except = [except] }.Resolve(["schedule"])).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData(CaptureChoice.AlwaysStop, "*", "at most 256 can be traced at once with stops")]
    [InlineData(CaptureChoice.Auto, "@kernel/irq/* print 1", "(print reads the guest's memory as it is at the hit)")]
    [InlineData(CaptureChoice.NeverStop, "__SCT__tp_func_*", "none of its")]
    public void Where_stops_are_needed_there_is_a_limit(CaptureChoice choice, string request, string message) =>
        Assert.Contains(message, Assert.Throws<TargetException>(() => new TracepointResolver(Image.Value, _modules) { Capture = choice }.Resolve([request])).Message, StringComparison.Ordinal);

    [Fact]
    public void A_set_of_which_nothing_can_be_traced_without_stops_is_traced_with_them()
    {
        var tracepoints = Resolve("/^vs?snprintf$/");
        Assert.Equal(["vsnprintf"], tracepoints.Select(t => t.Symbol));
    }

    [Fact]
    public void A_sets_function_is_found_in_the_module_that_comes()
    {
        var tracepoint = Resolve("@module:e1000e").Single(t => t.Symbol == "e1000_msix_other");
        var module = LoadedModule();

        var place = Assert.Single(ModulePlaces.Of(tracepoint, module));
        Assert.Equal((module.Symbols!.Find("e1000_msix_other").Single().Symbol.Value, CodePlaceKind.Entry), (place.Address, place.Kind));
    }

    private IReadOnlyList<Tracepoint> Resolve(params string[] requests) => new TracepointResolver(Image.Value, _modules) { Capture = CaptureChoice.Auto }.Resolve(requests);

    private static KernelModule LoadedModule()
    {
        ElfFile[] files = [ElfFile.Open(StockKernel.Module("e1000e")), ElfFile.Open(StockKernel.DebugModule("e1000e"))];
        var place = RelocatedSections.OneAfterTheOther(files[1]);
        var sections = files[1].Sections.Where(s => s.IsAllocated).GroupBy(s => s.Name).ToDictionary(g => g.Key, g => 0xffffffffc0000000 + place(g.First()));
        return KernelModule.Load("e1000e", Image.Value.Architecture, sections, files);
    }
}
