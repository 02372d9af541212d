using KTrace.Debugger;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Tracepoints;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Support;

namespace KTrace.Tests.Fuzz;

/// <summary>A whole vmlinux, modules, machine code.</summary>
internal static class KernelReaders
{
    public static IEnumerable<FuzzReader> All =>
    [
        new("kernel", 6, KernelSeeds, [MutationOfElf.Of], Kernel, e => e is TargetException ? null : FuzzReader.Malformed(e)) { AllocationLimit = 256 << 20 },
        new("modules", 5, ModuleSeeds, [MutationOfElf.Of], Module, FuzzReader.Malformed) { AllocationLimit = 256 << 20 },
        new("instructions", 2, CodeSeeds, [Mutation.OfBytes, Mutation.OfBlocks], Instructions, FuzzReader.Malformed),
    ];

    private static IReadOnlyList<FuzzSeed> KernelSeeds(ScratchFolder folder) => [FuzzSeed.OfFile("vmlinux", FuzzPrograms.Kernel)];

    private static void Kernel(FuzzCase c)
    {
        var image = KernelImage.Open(c.FilePath);
        _ = (image.Banner, image.Release, image.KernelMapBase);
        c.Ask(() => image.Fingerprint.Bytes.ToString());
        c.Ask(() => image.Layouts.TryFindMember("module", "core_layout.base", out _));
        c.Ask(() => image.Layouts.TryGetSize("task_struct", out _));
        if (c.Ask(() => new KernelMap(image, 0x1400000)) is not { } map)
        {
            return;
        }

        var callee = default(UnwoundFrame);
        for (var address = 0xffffffff81000000; address < 0xffffffff81000100; address += 5)
        {
            var at = map.ToRunTime(address);
            c.Ask(() =>
            {
                Assert.NotEmpty(map.Symbolize(at));
                map.FunctionAt(at);
            });
            c.Ask(() =>
            {
                var rows = map.Unwind.FindRows(at);
                _ = rows.Length;
                map.Unwind.FunctionAt(at);
            });
            var registers = new RegisterSet(image.Architecture);
            registers[image.Architecture.IndexOf(image.Architecture.WordSize == 8 ? "rip" : "eip")] = at;
            var caller = new UnwoundFrame(registers, UnwindRule.Cfi, true);
            var inner = callee ?? caller;
            c.Ask(() => map.TailCallsBetween(inner, caller).ToString());
            callee = caller;
        }

        using var none = new ModuleFiles([]);
        var resolver = new TracepointResolver(image, none);
        foreach (var request in (string[])["middle", "main.c:tail", "inner", "0xffffffff81000010", "start_kernl", "do_init_module+0x4"])
        {
            c.Ask(() => resolver.Resolve([request]));
        }
    }

    private static IReadOnlyList<FuzzSeed> ModuleSeeds(ScratchFolder folder)
    {
        var seeds = new List<FuzzSeed>();
        foreach (var name in (string[])["crct10dif_common", "mbcache", "virtio_pci_modern_dev"])
        {
            try
            {
                var shipped = StockKernel.Module(name);
                seeds.Add(FuzzSeed.OfFile(name, File.ReadAllBytes(shipped), ElfFile.Open(StockKernel.DebugModule(name))));
                seeds.Add(FuzzSeed.OfFile(name + " debug", File.ReadAllBytes(StockKernel.DebugModule(name)), ElfFile.Open(shipped)));
            }
            catch (InvalidOperationException)
            {
                // Not among the modules that were fetched; e1000e always is.
            }
        }

        seeds.Add(FuzzSeed.OfFile("e1000e", File.ReadAllBytes(StockKernel.Module("e1000e"))));
        return seeds;
    }

    private static void Module(FuzzCase c)
    {
        const ulong Base = 0xffffffffc0200000;
        var file = ElfFile.Open(c.FilePath);
        var addresses = new Dictionary<string, ulong>(StringComparer.Ordinal);
        var next = Base;
        foreach (var section in file.Sections.Where(s => s.IsAllocated))
        {
            addresses.TryAdd(section.Name, next);
            next += Math.Min(section.Size, 0x100000) + 0x1000 & ~0xfffUL;
        }

        var module = KernelModule.Load("fuzz", X86_64.Instance, addresses, c.Seed.Context is ElfFile other ? [file, other] : [file]);
        c.Ask(() => module.HasDwarf.ToString());
        var table = c.Ask(() => new UnwindTable(X86_64.Instance, [module.ForUnwinding("6.1.0-56-amd64")]));
        foreach (var range in module.Text.Take(4))
        {
            for (var i = 0; i < 12; i++)
            {
                var address = range.Start + (ulong)c.Random.NextInt64((long)Math.Clamp(range.End - range.Start, 1, 1 << 20));
                c.Ask(() => Assert.NotEmpty(module.Symbolizer!.Symbolize(address)));
                c.Ask(() => table?.FindRows(address).Length.ToString());
                c.Ask(() => module.Symbolizer!.FindFunctionAt(address));
            }
        }

        c.Ask(() => module.Symbols?.Find("init_module"));
    }

    private static IReadOnlyList<FuzzSeed> CodeSeeds(ScratchFolder folder)
    {
        File.WriteAllBytes(folder.File("vmlinux"), FuzzPrograms.Kernel);
        return [FuzzSeed.OfFile("kernel", ElfFile.Open(folder.File("vmlinux")).GetSection(".text").Span[..128].ToArray())];
    }

    private static void Instructions(FuzzCase c)
    {
        foreach (var architecture in Architecture.All)
        {
            var instructions = Disassembler.Disassemble(architecture, c.Bytes, 0xffffffff81000000);
            Assert.Equal(c.Bytes, instructions.SelectMany(i => i.Bytes));
        }

        c.Ask(() => { });
    }
}
