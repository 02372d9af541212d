using System.Collections.Immutable;
using KTrace.Debugger.Cpus;
using KTrace.Rsp;
using KTrace.Symbols;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;
using KTrace.Tracing.Interrupts;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;
using KTrace.Tui.Views;

namespace KTrace.Tests.Tui.Screens;

/// <summary>States to look at: the recorded trace of the repository, and a live session that stands where that trace's hits are.</summary>
internal static class UiSamples
{
    public static readonly Trace Recorded = Trace.Load(Path.Combine(GoldenFile.SourceRoot(), "traces", "e1000e-msix.ktrace"), keepRegisters: true);

    public static readonly TerminalLooks Looks = new(ColourDepth.TwoHundredFiftySix, IsUnicode: true, IsLight: false, HasMouse: true, HasSynchronisedOutput: true);

    /// <summary>The hit with the deepest path.</summary>
    public static TraceRecord.Hit Hit { get; } = Recorded.Hits.MaxBy(h => h.Path.Frames.Length)!;

    public static TargetAbilities LiveAbilities { get; } =
        new("e1000e-msix", "e1000e-msix", IsLive: true, CanTypeToConsole: true, EndsGuest: true) { Header = Recorded.Header };

    public static TargetAbilities TraceAbilities { get; } = new("traces/e1000e-msix.ktrace", "trace:e1000e-msix", IsLive: false) { Header = Recorded.Header };

    public static ImmutableArray<HitSummary> Summaries { get; } =
    [
        .. Recorded.Hits.Select(h => new HitSummarizer(Recorded.Header).Of(h, Recorded.Tracepoints)),
    ];

    public static StopSnapshot Stop { get; } = new(
        "breakpoint 1, x86_vector_msi_compose_msg", "kernel", 0, Hit.Pcs.IsEmpty ? 0xffffffff81068b40 : Hit.Pcs[0], Hit, [Cpu(0, "swapper/0", 0), Cpu(1, "ifconfig", 62)],
        [
            new RegisterRow("rax", 0xffffffff81068b40, true, "x86_vector_msi_compose_msg"), new RegisterRow("rbx", 0xffff888006069028, false, null),
            new RegisterRow("rcx", 0, false, null), new RegisterRow("rdx", 0x18, true, null), new RegisterRow("rsi", 0xffffc90000637798, false, null),
            new RegisterRow("rdi", 0xffff88800609ea00, true, null), new RegisterRow("rbp", 0xffff88800609ea00, false, null), new RegisterRow("rsp", 0xffffc90000637780, true, null),
            .. Enumerable.Range(8, 8).Select(i => new RegisterRow($"r{i}", i == 13 ? 0xffffffff82a0c0d8 : (ulong)i * 0x1111, false, i == 13 ? "pci_msix_irq_controller+0x18" : null)),
            new RegisterRow("rip", 0xffffffff81068b40, true, "x86_vector_msi_compose_msg"), new RegisterRow("eflags", 0x246, false, "PF ZF IF"), new RegisterRow("cs", 0x10, false, "kernel"),
            .. new[] { "ss", "ds", "es", "fs", "gs" }.Select(name => new RegisterRow(name, name == "ss" ? 0x18u : 0u, false, null)),
            new RegisterRow("fs_base", 0x5e1380, false, null), new RegisterRow("gs_base", 0xffff88807dc00000, false, null), new RegisterRow("k_gs_base", 0, false, null),
            new RegisterRow("cr0", 0x80050033, false, "PE MP ET NE WP AM PG"), new RegisterRow("cr2", 0x5e1370, false, null), new RegisterRow("cr3", 0x6098000, false, null),
            new RegisterRow("cr4", 0x6f0, false, "PSE PAE MCE PGE OSFXSR OSXMMEXCPT"), new RegisterRow("cr8", 0, false, null), new RegisterRow("efer", 0xd01, false, "SCE LME LMA NXE"),
        ],
        null) { Number = 3, Hit = Hit.Sequence };

