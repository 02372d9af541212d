using System.Collections.Immutable;
using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Debugger.Recording;
using KTrace.Debugger.Tracepoints;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Support;
using KTrace.Tests.Tracing;
using KTrace.Tracing;
using KTrace.Tracing.Export;

namespace KTrace.Tests.Symbols;

/// <summary>
/// The stacks of a real boot (return addresses as they were in memory) over the stock kernel and its e1000e module, against the backtraces that gdb
/// 13.1 printed on another boot of it: function, file, line, what is inlined, and the addresses of what left by a tail call.
/// </summary>
public partial class TailCallsStockKernelTests
{
    private const ulong ModuleText = 0xffffffffc0212000;

    private static readonly Lazy<ImmutableArray<TraceRecord.Hit>> LazyHits = new(() => Record(0));

    public static TheoryData<int> Numbers => [.. Enumerable.Range(1, GdbReference.Backtraces.Length)];

    [Theory]
    [MemberData(nameof(Numbers))]
    public void Every_frame_is_gdbs(int number)
    {
        Assert.Equal(GdbReference.Backtraces[number - 1].Select(AsGdb).SelectMany(WhereGdbIsWrong), Lines(LazyHits.Value[number - 1]));
    }

    [Theory]
    [InlineData(17, "request_irq", "e1000_request_msix", "e1000_request_irq")]
    [InlineData(18, "request_irq", "e1000_request_msix", "e1000_request_irq")]
    [InlineData(19, "request_irq", "e1000_request_msix", "e1000_request_irq")]
    public void The_path_of_an_MSI_X_vector_goes_through_irq_activate(int number, params string[] functions)
    {
        var frames = LazyHits.Value[number - 1].Path.Frames;
        var activate = frames.Single(frame => frame.IsTailCall);

        Assert.Equal(("irq_activate", "kernel/irq/chip.c", 293), (activate.Function, activate.File, activate.Line));
        Assert.Equal(
            ["irq_domain_activate_irq", "irq_activate", "__setup_irq", "request_threaded_irq", .. functions, "e1000e_open"],
            frames.Skip(frames.IndexOf(activate) - 1).Take(5 + functions.Length).Select(frame => frame.Function));
        Assert.Equal(0xffffffff81125a34, Assert.Single(LazyHits.Value[number - 1].TailPcs));
    }

    [Fact]
    public void A_kernel_that_KASLR_moved_has_the_same_paths()
    {
        const ulong slide = 0x1e200000;
        var moved = Record(slide);

        Assert.Equal(LazyHits.Value.Select(hit => hit.Path), moved.Select(hit => hit.Path));
        Assert.Equal(LazyHits.Value.SelectMany(hit => hit.TailPcs).Select(pc => pc + slide), moved.SelectMany(hit => hit.TailPcs));
    }

    private static IEnumerable<string> Lines(TraceRecord.Hit hit)
    {
        var tracepoints = new TracepointTable();
        tracepoints.Observe(GdbReference.Header);
        return GdbExport.Lines(hit, GdbReference.Header, tracepoints).Where(line => line.StartsWith('#')).Select(AsGdb);
    }

