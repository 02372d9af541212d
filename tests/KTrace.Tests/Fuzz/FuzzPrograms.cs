using System.Collections.Concurrent;
using KTrace.Symbols;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Support;

namespace KTrace.Tests.Fuzz;

/// <summary>Real objects, small enough to be damaged a hundred thousand times: each is made once for all readers.</summary>
internal static class FuzzPrograms
{
    private static readonly ConcurrentDictionary<string, Lazy<byte[]>> s_programs = [];
    private static readonly Lazy<byte[]> s_kernel = new(BuildKernel);
    private static readonly Lazy<byte[]> s_orcIps = new(() => Stock(".orc_unwind_ip", OrcEntries * 4));
    private static readonly Lazy<byte[]> s_orcRows = new(() => Stock(".orc_unwind", OrcEntries * 6));

    public const int OrcEntries = 400;

    public static byte[] OrcIps => s_orcIps.Value;

    public static byte[] OrcRows => s_orcRows.Value;

    /// <summary>Something that passes for a vmlinux: kernel addresses, linux_banner, a build id, DWARF, .BTF, and ORC cut from a stock kernel.</summary>
    public static byte[] Kernel => s_kernel.Value;

    /// <summary>The program of <see cref="CompiledProgram"/>.</summary>
    public static byte[] Build(string compiler, string options) => s_programs.GetOrAdd(compiler + " " + options, key => new Lazy<byte[]>(() =>
    {
        using var folder = new ScratchFolder();
        return File.ReadAllBytes(CompiledProgram.Build(folder, compiler, options));
    })).Value;

    /// <summary>The sections of an object as the readers of debug information get them (relocated, when it is an object file), and its symbols.</summary>
    public static FuzzSeed Sections(ScratchFolder folder, string compiler, string options)
    {
        var path = folder.File(string.Concat((compiler + options).Where(char.IsAsciiLetterOrDigit)));
        File.WriteAllBytes(path, Build(compiler, options));
        return Sections(compiler + " " + options, path);
    }

    public static FuzzSeed Sections(string name, string path)
    {
        var file = ElfFile.Open(path);
        var relocated = file.IsRelocatable ? new RelocatedSections(file, RelocatedSections.OneAfterTheOther(file)) : null;
        ISectionSource source = relocated is null ? file : relocated;
        var symbols = relocated?.Symbols ?? new ElfSymbolTable(file);
        var parts = file.Sections.Select(s => s.Name).Where(n => n.StartsWith(".debug_", StringComparison.Ordinal) || n is ".eh_frame" or ".strtab").Distinct()
            .ToDictionary(n => n, n => source.GetSection(n).Span.ToArray());
        var addresses = symbols.All.Where(s => s.IsFunction && s.Size > 0).SelectMany(s => new[] { s.Value, s.Value + 4, s.Value + (s.Size / 2), s.Value + s.Size - 1, s.Value + s.Size }).Distinct().Take(200);
        return new FuzzSeed(name, parts, new FuzzObject(file, symbols, [.. addresses]))
        {
            Victims = [.. parts.Where(p => p.Value.Length > 0 && p.Key.StartsWith(".debug_", StringComparison.Ordinal)).Select(p => p.Key)],
        };
    }

    private static byte[] BuildKernel()
    {
        using var folder = new ScratchFolder();
        File.WriteAllText(folder.File("main.c"), """
            const char linux_banner[] = "Linux version 6.1.0-fuzz (someone@somewhere) #1 SMP\n";
            struct list_head { struct list_head *next, *prev; };
            struct module { int state; struct list_head list; char name[56]; unsigned char taints; void *init; struct { void *base; unsigned size; } core_layout; };
            struct task_struct { int pid; char comm[16]; volatile unsigned flags : 5; struct module *module; union { long a; char b[8]; } u; };
            struct task_struct init_task; struct module *modules; volatile int jiffies;
            static inline __attribute__((always_inline)) int inner(int x) { jiffies += x; return x * jiffies; }
            __attribute__((noinline)) int do_init_module(struct module *m) { m->state = inner(m->state); return inner(3); }
            __attribute__((noinline)) int tail(int x) { jiffies = x; return do_init_module(modules); }
            __attribute__((noinline)) int middle(struct task_struct *t, int (*f)(int)) { return f(t->pid) + inner(2) + tail(4); }
            void start_kernel(void) { middle(&init_task, tail); for (;;) jiffies++; }
            """);
        File.WriteAllBytes(folder.File("ips"), OrcIps);
        File.WriteAllBytes(folder.File("rows"), OrcRows);
        PeerProgram.Run("gcc", ["-gdwarf-5", "-O2", "-w", "-ffreestanding", "-nostdlib", "-static", "-fno-pic", "-no-pie", "-mcmodel=kernel", "-fno-asynchronous-unwind-tables",
            "-Wl,-Ttext=0xffffffff81000000", "-Wl,--build-id", "-Wl,-e,start_kernel", "-o", folder.File("vmlinux"), folder.File("main.c")]);
        PeerProgram.Run("pahole", ["-J", folder.File("vmlinux")]);
        PeerProgram.Run("objcopy", ["--add-section", ".orc_unwind_ip=" + folder.File("ips"), "--add-section", ".orc_unwind=" + folder.File("rows"), folder.File("vmlinux")]);
        return File.ReadAllBytes(folder.File("vmlinux"));
    }

    private static byte[] Stock(string section, int length)
    {
        var file = ElfFile.Open(StockKernel.Vmlinux);
        return file.GetSection(section).Span[..length].ToArray();
    }
}

/// <summary>What a walk over an object asks: its intact file and symbols, and addresses of its code.</summary>
internal sealed record FuzzObject(ElfFile File, ElfSymbolTable Symbols, ulong[] Addresses);
