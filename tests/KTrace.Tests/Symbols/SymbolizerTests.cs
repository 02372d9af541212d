using KTrace.Symbols;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Types;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols;

public sealed class SymbolizerTests
{
    [Fact]
    public void The_stock_kernel_names_its_functions_with_short_paths()
    {
        var kernel = new Symbolizer(ElfFile.Open(StockKernel.Vmlinux));
        var address = kernel.Symbols.Find("request_threaded_irq").Single().Symbol.Value;
        var frame = kernel.Symbolize(address)[^1];
        Assert.Equal(("request_threaded_irq", 0UL, null, "kernel/irq/manage.c", false), (frame.Function, frame.Offset, frame.Module, frame.Source?.File, frame.IsInline));
        Assert.EndsWith("/kernel/irq/manage.c", kernel.SymbolizeWithFullPaths(address)[^1].Source!.File, StringComparison.Ordinal);
    }

    [Fact]
    public void Assembly_is_named_by_the_nearest_symbol_as_the_kernel_names_it()
    {
        var kernel = new Symbolizer(ElfFile.Open(StockKernel.Vmlinux));
        foreach (var name in new[] { "entry_SYSCALL_64_after_hwframe", "ret_from_fork", "secondary_startup_64", "__switch_to_asm", "error_entry" })
        {
            var frame = Assert.Single(kernel.Symbolize(kernel.Symbols.Find(name).Single().Symbol.Value + 3));
            Assert.Equal((name, 3UL), (frame.Function, frame.Offset));
            Assert.EndsWith(".S", frame.Source!.File, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_chain_of_inlined_calls_in_a_module_is_complete()
    {
        // The place at which e1000e_open's e1000_request_irq asks for its first MSI-X vector.
        var file = ElfFile.Open(StockKernel.DebugModule("e1000e"));
        var sections = new RelocatedSections(file, RelocatedSections.OneAfterTheOther(file));
        var module = new Symbolizer(sections, "e1000e");
        var function = module.FindFunctions("e1000_request_irq").Single();
        var chains = Enumerable.Range(0, (int)function.Size).Select(i => module.Symbolize(function.LowPc + (ulong)i)).ToList();
        var chain = Assert.Single(chains.Select(c => string.Join(" < ", c.Select(f => f.Function))).Distinct(), c => c.StartsWith("request_irq < e1000_request_msix < ", StringComparison.Ordinal));
        Assert.Equal("request_irq < e1000_request_msix < e1000_request_irq", chain);
        Assert.All(chains, c => Assert.All(c, f => Assert.Equal("e1000e", f.Module)));
        Assert.Contains(chains, c => c[0] is { IsInline: true, Source.File: "include/linux/interrupt.h" });
    }

    [Fact]
    public void A_module_is_the_same_wherever_its_sections_lie()
    {
        var file = ElfFile.Open(StockKernel.DebugModule("e1000e"));
        var atZero = new RelocatedSections(file, RelocatedSections.OneAfterTheOther(file));
        // As a running kernel does: each section on a page of its own, init code far away from the rest.
        ulong next = 0xffffffffc0200000;
        var addresses = new Dictionary<string, ulong>();
        foreach (var section in file.Sections.Where(s => s.IsAllocated))
        {
            addresses[section.Name] = next;
            next += (section.Size + 0xfff) & ~0xfffUL;
        }

        addresses[".init.text"] = 0xffffffffc0900000;
        var running = new RelocatedSections(file, addresses);
        var (one, other) = (new Symbolizer(atZero), new Symbolizer(running));
        var random = new Random(5);
        foreach (var section in file.Sections.Where(s => s.IsExecutable))
        {
            for (var i = 0; i < 200; i++)
            {
                var offset = (ulong)random.NextInt64((long)section.Size);
                Assert.Equal(one.Symbolize(atZero.AddressOf(section) + offset), other.Symbolize(running.AddressOf(section) + offset));
            }
        }

        Assert.Equal(0xffffffffc0900000, other.Symbols.Find("init_module").Single().Symbol.Value);
    }

    [Fact]
    public void A_stripped_module_names_frames_by_symbol_only()
    {
        var file = ElfFile.Open(StockKernel.Module("e1000e"));
        var module = new Symbolizer(new RelocatedSections(file, RelocatedSections.OneAfterTheOther(file)), "e1000e");
        var symbol = module.Symbols.Find("e1000e_open").Single().Symbol;
        Assert.False(module.HasDwarf);
        Assert.Equal(new Frame("e1000e_open", 8, "e1000e", null, false), Assert.Single(module.Symbolize(symbol.Value + 8)));
    }

    [Theory]
    [InlineData("-gdwarf-4 -O0")]
    [InlineData("-gdwarf-5 -O2")]
    [InlineData("-gdwarf-5 -O1 -m32 -nostdlib -Wl,-e,main")]
    public void Declarations_read_as_the_source_has_them(string options)
    {
        using var folder = new ScratchFolder();
        var program = new Symbolizer(ElfFile.Open(CompiledProgram.Build(folder, "gcc", options)));
        var function = program.FindFunctions("signature").Single();
        Assert.Equal("main.c", Path.GetFileName(function.Declaration!.File));
        Assert.Equal(("int", true), (function.ReturnType, function.IsVariadic));
        Assert.Equal(
            ["o: struct outer *", "text: const char * const", "callback: int (*)(void *, long int)", "numbers: long unsigned int *"],
            function.Parameters.Select(p => $"{p.Name}: {p.Type}"));
        Assert.Equal(program.Symbols.Find("signature").Single().Symbol.Size, function.Size);
        Assert.Equal(2, program.FindFunctions("helper").Count);
        Assert.Equal("other.c", Path.GetFileName(Assert.Single(program.FindFunctions("other.c:helper")).Declaration!.File));
        Assert.Empty(program.FindFunctions("nothing"));
    }

    [Theory]
    [InlineData("-gdwarf-2", "first", 0, 4)]
    [InlineData("-gdwarf-4", "inner", 8, 16)]
    [InlineData("-gdwarf-5", "inner.tag", 8, 1)]
    [InlineData("-gdwarf-5", "inner.number", 16, 8)]
    [InlineData("-gdwarf-5", "inner.high", 18, 2)] // through an anonymous union and structure
    [InlineData("-gdwarf-5", "name", 24, 8)]
    [InlineData("-gdwarf-5", "table", 32, 60)]
    [InlineData("-gdwarf-5", "rest", 92, 1)]
    [InlineData("-gdwarf-5", "tail", 96, 0)]
    public void Members_lie_where_the_compiler_put_them(string options, string member, int offset, int size)
    {
        using var folder = new ScratchFolder();
        var program = new Symbolizer(ElfFile.Open(CompiledProgram.Build(folder, "gcc", options)));
        var layouts = new StructLayouts(new ObjectTypes(null, program, 8));
        Assert.True(layouts.TryFindMember("outer", member, out var found));
        Assert.Equal((offset, size), (found.ByteOffset, found.Size));
        Assert.False(layouts.TryFindMember("outer", "nothing", out _));
        Assert.False(layouts.TryFindMember("nothing", "first", out _));
    }

    [Fact]
    public void Members_of_the_kernels_module_structure_lie_where_pahole_says()
    {
        var path = StockKernel.DebugModule("e1000e");
        var file = ElfFile.Open(path);
        var layouts = new StructLayouts(ObjectTypes.Open(file));
        var layout = PeerProgram.Run("pahole", ["-F", "dwarf", "-C", "module", path]);
        foreach (var member in new[] { "name", "state", "list", "core_layout", "init_layout", "sect_attrs", "percpu_size" })
        {
            var match = System.Text.RegularExpressions.Regex.Match(layout, $@"\b{member}\b([^;]*);\s*/\*\s*(\d+)\s+(\d+) \*/");
            Assert.True(match.Success, member);
            Assert.True(layouts.TryFindMember("module", member, out var found), member);
            Assert.Equal((match.Groups[2].Value, match.Groups[3].Value), ($"{found.ByteOffset}", $"{found.Size}"));
        }
    }

    [Fact]
    public void Look_ups_may_come_from_several_threads()
    {
        var kernel = new Symbolizer(ElfFile.Open(StockKernel.Vmlinux));
        var symbols = kernel.Symbols.Glob("e1000*").Concat(kernel.Symbols.Glob("request_*irq*")).Concat(kernel.Symbols.Glob("pci_*")).Where(s => s.IsFunction).Take(400).ToList();
        var expected = symbols.Select(s => string.Join('|', kernel.Symbolize(s.Value + 4))).ToList();
        var shared = new Symbolizer(ElfFile.Open(StockKernel.Vmlinux));
        Parallel.For(0, 4, worker =>
        {
            for (var i = 0; i < symbols.Count; i++)
            {
                var index = (i + (worker * 97)) % symbols.Count;
                Assert.Equal(expected[index], string.Join('|', shared.Symbolize(symbols[index].Value + 4)));
            }
        });
    }
}
