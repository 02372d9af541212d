using System.Diagnostics;
using KTrace.Debugger.Stepping;
using KTrace.Symbols;
using KTrace.Tests.Boot;
using KTrace.Tests.Support;
using KTrace.Tracing;
using KTrace.Tui.Targets;
using Trace = KTrace.Tracing.Trace;

namespace KTrace.Tests.Tui.Targets;

/// <summary>Recorded traces behind the screen: whole, growing, cut off, damaged.</summary>
public sealed class TraceTargetTests : IDisposable
{
    private readonly ScratchFolder _folder = new();

    private static string Sample => Path.Combine(Repository.Root, "traces", "e1000e-msix.ktrace");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Hits_are_listed_shown_compared_and_written()
    {
        var trace = Trace.Load(Sample, keepRegisters: true);
        await using var target = new TargetWatch(TraceTarget.Open(Sample, null, hit: 3));
        await target.NextAsync<TargetNews.Idle>();
        var listed = target.All<TargetNews.HitsAdded>().SelectMany(h => h.Hits).ToList();
        Assert.Equal(trace.Hits.Select(h => h.Sequence), listed.Select(h => h.Sequence));
        Assert.Equal(trace.Tracepoints.Place(trace.Hits[0].Tracepoint), listed[0].Place);
        Assert.StartsWith(trace.Hits[0].Path.Frames[0].Function + " < ", listed[0].Path, StringComparison.Ordinal);
        Assert.Equal(trace.HitCount, target.All<TargetNews.Breakpoints>()[^1].Rows.Sum(r => r.Hits));
        Assert.Contains("e1000e", target.All<TargetNews.Modules>()[^1].Rows.Select(m => m.Name));
        Assert.Contains("Linux version", target.Console, StringComparison.Ordinal);

        var shown = await target.AskAsync<TargetNews.HitShown>(new TargetRequest.ShowHit(16));
        var expected = trace.Hits.Single(h => h.Sequence == 16);
        Assert.Equal((expected.Path, expected.Registers.Length), (shown.Hit.Path, shown.Hit.Registers.Length));
        var frame = (await target.AskAsync<TargetNews.FrameContents>(new TargetRequest.SelectFrame(1))).Frame;
        Assert.Equal((expected.Path.Frames[1].Function, expected.Path.Frames[1].Line), (frame.Function, frame.Line));
        Assert.Equal(expected.ArgumentsOf(1).Count, frame.Variables.Length);
        Assert.Contains("--source DIR", frame.WhyNoSource, StringComparison.Ordinal);

        var pair = await target.AskAsync<TargetNews.HitsCompared>(new TargetRequest.CompareHits(17, 16));
        Assert.Equal((17L, 16L), (pair.First.Sequence, pair.Second.Sequence));
        Assert.True((await target.AskAsync<TargetNews.TracesCompared>(new TargetRequest.CompareWith(Sample))).Diff.IsEqual);

        await target.AskAsync<TargetNews.Note>(new TargetRequest.Save(_folder.File("copy.ktrace")), n => n.Text.StartsWith("saved", StringComparison.Ordinal));
        Assert.Equal(File.ReadAllBytes(Sample), File.ReadAllBytes(_folder.File("copy.ktrace")));
        await target.AskAsync<TargetNews.Note>(new TargetRequest.Export(_folder.File("one.json"), 16), n => n.Text.StartsWith("1 hit written", StringComparison.Ordinal));
        Assert.Equal(16L, Assert.Single(Trace.Load(_folder.File("one.json")).Hits).Sequence);
        Assert.Contains(".gdb", (await target.AskAsync<TargetNews.Failed>(new TargetRequest.Export(_folder.File("one.xyz"), 16))).Remedy, StringComparison.Ordinal);
        File.WriteAllText(_folder.File("mine.c"), "int main;");
        await target.AskAsync<TargetNews.Failed>(new TargetRequest.Save(_folder.File("mine.c")));
        Assert.Equal("int main;", File.ReadAllText(_folder.File("mine.c")));

        Assert.Contains("#0", (await target.AskAsync<TargetNews.Output>(new TargetRequest.Command("bt"))).Lines[1].ToString(), StringComparison.Ordinal);
        Assert.Contains("no hit #9999", (await target.AskAsync<TargetNews.Failed>(new TargetRequest.ShowHit(9999))).Message, StringComparison.Ordinal);
        Assert.Contains("ktrace replay", (await target.AskAsync<TargetNews.Failed>(new TargetRequest.Step(StepKind.Line))).Remedy, StringComparison.Ordinal);
        await target.AskAsync<TargetNews.Failed>(new TargetRequest.Command("nonsense"));
        Assert.Equal((2, "backtrace"), await CompletedAsync(target, "  bac"));
    }

