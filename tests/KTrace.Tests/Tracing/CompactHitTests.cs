using System.Collections.Immutable;
using KTrace.Symbols;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;
using KTrace.Tracing.Export;

namespace KTrace.Tests.Tracing;

/// <summary>Hits that refer to what was written before.</summary>
public sealed class CompactHitTests
{
    private static readonly TraceFrame Outer = new("outer", 0x20, null, "a.c", 7, false, UnwindRule.Cfi);
    private static readonly TraceFrame Tail = new("left", 0x9, null, null, null, false, null, IsTailCall: true);
    private static readonly TraceFrame Inner = new("inner", 0, "mod", "b.c", 3, false, UnwindRule.Registers);

    [Fact]
    public void A_compact_hit_reads_as_what_it_stands_for()
    {
        using var folder = new KTrace.Tests.Boot.TemporaryFolder();
        var file = Path.Combine(folder.Path, "a.ktrace");
        Write(file);
        TraceRecord[] records = [.. TraceReader.Open(file).ReadAll()];
        var hits = records.OfType<TraceRecord.Hit>().ToList();
        Assert.Equal([1L, 2, 3], hits.Select(h => h.Sequence));
        var hit = hits[1];
        Assert.Equal(["inner", "left", "outer"], hit.Path.Frames.Select(f => f.Function));
        Assert.Equal([0x1000UL, 0x2000UL], hit.Pcs.AsEnumerable());
        Assert.Equal([0x3000UL], hit.TailPcs.AsEnumerable());
        Assert.Equal((1, 2, 77UL), (hit.Tracepoint, hit.Cpu, hit.Clock!.Ticks!.Value));
        Assert.Equal(new TraceTask(5, "a\"b") { ThreadGroup = 4 }, hit.Task);
        Assert.Equal(TraceEndReason.Cut, hit.PathEnd.Reason);
        Assert.True(hit.Context!.IrqsOff);
        Assert.Equal(
            ["p=0xffff888000000001", "n=-7", "flags=0x1 ONE", "lost=", "z=NULL"],
            hit.ArgumentsOf(0).Select(a => $"{a.Name}={a.Text}"));
        Assert.Equal(unchecked((ulong)-7L), hit.ArgumentsOf(0)[1].Value);
        Assert.Equal("described", hits[2].ArgumentsOf(2)[0].Text);
        var returned = Assert.Single(records.OfType<TraceRecord.Return>());
        Assert.Equal((2L, 12UL, 3, "-22"), (returned.HitSequence, returned.Duration!.Value, returned.Depth!.Value, returned.Prints[0].Text));
    }

    [Fact]
    public void A_selection_of_compact_hits_is_a_trace_of_the_first_format()
    {
        using var folder = new KTrace.Tests.Boot.TemporaryFolder();
        var file = Path.Combine(folder.Path, "a.ktrace");
        Write(file);
        var selected = Path.Combine(folder.Path, "b.ktrace");
        using (var reader = TraceReader.Open(file))
        {
            File.WriteAllLines(selected, JsonExport.Lines(reader, (h, _) => h.Sequence == 2).Select(l => System.Text.Encoding.UTF8.GetString(l.Span)));
        }

        using var read = TraceReader.Open(selected);
        Assert.Equal(TraceFormat.First, read.Header.Format);
        var hit = Assert.Single(read.ReadAll().OfType<TraceRecord.Hit>());
        Assert.Equal("0x1 ONE", hit.ArgumentsOf(0)[2].Text);
        Assert.Equal(["inner", "left", "outer"], hit.Path.Frames.Select(f => f.Function));
    }

