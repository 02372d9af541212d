using KTrace.Symbols;
using KTrace.Tests.Support;
using KTrace.Tests.Tracing;
using KTrace.Tracing;
using KTrace.Tracing.Export;
using KTrace.Tracing.Interrupts;
using KTrace.Tui.Views;

namespace KTrace.Tests.Fuzz;

/// <summary>Trace files, and what is asked of them.</summary>
internal static class TraceReaders
{
    public static IEnumerable<FuzzReader> All =>
    [
        new("traces", 8, Traces, [Mutation.OfText, Mutation.OfText, Mutation.OfBytes, Mutation.OfBlocks], Trace, FuzzReader.Trace),
        new("hit-filters", 2, Filters, [Mutation.OfText], Filter, FuzzReader.Trace),
    ];

    private static IReadOnlyList<FuzzSeed> Traces(ScratchFolder folder)
    {
        var every = folder.File("every.ktrace");
        using (var writer = new TraceWriter(every))
        {
            foreach (var record in TraceSamples.EveryRecord())
            {
                writer.Write(record);
            }
        }

        var recorded = File.ReadAllLines(Path.Combine(Boot.Repository.Root, "traces", "e1000e-msix.ktrace"));
        return
        [
            FuzzSeed.OfFile("every record", File.ReadAllBytes(every), every),
            FuzzSeed.OfText("recorded", string.Join('\n', recorded.Where(l => !l.Contains("\"console\"", StringComparison.Ordinal)).Take(120)) + "\n", every),
        ];
    }

    private static void Trace(FuzzCase c)
    {
        var honest = KTrace.Tracing.Trace.Load((string)c.Seed.Context!);
        var path = c.FilePath;
        var output = new ViewOutput(new StringWriter(), c.Number % 2 == 0 ? 80 : null, ansi: false, colour: false);
        c.Ask(() =>
        {
            using var reader = TraceReader.Open(path);
            foreach (var line in JsonExport.Lines(reader))
            {
                _ = line.Length;
            }
        });
        c.Ask(() =>
        {
            using var reader = TraceReader.Open(path);
            foreach (var line in JsonExport.Lines(reader, (hit, _) => hit.Sequence % 2 == 0))
            {
                _ = line.Length;
            }
        });
        if (c.Ask(() => KTrace.Tracing.Trace.Load(path, keepRegisters: true)) is not { } trace)
        {
            return;
        }

        output.Write(new HitTable(trace));
        output.Write(new TraceStatsView(trace, TraceStatistics.Of(trace)));
        foreach (var hit in trace.Hits.Take(5))
        {
            output.Write(new CallPathView(hit, trace.Header, trace.Tracepoints, new CallPathOptions(true, true, true)));
            _ = GdbExport.Lines(hit, trace.Header, trace.Tracepoints).Count();
        }

        var diff = TraceDiff.Compare(honest, trace);
        output.Write(new TraceDiffView(diff, honest, trace));
        DiffJson.Of(diff, honest, trace);
        foreach (var pick in (HitPick[])[new HitPick.First(), new HitPick.Last(), new HitPick.Number(2)])
        {
            c.Ask(() => TraceQuery.Pick(path, pick));
        }

        foreach (var pick in (HitPick?[])[null, new HitPick.First(), new HitPick.Number(2)])
        {
            if (c.Ask(() => InterruptsQuery.Pick(path, pick)) is { } picked)
            {
                output.Write(new IrqTable(picked, all: true));
                output.Write(new LocalApicView(picked));
                output.Write(new IoApicView(picked));
                output.Write(new PicView(picked));
                output.Write(new IrqDiffView(IrqDiff.Compare(picked.Interrupts, TraceSamples.Interrupts("x")), picked, picked));
            }
        }
    }

    private static IReadOnlyList<FuzzSeed> Filters(ScratchFolder folder) =>
    [
        .. new[] { "tracepoint=x86_vector_msi_compose_msg,cpu=0", "task=ifconfig", "function=e1000*,module=e1000e" }.Select(text => FuzzSeed.OfText(text, text)),
    ];

    private static void Filter(FuzzCase c)
    {
        var frame = TraceSamples.Frame("request_threaded_irq");
        c.Ask(() => HitFilter.Parse([c.Text]).Matches(TraceSamples.Hit(1, 1, new CallPath([frame])), new TracepointTable()));
        c.Ask(() => HitReference.Parse(c.Text.Replace('\0', ' ')));
        c.Ask(() => HitReference.Parse("file#12" + c.Text[..Math.Min(c.Text.Length, c.Number % 2)], _ => false));
    }
}
