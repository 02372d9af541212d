using System.Text;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;
using KTrace.Tracing.Interrupts;

namespace KTrace.Tests.Tracing;

/// <summary>Traces for tests: one of every record, and random ones.</summary>
internal static class TraceSamples
{
    public static TraceRecord.Header Header(params TraceTracepoint[] tracepoints) =>
        new() { Tool = "ktrace test", Arch = "x86-64", Tracepoints = [.. tracepoints] };

    public static TraceFrame Frame(string function, string? module = null, bool inline = false, int line = 10) =>
        new(function, 4, module, "a/b.c", line, inline, inline ? null : UnwindRule.Cfi);

    public static CallPath Path(params string[] functions) => new([.. functions.Select(function => Frame(function))]);

    public static TraceRecord.Hit Hit(long sequence, int tracepoint, CallPath path) => new()
    {
        Sequence = sequence,
        Tracepoint = tracepoint,
        Path = path,
        PathEnd = new TraceEnd(TraceEndReason.EndOfStack),
    };

    /// <summary>Every record type, with every field at least once set and once not, and text that is hard to write.</summary>
    public static TraceRecord[] EveryRecord()
    {
        const string Awkward = "tab\t quote\" back\\ esc\u001b[31m del\u007f c1\u009b bidi\u202e nul\0 wide漢字 emoji😀 line\u2028 é <&>'+";
        return
        [
            new TraceRecord.Header
            {
                Tool = "ktrace test",
                Arch = "i386",
                Kernel = new TraceKernel("6.1.0", "00ff", Awkward),
                Slide = 0x33400000,
                Boot = TraceBoot.From(new Dictionary<string, object?>
                {
                    ["text"] = Awkward, ["none"] = null, ["yes"] = true, ["int"] = -1, ["long"] = long.MaxValue, ["double"] = 0.5,
                    ["list"] = new object?[] { "a", 1, null }, ["inner"] = new Dictionary<string, object?> { ["deep"] = Array.Empty<string>() },
                }),
                Tracepoints =
                [
                    new TraceTracepoint(7, Awkward, null, TracepointState.Pending, Awkward),
                    new TraceTracepoint(int.MaxValue, "b", "c", "a-state-of-tomorrow", null, ulong.MaxValue),
                ],
                Clock = "instructions",
                JiffiesPerSecond = 1000,
                HasContexts = true,
            },
            new TraceRecord.Module("mod", 0xffffffffc0000000),
            new TraceRecord.Module(Awkward, 0, "00", Awkward),
            new TraceRecord.TracepointResolved(new TraceTracepoint(8, "later", "later")),
            new TraceRecord.Hit
            {
                Sequence = 1,
                Tracepoint = 7,
                Cpu = 255,
                Task = new TraceTask(4_194_304, Awkward) { ThreadGroup = 7, IsKernelThread = true },
                Context = new TraceContext(PreemptCount.Of(0x7ff0_0101, needsReschedule: true), IrqsOff: true),
                Clock = new TraceClock(ulong.MaxValue, 1, 2),
                Path = new CallPath(
                [
                    new TraceFrame(Awkward, 0, "mod", Awkward, 1, true),
                    new TraceFrame("b", ulong.MaxValue, null, null, null, false, UnwindRule.Registers, false, Awkward),
                    .. Enum.GetValues<UnwindRule>().Select(rule => new TraceFrame("c", 1, "mod", "c.c", null, false, rule)),
                ]),
                Pcs = [1, 2, 3, 4, 5, ulong.MaxValue],
                Registers = [new TraceRegister("eax", 0), new TraceRegister("eip", ulong.MaxValue)],
                PathEnd = new TraceEnd(
                    TraceEndReason.User, 0x5de750, 1, new TraceSyscall("ioctl", 16, [3, 4, 5, 6, 7, 8], ["3", null, Awkward]), 9, Awkward),
            },
            new TraceRecord.Hit
            {
                Sequence = 2,
                Tracepoint = 7,
                Context = TraceContext.Plain,
                Path = Path("a", "b", "c"),
                Arguments =
                [
                    new ArgumentList(
                    [
                        new TraceArgument(Awkward, Awkward, ulong.MaxValue, Awkward, "a-provenance-of-tomorrow", true),
                        new TraceArgument("", null, null, null, ArgumentProvenance.OptimizedOut),
                    ]),
                    ArgumentList.Empty,
                    new ArgumentList([new TraceArgument("irq", "unsigned int", 26, "26", ArgumentProvenance.Recovered)]),
                ],
                Prints = [new TracePrint(Awkward, Awkward, 1, Awkward), new TracePrint("a->b", null, null, null, "a is NULL")],
                PathEnd = new TraceEnd(TraceEndReason.EndOfStack),
            },
            new TraceRecord.Return { HitSequence = 2, Cpu = 3, Clock = new TraceClock(5), Prints = [new TracePrint("$ret", "int", 0, "0")] },
            new TraceRecord.Return { HitSequence = 1 },
            Interrupts(Awkward),
            new TraceRecord.Interrupts(),
            new TraceRecord.Hit { Sequence = 5, Tracepoint = int.MaxValue, PathEnd = new TraceEnd("a-reason-of-tomorrow") },
            new TraceRecord.Hit
            {
                Sequence = long.MaxValue,
                Tracepoint = 8,
                Clock = new TraceClock(),
                Path = Path("b", "b"),
                PathEnd = new TraceEnd(TraceEndReason.User, 1, 2, new TraceSyscall(null, -1, [])),
            },
            new TraceRecord.Console(null, ""),
            new TraceRecord.Console(new TraceClock(1), Awkward),
            new TraceRecord.Note(Awkward),
            new TraceRecord.Warning(""),
            new TraceRecord.End(3, Awkward, 1.25),
        ];
    }