    [Fact]
    public void What_a_line_refers_to_must_have_been_written()
    {
        using var folder = new KTrace.Tests.Boot.TemporaryFolder();
        using var writer = Begin(Path.Combine(folder.Path, "a.ktrace"));
        Assert.Throws<ArgumentException>(() => writer.Compact.Hit(new CompactHit { Sequence = 1, Task = 1, Stack = 1, Ticks = 0 }));
        Assert.Throws<ArgumentException>(() => writer.Compact.Stack(new TraceStack(1, 9, 1, [Outer], [])));
        Assert.Throws<ArgumentException>(() => writer.Compact.Return(new CompactReturn { Hit = 1, Ticks = 0 }));
    }

    [Theory]
    [InlineData("""{"type":"hit","seq":9,"task":1,"t":1,"at":1}""")]
    [InlineData("""{"type":"hit","seq":9,"task":7,"t":1,"at":2}""")]
    [InlineData("""{"type":"hit","seq":9,"task":1,"t":1,"at":2,"args":[1]}""")]
    [InlineData("""{"type":"stack","id":3,"caller":44,"pc":"0x1","frames":[0]}""")]
    [InlineData("""{"type":"stack","id":65537,"pc":"0x1","frames":[0]}""")]
    [InlineData("""{"type":"stack","id":3,"pc":"0x1","frames":[]}""")]
    [InlineData("""{"type":"meaning","frame":2,"param":9,"value":"0x1","text":"a"}""")]
    [InlineData("""{"type":"return","hit":1,"t":1,"result":44,"ret":1}""")]
    public void A_line_that_refers_to_nothing_is_refused(string line)
    {
        using var folder = new KTrace.Tests.Boot.TemporaryFolder();
        var file = Path.Combine(folder.Path, "a.ktrace");
        Write(file);
        File.AppendAllText(file, line + "\n");
        Assert.Throws<MalformedFileException>(() => TraceReader.Open(file).ReadAll().Count());
    }

    private static TraceWriter Begin(string file)
    {
        var writer = new TraceWriter(file);
        writer.Write(new TraceRecord.Header { Format = TraceFormat.Compact, Tool = "t", Arch = "x86-64", HasContexts = true, Tracepoints = [new TraceTracepoint(1, "inner", "inner")] });
        return writer;
    }

    internal static void Write(string file)
    {
        using var writer = Begin(file);
        var compact = writer.Compact;
        compact.Stack(new TraceStack(1, 0, 0x2000, [Outer], []));
        compact.Stack(new TraceStack(2, 1, 0x1000, [Inner, Tail], [0x3000]) { Tracepoint = 1, Context = new TraceContext(PreemptCount.Zero, true) });
        compact.Task(1, new TraceTask(5, "a\"b") { ThreadGroup = 4 }, new TraceEnd(TraceEndReason.Cut));
        compact.Hit(new CompactHit { Sequence = 1, Task = 1, Stack = 2, Ticks = 70 });
        compact.Parameters(Inner, [new("p", "void *", ValueForm.Pointer), new("n", "int", ValueForm.Signed), new("flags", "gfp_t", ValueForm.Unsigned), new("lost", "int", ValueForm.Signed), new("z", "char *", ValueForm.Pointer)]);
        compact.Meaning(Inner, 2, 1, "0x1 ONE");
        var values = new CompactValues();
        values.Add(0xffff888000000001, false);
        values.Add(unchecked((ulong)-7L), true);
        values.Add(1, false);
        values.AddUnknown();
        values.Add(0, false);
        compact.Hit(new CompactHit { Sequence = 2, Task = 1, Stack = 2, Ticks = 77, Cpu = 2, Arguments = values.Written });
        var described = new ArgumentList([new TraceArgument("x", "int", 1, "described")]);
        compact.Hit(new CompactHit { Sequence = 3, Task = 1, Stack = 2, Ticks = 78, Described = [ArgumentList.Empty, ArgumentList.Empty, described] });
        compact.Result(1, "int", ValueForm.Signed);
        values.Clear();
        values.Add(unchecked((ulong)-22L), true);
        compact.Return(new CompactReturn { Hit = 2, Ticks = 90, Duration = 12, Depth = 3, Result = 1, Value = values.Written });
    }
}