    /// <summary>Where the two part, and who is right.</summary>
    private static IEnumerable<string> WhereGdbIsWrong(string line) => line switch
    {
        // The symbol that the kernel itself prints; the other one begins further up.
        _ when line.Contains(" in secondary_startup_64 ", StringComparison.Ordinal) => [line.Replace("startup_64 ", "startup_64_no_verify ", StringComparison.Ordinal)],
        _ when line.Contains(" in entry_SYSCALL_64 ", StringComparison.Ordinal) => [line.Replace("SYSCALL_64 ", "SYSCALL_64_after_hwframe ", StringComparison.Ordinal)],
        // The row of the line table that covers the jump says 157 (addr2line too); it does not begin a statement, and gdb takes the one before it.
        _ when line.Contains("evsci.c:156", StringComparison.Ordinal) => [line.Replace(":156", ":157", StringComparison.Ordinal)],
        // __do_sys_finit_module calls load_module (0xffffffff8114ba77: call ffffffff81149680), whose one tail call is to do_init_module. gdb 13 tries
        // each range of load_module as if it were entered there, finds no function that begins at load_module.cold, and gives up.
        _ when line.Contains(" in do_init_module ", StringComparison.Ordinal) => [line, "0xffffffff8114b630 in load_module at kernel/module/main.c:2887"],
        // The driver calls pci_enable_msix_range, which is "xor r9d, r9d; xor r8d, r8d; jmp __pci_enable_msix_range". GCC describes that call under the abstract instance of
        // e1000e_set_interrupt_capability, where gdb does not look.
        _ when line.Contains(" in e1000e_set_interrupt_capability ", StringComparison.Ordinal) => ["0xffffffff815b7f80 in pci_enable_msix_range at drivers/pci/msi/msi.c:1002", line],
        _ => [line],
    };

    // Arguments go, and so do the addresses of a module, which lay elsewhere, and the folder of the build, which gdb shows for assembly.
    private static string AsGdb(string line)
    {
        var match = FrameLine().Match(line);
        Assert.True(match.Success, line);
        var place = $"{match.Groups["function"].Value} at {BuildFolder().Replace(match.Groups["place"].Value, "")}";
        return match.Groups["pc"].Value is { Length: > 0 } pc
            ? $"{(pc.StartsWith("0xffffffffc", StringComparison.Ordinal) ? "module" : pc)} in {place}"
            : place;
    }

    private static ImmutableArray<TraceRecord.Hit> Record(ulong slide)
    {
        var image = KernelImage.Open(StockKernel.Vmlinux);
        var map = new KernelMap(image, slide);
        map.Load(KernelModule.Load(
            "e1000e",
            image.Architecture,
            new Dictionary<string, ulong> { [".text"] = ModuleText },
            [ElfFile.Open(StockKernel.Module("e1000e")), ElfFile.Open(StockKernel.DebugModule("e1000e"))]));
        var records = new HitRecords(map);
        var tracepoint = new Tracepoint(
            1, TracepointRequest.Parse("x86_vector_msi_compose_msg"), "x86_vector_msi_compose_msg", null, GdbReference.TracepointAddress, null);
        var file = Path.Combine(AppContext.BaseDirectory, "Fixtures", "tail-calls", "physical-frames.txt");
        return
        [
            .. File.ReadLines(file).Where(line => !line.StartsWith('#')).Select((line, i) =>
            {
                var frames = line.Split(' ').Select((text, n) => Frame(AddressOf(text, slide), n)).ToImmutableArray();
                return records.Create(
                    i + 1,
                    tracepoint,
                    new StopCapture(frames[0].Registers, new UnwindResult(frames, new UnwindStop.EndOfStack()), 0, null, null, default),
                    null);
            }),
        ];
    }

    private static UnwoundFrame Frame(ulong pc, int number)
    {
        var registers = new RegisterSet(X86_64.Instance) { [X86_64.Rip] = pc };
        return new UnwoundFrame(registers, number == 0 ? UnwindRule.Registers : UnwindRule.Cfi, number > 0);
    }

    private static ulong AddressOf(string text, ulong slide) => text.Split("+0x") switch
    {
        [_, var offset] => ModuleText + ulong.Parse(offset, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture),
        _ => slide + ulong.Parse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture),
    };

    [GeneratedRegex("^/build/reproducible-path/linux-[0-9.]+/")]
    private static partial Regex BuildFolder();

    [GeneratedRegex(@"^#\d+ +(?:(?<pc>0x[0-9a-f]+) in )?(?<function>\S+) \(.*\) at (?<place>\S+:\d+)$")]
    private static partial Regex FrameLine();
}