    public static FrameSnapshot Frame { get; } = new(
        0, Hit.Path.Frames[0].Function, "arch/x86/kernel/apic/msi.c", 30, SourceLines(), null, Code(),
        [
            new ValueRow("data", "data", "struct irq_data *", "0xffff88800609ea00 irq 24 \"PCI-MSIX\"", "register", true, IsArgument: true) { Changed = true },
            new ValueRow("msg", "msg", "struct msi_msg *", "0xffffc90000637798", "register", true, IsArgument: true),
            new ValueRow("dest", "dest", "unsigned int", null, "optimized out", false),
            new ValueRow("bad", "bad", "char *", null, null, false, "no memory at 0x10"),
        ]);

    public static TargetNews.Expanded Members { get; } = new(
        "data",
        [
            new ValueRow("mask", "data->mask", "u32", "0", null, false), new ValueRow("irq", "data->irq", "unsigned int", "24", null, false),
            new ValueRow("chip", "data->chip", "struct irq_chip *", "0xffffffff82a1b0c0 <pci_msix_controller>", null, true),
        ],
        null);

    public static TargetNews.Breakpoints Breakpoints { get; } = new(
    [
        new BreakpointRow(1, "breakpoint", "x86_vector_msi_compose_msg", "arch/x86/kernel/apic/msi.c:30", null, true, false, 3, 0xffffffff81068b40, "arch/x86/kernel/apic/msi.c", 30),
        new BreakpointRow(2, "breakpoint", "e1000_request_msix", "waits for module e1000e", "irq >= 24", false, true, 0, null, null, null),
        new BreakpointRow(3, "tracepoint", "request_threaded_irq", "kernel/irq/manage.c:2187", null, true, false, 12, 0xffffffff81123450, "kernel/irq/manage.c", 2187),
    ]);

    public static TargetNews.Modules Modules { get; } = new([.. Recorded.Modules.Select(m => new ModuleRow(m.Name, m.Base, 0x40000, m.BuildId, true)), new ModuleRow("unknown_one", 0xffffffffc0400000, 4096, null, false)]);

    public static TargetNews.MemoryRead Memory { get; } = new(0xffff88800609ea00, [.. Enumerable.Range(0, 256).Select(i => i is > 200 and < 208 ? (byte?)null : (byte)(i * 7))])
    {
        Names = System.Collections.Immutable.ImmutableDictionary<int, string>.Empty.Add(8, "irq_default_affinity").Add(32, "pci_msix_irq_controller+0x18").Add(40, "e1000_intr_msix_rx [e1000e]"),
    };

    public static TargetNews.Interrupts Interrupts { get; } = new(new TraceRecord.Interrupts
    {
        Irqs =
        [
            Irq(0, "IO-APIC", "timer_interrupt", "timer"), Irq(1, "IO-APIC", null, null), Irq(4, "IO-APIC", "serial8250_interrupt", "ttyS0"), Irq(24, "PCI-MSIX", "e1000_intr_msix_rx", "eth0-rx-0"),
            Irq(25, "PCI-MSIX", "e1000_intr_msix_tx", "eth0-tx-0"), Irq(26, "PCI-MSIX", "e1000_msix_other", "eth0"),
        ],
    });

    public const string Console =
        "[    0.000000] Linux version 6.1.0-56-amd64 (debian-kernel@lists.debian.org)\r\n[    0.000000] Command line: console=ttyS0\r\n[    2.160000] \x1b[1;32me1000e\x1b[0m 0000:00:03.0 eth0: registered\r\n"
        + "evil \u001b]0;title\a\u202e漢字 text\r\n~ # ifconfig eth0 up\r\n~ # ";

    public static UiDriver Empty(int columns, int rows, bool isLive) => new(UiState.Begin(new TerminalSize(columns, rows), Looks, isLive ? LiveAbilities : TraceAbilities, Remembered.Nothing));

