using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Types;

public sealed class ObjectTypesTests : IDisposable
{
    private static readonly Lazy<ObjectTypes> KernelBtf = new(() => ObjectTypes.Open(ElfFile.Open(StockKernel.Vmlinux), useDwarf: false));
    private static readonly Lazy<ObjectTypes> KernelDwarf = new(() => ObjectTypes.Open(ElfFile.Open(StockKernel.Vmlinux), useBtf: false));

    private readonly ScratchFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("gcc", "-gdwarf-4 -O0")]
    [InlineData("gcc", "-gdwarf-5 -O2")]
    [InlineData("gcc", "-gdwarf-5 -O1 -m32")]
    [InlineData("gcc", "-gdwarf-5 -O0 -fdebug-types-section")]
    [InlineData("clang-14", "-gdwarf-4 -O0")]
    [InlineData("clang-14", "-gdwarf-5 -O1")]
    public void Variables_and_functions_are_found_with_address_and_type(string compiler, string options)
    {
        var program = TypeProgram.Compile(_folder, compiler, options);
        var types = ObjectTypes.Open(ElfFile.Open(program));
        var addresses = Regex.Matches(PeerProgram.Run("nm", [program]), @"^(\w+) \w (\S+)$", RegexOptions.Multiline)
            .Select(m => (m.Groups[2].Value, ulong.Parse(m.Groups[1].Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture))).ToLookup(p => p.Item1, p => p.Item2);
        foreach (var (name, declaration) in new[]
        {
            ("outer", "struct outer outer"), ("color", "enum color color"), ("either", "union either either"), ("table", "int table[5]"), ("declared_first", "u64 declared_first"),
            ("hidden", "struct hidden hidden"), ("main.c:same", "volatile struct inner same"), ("other.c:same", "volatile char same[40]"), ("main.c:counter", "int counter"),
        })
        {
            var variable = types.FindVariable(name);
            Assert.True(variable is not null, name);
            Assert.Equal(declaration, TypeListing.Declare(variable));
            Assert.Contains(variable.Address, addresses[variable.Name]);
            Assert.False(variable.IsPerCpu);
        }

        Assert.NotEqual(types.FindVariable("main.c:same")!.Address, types.FindVariable("other.c:same")!.Address);
        var inFunction = addresses.Single(a => a.Key.Contains("calls", StringComparison.Ordinal)).Key;
        Assert.Equal(compiler == "gcc" ? "long int" : "long", types.FindVariable(inFunction)?.Type.ToString());
        Assert.Equal("int work(int count, struct list *head, handler_t handler)", TypeListing.Declare(types.FindFunction("work")!));
        Assert.Equal(addresses["work"].Single(), types.FindFunction("work")!.Address);
        Assert.Equal(("color", 7L), types.FindEnumerator("GREEN") is { } green ? (green.Type.Name, green.Value) : default);
        Assert.Equal(-3, types.FindEnumerator("MINUS")?.Value);
        Assert.Equal(0x80000000, types.FindEnumerator("HIGH")?.Value);
        Assert.Null(types.FindEnumerator("counter"));
        Assert.Null(types.FindVariable("work"));
        Assert.Null(types.FindVariable("nothing"));
        Assert.Null(types.FindFunction("outer"));
        // What main.c only declares is defined in other.c.
        var hidden = ((PointerType)((StructType)types.FindType(TypeTag.Struct, "pointers")!).Members.Single(m => m.Name == "hidden").Type).Target;
        Assert.Equal("secret", ((StructType)hidden).Members[0].Name);
    }

    [Fact]
    public void The_stock_kernels_dwarf_gives_the_same_types_as_its_btf()
    {
        // Those that paths of real boots go through, and every 20th of the rest.
        var names = Regex.Matches(PeerProgram.Run("pahole", ["-F", "btf", "--sizes", StockKernel.Vmlinux]), @"^(\w+)\t", RegexOptions.Multiline).Select(m => m.Groups[1].Value)
            .Where((_, i) => i % 20 == 0).Concat(["task_struct", "irq_desc", "net_device", "sk_buff", "pci_dev", "page", "module", "inode", "device", "rq"]).Distinct()
            .Where(n => KernelBtf.Value.FindType(TypeTag.Struct, n) is not null).ToList();
        Assert.True(names.Count > 300, $"{names.Count}");
        foreach (var name in names)
        {
            // A name may stand for several structures; one of DWARF's must be BTF's.
            var expected = Flat(TypeListing.Of(KernelBtf.Value.FindType(TypeTag.Struct, name)!));
            var actual = KernelDwarf.Value.Names!.FindAll(name, true, DwTag.StructureType).Select(d => d.Entry).Distinct()
                .Select(e => Flat(TypeListing.Of(KernelDwarf.Value.Dwarf!.TypeAt(e))));
            // Structures that are defined inside a function are in BTF like all others; by name DWARF's are looked for at file scope.
            var atFileScope = KernelDwarf.Value.FindType(TypeTag.Struct, name);
            Assert.True(
                (atFileScope is not null && Flat(TypeListing.Of(atFileScope)) == expected) || actual.Contains(expected), $"{name}:\n{expected}\n{actual.FirstOrDefault()}");
        }
    }

    /// <summary>pahole writes one dimension into BTF where there are several.</summary>
    private static string Flat(string listing) => Regex.Replace(
        PaholeText.Normalize(listing), @"(\[\d+\]){2,}",
        m => $"[{m.Value.Trim('[', ']').Split("][").Aggregate(1L, (product, n) => product * long.Parse(n, CultureInfo.InvariantCulture))}]");

    [Fact]
    public void Variables_of_the_stock_kernel_have_the_types_that_gdb_has()
    {
        string[] names = ["jiffies_64", "init_task", "irq_desc_tree", "nr_irqs", "system_state", "saved_command_line", "pci_root_buses", "sysctl_sched_latency", "boot_cpu_data"];
        var known = names.Where(n => KernelDwarf.Value.FindVariable(n) is not null).ToList();
        Assert.True(known.Count >= 7, string.Join(' ', known));
        var answers = PeerProgram.Run("gdb", ["-batch", "-nx", .. known.SelectMany(n => new[] { "-ex", $"whatis {n}", "-ex", $"print &{n}" }), StockKernel.Vmlinux]).Split('\n');
        for (var i = 0; i < known.Count; i++)
        {
            var variable = KernelDwarf.Value.FindVariable(known[i])!;
            Assert.Equal(answers[2 * i]["type = ".Length..].Replace(" ", "", StringComparison.Ordinal), variable.Type.ToString().Replace(" ", "", StringComparison.Ordinal));
            Assert.Contains($"0x{variable.Address:x} ", answers[(2 * i) + 1], StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Per_cpu_variables_are_recognised_and_have_their_types_from_both()
    {
        foreach (var types in new[] { KernelBtf.Value, KernelDwarf.Value })
        {
            var variable = types.FindVariable("irq_stat") ?? throw new InvalidOperationException("irq_stat");
            Assert.Equal(("irq_cpustat_t", true), (variable.Type.ToString(), variable.IsPerCpu));
            Assert.Equal(("struct rq", true), types.FindVariable("runqueues") is { } queues ? (queues.Type.Resolved.ToString(), queues.IsPerCpu) : default);
        }
    }

    [Fact]
    public void A_live_kernels_types_are_at_run_time_addresses_and_its_modules_are_asked_too()
    {
        const ulong Slide = 0x1200000, Text = 0xffffffffc0200000, Other = 0xffffffffc0300000;
        var image = KernelImage.Open(StockKernel.Vmlinux);
        var map = new KernelMap(image, Slide);
        var types = new KernelTypes(map);
        Assert.Null(types.FindType(TypeTag.Struct, "e1000_adapter"));
        Assert.Equal(image.Types.FindVariable("init_task")!.Address + Slide, types.FindVariable("init_task")!.Address);
        Assert.Equal(image.Types.FindVariable("runqueues")!.Address, types.FindVariable("runqueues")!.Address);
        Assert.Equal(image.Types.FindFunction("request_threaded_irq")!.Address + Slide, types.FindFunction("request_threaded_irq")!.Address);

        var sections = new Dictionary<string, ulong> { [".text"] = Text, [".data"] = Other, [".rodata"] = Other + 0x10000, [".bss"] = Other + 0x20000 };
        map.Load(KernelModule.Load("e1000e", image.Architecture, sections, [ElfFile.Open(StockKernel.Module("e1000e")), ElfFile.Open(StockKernel.DebugModule("e1000e"))]));
        Assert.True(types.FindType(TypeTag.Struct, "e1000_adapter")!.Size > 1000);
        var function = types.FindFunction("e1000_intr_msix_rx")!;
        Assert.InRange(function.Address, Text, Text + 0x100000);
        Assert.Equal(("e1000e", "irqreturn_t e1000_intr_msix_rx(int irq, void *data)"), (function.Module, TypeListing.Declare(function)));
        var driver = types.FindVariable("e1000_driver")!;
        Assert.Equal(("struct pci_driver", "e1000e"), (driver.Type.ToString(), driver.Module));
        Assert.InRange(driver.Address, Other, Other + 0x10000);
        Assert.NotNull(types.FindEnumerator("IRQ_HANDLED"));
        Assert.Contains("struct e1000_adapter", types.SuggestTypes("e1000_adaptor", 3));
    }

    [Fact]
    public void Symbols_alone_give_addresses_and_no_types()
    {
        var program = TypeProgram.Compile(_folder, "gcc", "-O1");
        var types = ObjectTypes.Open(ElfFile.Open(program));
        Assert.Equal((false, false), (types.HasBtf, types.HasDwarf));
        Assert.IsType<VoidType>(types.FindVariable("outer")!.Type);
        Assert.IsType<VoidType>(types.FindFunction("work")!.Type);
        Assert.Null(types.FindType(TypeTag.Struct, "outer"));
        Assert.Empty(types.SuggestTypes("outer", 3));
    }

    [Fact]
    public void Many_threads_may_read_one_graph()
    {
        var types = ObjectTypes.Open(ElfFile.Open(StockKernel.DebugModule("e1000e")), useBtf: false);
        string[] names = ["e1000_adapter", "net_device", "sk_buff", "pci_dev", "task_struct", "module", "e1000_hw", "device"];
        Parallel.For(0, 64, i =>
        {
            var name = names[i % names.Length];
            Assert.Equal($"struct {name} {{", TypeListing.Of(types.FindType(TypeTag.Struct, name)!, expands: i % 5 == 0).Split('\n')[0]);
        });
    }
}