    [Fact]
    public async Task A_trace_that_grows_is_followed_until_its_end()
    {
        var lines = File.ReadAllLines(Sample);
        var path = _folder.File("growing.ktrace");
        var half = lines.Length / 2;
        File.WriteAllText(path, string.Join('\n', lines[..half]) + "\n" + lines[half][..(lines[half].Length / 2)]);
        await using var target = new TargetWatch(TraceTarget.Open(path));
        await target.NextAsync<TargetNews.Note>(n => n.Text.Contains("no end record", StringComparison.Ordinal));
        var before = target.All<TargetNews.HitsAdded>().Sum(h => h.Hits.Length);
        File.AppendAllText(path, lines[half][(lines[half].Length / 2)..] + "\n" + string.Join('\n', lines[(half + 1)..]) + "\n");
        await target.NextAsync<TargetNews.Note>(n => n.Text.Contains("the recording ended", StringComparison.Ordinal));
        Assert.True(before > 0 && before < Trace.Load(Sample).HitCount);
        Assert.Equal(Trace.Load(Sample).HitCount, target.All<TargetNews.HitsAdded>().Sum(h => h.Hits.Length));
    }

    [Fact]
    public async Task A_damaged_trace_keeps_what_was_read_and_says_what_is_wrong()
    {
        var lines = File.ReadAllLines(Sample);
        var path = _folder.File("damaged.ktrace");
        lines[lines.Length / 2] = "{\"type\":\"hit\",\"seq\":";
        File.WriteAllLines(path, lines);
        await using var target = new TargetWatch(TraceTarget.Open(path));
        Assert.Contains("invalid JSON", (await target.NextAsync<TargetNews.Failed>()).Message, StringComparison.Ordinal);
        Assert.NotEmpty(target.All<TargetNews.HitsAdded>().SelectMany(h => h.Hits));
        await target.AskAsync<TargetNews.HitShown>(new TargetRequest.ShowHit(1));

        File.WriteAllText(_folder.File("none.ktrace"), "hello\n");
        Assert.Throws<MalformedFileException>(() => TraceTarget.Open(_folder.File("none.ktrace")));
        Assert.Throws<FileNotFoundException>(() => TraceTarget.Open(_folder.File("missing.ktrace")));
    }

    [Fact]
    public async Task A_large_trace_comes_in_batches_can_be_given_up_and_its_last_hit_is_found()
    {
        const int Hits = 120_000;
        var path = _folder.File("large.ktrace");
        var first = Trace.Load(Sample).Hits[0];
        using (var reader = TraceReader.Open(Sample))
        using (var writer = new TraceWriter(path))
        {
            var records = reader.ReadAll().ToList();
            writer.Write(records[0]);
            var hit = records.OfType<TraceRecord.Hit>().First();
            for (var i = 1; i <= Hits; i++)
            {
                writer.Write(hit with { Sequence = i, Prints = [new TracePrint("n", "int", (ulong)i, $"hit {i}")] });
                if (i % 10_000 is 0 or 1 or 9999)
                {
                    writer.Write(new TraceRecord.Return { HitSequence = i });
                }
            }

            writer.Write(new TraceRecord.End(Hits, "enough", 1));
        }

        await using (var target = new TargetWatch(TraceTarget.Open(path)))
        {
            await target.NextAsync<TargetNews.Note>(n => n.Text.Contains("enough", StringComparison.Ordinal));
            var batches = target.All<TargetNews.HitsAdded>();
            Assert.Equal(Hits, batches.Sum(b => b.Hits.Length));
            Assert.InRange(batches[0].Hits.Length, 1, 100);
            Assert.All(batches, b => Assert.True(b.Hits.Length <= 4000));
            Assert.Contains(target.All<TargetNews.Progress>(), p => p.Fraction is > 0 and < 1);
            foreach (var sequence in new[] { Hits, 60_000, 50_001, 100_000, Hits - 1 })
            {
                var shown = await target.AskAsync<TargetNews.HitShown>(new TargetRequest.ShowHit(sequence));
                Assert.Equal((sequence, first.Path, $"hit {sequence}"), (shown.Hit.Sequence, shown.Hit.Path, shown.Hit.Prints[0].Text));
                Assert.Equal(sequence, shown.Returned?.HitSequence);
            }

            var pair = await target.AskAsync<TargetNews.HitsCompared>(new TargetRequest.CompareHits(Hits, 70_000));
            Assert.Equal((Hits, 70_000L), (pair.First.Sequence, pair.Second.Sequence));
            Assert.Contains("no hit #120001", (await target.AskAsync<TargetNews.Failed>(new TargetRequest.ShowHit(Hits + 1))).Message, StringComparison.Ordinal);
        }

        await using (var target = new TargetWatch(TraceTarget.Open(path)))
        {
            await target.NextAsync<TargetNews.HitsAdded>();
            target.Post(new TargetRequest.Interrupt());
            await target.NextAsync<TargetNews.Note>(n => n.Text.Contains("given up", StringComparison.Ordinal));
            Assert.True(target.All<TargetNews.HitsAdded>().Sum(b => b.Hits.Length) < Hits);
        }
    }

    private static async Task<(int Start, string Words)> CompletedAsync(TargetWatch target, string text)
    {
        var completed = await target.AskAsync<TargetNews.Completions>(new TargetRequest.Complete(text, text.Length));
        return (completed.Start, string.Join(' ', completed.Words));
    }
}