    /// <summary>A snapshot in which everything is, at least once.</summary>
    public static TraceRecord.Interrupts Interrupts(string text, long? hit = 2) => new()
    {
        HitSequence = hit,
        AtReturn = true,
        Clock = new TraceClock(5),
        Irqs =
        [
            new IrqDescription(0),
            new IrqDescription(26)
            {
                Levels = [new IrqLevel("PCI-MSI", 49152, text), new IrqLevel(null, ulong.MaxValue, null)],
                Name = "edge", Flow = "handle_edge_irq", Vector = 34, Cpu = 1, Affinity = "0-3", EffectiveAffinity = "1", Msi = new MsiMessage(0xfee01000, 0x22),
                State = 0x41401, Depth = 0, Actions = [new IrqAction("e1000_intr_msix_rx", text, "irq_thread", ulong.MaxValue, 0x80), new IrqAction(null, null, null, 0, 0)],
                Counts = [0, uint.MaxValue],
            },
        ],
        LocalApics =
        [
            new LocalApic(0),
            new LocalApic(1)
            {
                Vectors = [new LocalVector("LVT0", 0x8700), new LocalVector("LVTT", 0x400ec)], Timer = new ApicTimer(3, 62500, 17), Spurious = 0x1ff, Command = 0xc4610, CommandDestination = 1, ErrorStatus = 0,
                InService = [new ApicVector(236, false)], Requested = [new ApicVector(37, true), new ApicVector(236, false)],
                ArbitrationPriority = 0, TaskPriority = 0, DestinationFormat = 0xf, LogicalDestination = 1, ProcessorPriority = 0xe0, Unread = [text],
            },
        ],
        IoApics = [new IoApic(0) { Version = 0x20, Id = 0, Entries = [new RedirectionEntry(0, 0x10000), new RedirectionEntry(23, 0xff0000000000a9a1)], Requested = [2, 23], Unread = [text] }],
        Pics = [new Pic(0) { Requested = 0x11, Mask = 0xfb, VectorBase = 0x30 }, new Pic(1) { InService = 1, EdgeLevel = 0xc, VectorBase = 0x38 }],
    };

    public static byte[] Bytes(IEnumerable<TraceRecord> records)
    {
        using var folder = new TemporaryFolder();
        string file = folder["sample.ktrace"];
        using (var writer = new TraceWriter(file))
        {
            foreach (TraceRecord record in records)
            {
                writer.Write(record);
            }
        }

        return File.ReadAllBytes(file);
    }

    public static TraceReader Reader(byte[] bytes) => TraceReader.Open(new MemoryStream(bytes), "sample.ktrace");

    public static TraceReader Reader(params string[] lines) => Reader(Encoding.UTF8.GetBytes(string.Join('\n', lines) + "\n"));

    public static Trace Trace(IReadOnlyList<TraceRecord> records)
    {
        using TraceReader reader = Reader(Bytes(records));
        return KTrace.Tracing.Trace.Load(reader);
    }

    /// <summary>A trace of hits given as tracepoint and path, such as <c>1:a/b/c</c> (innermost first).</summary>
    public static Trace Trace(params string[] hits) => Trace(
    [
        Header(new TraceTracepoint(1, "one", "one"), new TraceTracepoint(2, "two", "two"), new TraceTracepoint(3, "three", "three")),
        .. hits.Select((hit, i) => Hit(i + 1, hit[0] - '0', Path(hit[2..].Split('/')))),
    ]);
}