    /// <summary>A session at a breakpoint, with everything in its panes.</summary>
    public static UiDriver Live(int columns, int rows) => Empty(columns, rows, isLive: true).Hear(
        new TargetNews.Progress("booting Linux 6.1.0-56-amd64", 0.4), new TargetNews.Running(), new TargetNews.Identified("Linux 6.1.0-56-amd64", 0x1a000000), new TargetNews.ConsoleText(Console),
        new TargetNews.HitsAdded(Summaries), new TargetNews.Stopped(Stop), new TargetNews.FrameContents(Frame), Breakpoints, Modules, Memory, Interrupts,
        new TargetNews.HitsCompared(Recorded.Hits[1], Recorded.Hits[^1]),
        new TargetNews.Output("info registers rip", [new TextLine().Add("rip            0xffffffff81068b40"), new TextLine().Add("second line")])).Type("1\e").Forget();

    public static UiDriver OfTrace(int columns, int rows) => Empty(columns, rows, isLive: false).Hear(
        new TargetNews.HitsAdded(Summaries), new TargetNews.Idle(), new TargetNews.HitShown(Recorded.Hits[0], null, Recorded.Tracepoints), Modules,
        new TargetNews.Breakpoints([.. Recorded.Tracepoints.All.Select(t => new BreakpointRow(t.Id, "tracepoint", t.Requested, t.Symbol ?? "", null, true, false, 1, t.Address, null, null))])).Forget();

    private static IReadOnlyList<string> SourceLines() =>
    [
        .. Enumerable.Range(1, 60).Select(i => i switch
        {
            1 => "// SPDX-License-Identifier: GPL-2.0-only",
            28 => "void x86_vector_msi_compose_msg(struct irq_data *data, struct msi_msg *msg)",
            29 => "{",
            30 => "\t__irq_msi_compose_msg(irqd_cfg(data), msg, false);",
            31 => "}",
            40 => "\t/* 漢字 in a comment */",
            _ => i % 5 == 0 ? "" : $"\tline_{i}();",
        }),
    ];

    private static CodeListing Code() => new(
        "x86_vector_msi_compose_msg, 0x40 bytes",
        [
            .. Enumerable.Range(0, 20).Select(i => new CodeRow(
                0xffffffff81068b40 + (ulong)(i * 5), $"<+{i * 5}>", "e8 00 11 22 33", i switch { 0 => "nopl 0x0(%rax,%rax,1)", 3 => "call 0xffffffff81068a90 <__irq_msi_compose_msg>", 5 => "jne 0xffffffff81068b80 <+64>", _ => $"mov %rdi, 0x{i:x}(%rsp)" },
                i % 4 == 0 ? $"arch/x86/kernel/apic/msi.c:{29 + (i / 4)}" : null, i % 4 == 0 ? $"line_{i}();" : null, i == 0, i == 0 ? 1 : i == 7 ? 2 : null)),
        ]);

    private static CpuState Cpu(int index, string comm, int pid) => new(
        index, new ThreadId(1, index + 1), index == 0 ? "CPU#0 [running]" : "CPU#1 [halted ]", new RegisterSet(Architecture.ForName("x86-64")!), 0xffffffff81068b40, CpuMode.Kernel)
    {
        Task = new CpuTask(0xffff888003a40000, pid, comm),
        Preempt = PreemptCount.Zero,
        Stack = new CpuStack(CpuStackKind.Task),
    };

    private static IrqDescription Irq(int number, string chip, string? handler, string? name) => new(number)
    {
        Levels = [new IrqLevel(chip, (ulong)number, chip), new IrqLevel("APIC", (ulong)number, "VECTOR")],
        Vector = 0x20 + number,
        Cpu = 0,
        Affinity = "0-1",
        State = number == 26 ? IrqState.Masked : IrqState.Started,
        Actions = handler is null ? [] : [new IrqAction(handler, name, null, 0, 0)],
        Counts = [(uint)number * 100, 0],
        Flow = "handle_edge_irq",
    };
}
