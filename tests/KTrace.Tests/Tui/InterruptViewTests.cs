using KTrace.Debugger.Cpus;
using KTrace.Rsp;
using KTrace.Symbols;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Tracing;
using KTrace.Tracing;
using KTrace.Tracing.Interrupts;
using KTrace.Tui.Views;

namespace KTrace.Tests.Tui;

/// <summary>Interrupts and CPUs as a person sees them, in a narrow and a wide terminal and in a pipe.</summary>
public class InterruptViewTests
{
    private const int Pipe = 0;

    private static readonly InterruptsQuery Before = Query(Snapshot(vector: 34, cpu: 2, "0-3"), 12);
    private static readonly InterruptsQuery After = Query(Snapshot(vector: 35, cpu: 1, "1"), 19);

    public static TheoryData<int> Widths => [80, 132, Pipe];

    [Theory]
    [MemberData(nameof(Widths))]
    public void Interrupts(int width) => Check("irqs", new IrqTable(After), width);

    [Theory]
    [InlineData(80)]
    public void All_interrupts(int width) => Check("irqs-all", new IrqTable(After, all: true), width);

    [Theory]
    [InlineData(80)]
    public void Local_apics(int width) => Check("lapic", new LocalApicView(After), width);

    [Theory]
    [InlineData(80)]
    public void Io_apic(int width) => Check("ioapic", new IoApicView(After), width);

    [Theory]
    [InlineData(80)]
    public void Pics(int width) => Check("pic", new PicView(After), width);

    [Theory]
    [InlineData(80)]
    [InlineData(Pipe)]
    public void Differences(int width) => Check("irqs-diff", new IrqDiffView(IrqDiff.Compare(Before.Interrupts, After.Interrupts), Before, After), width);

    [Fact]
    public void Snapshots_that_differ_in_counts_alone_are_the_same()
    {
        var later = After.Interrupts with { Irqs = [.. After.Interrupts.Irqs.Select(i => i with { Counts = [.. i.Counts.Select(c => c + 1)] })] };

        Assert.True(IrqDiff.Compare(After.Interrupts, later).IsEqual);
        Assert.False(IrqDiff.Compare(Before.Interrupts, After.Interrupts).IsEqual);
    }

    [Theory]
    [MemberData(nameof(Widths))]
    public void Cpus(int width) => Check("cpus", new CpuStatesView(SomeCpus(), selected: 1), width);

    [Fact]
    public void Nothing_of_the_guest_reaches_the_terminal_raw()
    {
        const string Awkward = "esc\u001b[31m bidi\u202e nul\0";
        var query = Query(TraceSamples.Interrupts(Awkward), 2);
        foreach (View view in (View[])
            [new IrqTable(query, all: true), new LocalApicView(query), new IoApicView(query), new PicView(query), new IrqDiffView(IrqDiff.Compare(After.Interrupts, query.Interrupts), After, query)])
        {
            Assert.DoesNotMatch("[\u0000-\u001f\u202e]", string.Concat(view.Lines(80)));
        }
    }

    private static InterruptsQuery Query(TraceRecord.Interrupts interrupts, long hit) => new(
        "e1000e-msix.ktrace",
        TraceSamples.Header() with { Kernel = new TraceKernel("6.1.0-56-amd64", null, null), JiffiesPerSecond = 250 },
        interrupts with { HitSequence = hit, AtReturn = hit == 12, Clock = new TraceClock(4294895000) },
        null);

    private static TraceRecord.Interrupts Snapshot(int vector, int cpu, string affinity) => TraceSamples.Interrupts("a line") with
    {
        Irqs =
        [
            new IrqDescription(2) { Levels = [new IrqLevel("XT-PIC", 0, null)], Counts = [0, 0, 0, 0] },
            new IrqDescription(9)
            {
                Levels = [new IrqLevel("IO-APIC", 23, "IO-APIC-0"), new IrqLevel("APIC", 9, "VECTOR")], Name = "fasteoi", Flow = "handle_fasteoi_irq", Vector = 33, Cpu = 1, Affinity = "0-3",
                EffectiveAffinity = "1", State = IrqState.Level | IrqState.Started, Actions = [new IrqAction("acpi_irq", "acpi", null, 1, 0x80)], Counts = [0, 3, 0, 0],
            },
            new IrqDescription(24)
            {
                Levels = [new IrqLevel("PCI-MSI", 32768, "PCI-MSI-2"), new IrqLevel("APIC", 24, "VECTOR")], Name = "edge", Flow = "handle_edge_irq", Vector = vector, Cpu = cpu, Affinity = affinity,
                EffectiveAffinity = affinity, Msi = new MsiMessage(0xfee01004, (uint)vector), State = IrqState.Started | (cpu == 1 ? IrqState.InProgress : 0),
                Actions = [new IrqAction("e1000_intr_msix_rx", "eth0-rx-0", "irq_thread_fn", 0xffff888005fc0000, 0)], Counts = [0, 12345, 6, 0],
            },
            .. vector == 35 ? [new IrqDescription(26) { Levels = [new IrqLevel("PCI-MSI", 32770, null)], Vector = 36, Cpu = 0, Actions = [new IrqAction("0xffffffffc0216200", "eth0", null, 0, 0)] }]
                : Array.Empty<IrqDescription>(),
        ],
    };

    private static IReadOnlyList<CpuState> SomeCpus()
    {
        var registers = new RegisterSet(X86_64.Instance);
        registers[X86_64.Eflags] = 0x202;
        var off = registers.Clone();
        off[X86_64.Eflags] = 2;
        return
        [
            new(0, new ThreadId(1, 1), "CPU#0 [halted ]", registers, 0xffffffff81a1b2c3, CpuMode.Kernel)
            {
                Task = new CpuTask(1, 0, "swapper/0"), Preempt = PreemptCount.Zero, Stack = new CpuStack(CpuStackKind.Task), Location = [new Frame("default_idle", 0x13, null, new SourceLine("arch/x86/kernel/process.c", 743), false)],
            },
            new(1, new ThreadId(1, 2), "CPU#1 [running]", off, 0xffffffffc0216200, CpuMode.Kernel)
            {
                Task = new CpuTask(2, 79, "cat\u001b[31m") { ThreadGroup = 79, IsKernelThread = false }, Preempt = PreemptCount.Of(0x10101, true), Stack = new CpuStack(CpuStackKind.HardIrq),
                Location = [new Frame("e1000_intr_msix_rx", 0, "e1000e", new SourceLine("drivers/net/ethernet/intel/e1000e/netdev.c", 1944), false)],
            },
            new(2, new ThreadId(1, 3), "CPU#2 [running]", registers, 0x4a1c20, CpuMode.User)
            {
                Task = new CpuTask(3, 80, "sh") { IsKernelThread = false }, Preempt = PreemptCount.Zero, Stack = new CpuStack(CpuStackKind.User),
            },
            new(3, new ThreadId(1, 4), "CPU#3 [halted ]", off, 0xfffffff0, CpuMode.Firmware),
        ];
    }

    private static void Check(string name, View view, int width)
    {
        var lines = view.Lines(width == Pipe ? null : width).ToList();
        Assert.All(lines, line => Assert.True(width == Pipe || line.Width <= width, line.ToString()));
        GoldenFile.Check($"{name}.{(width == Pipe ? "pipe" : width)}", string.Join('\n', lines) + "\n");
    }
}
