using System.Globalization;
using KTrace.Debugger.NonStop.Reading;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.Recording;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Boot;
using KTrace.Tests.Cli;
using KTrace.Tracing;
using Xunit.Abstractions;

namespace KTrace.Tests.Debugger.NonStop.Reading;

/// <summary>Hits out of real records.</summary>
[Collection(nameof(NonStopBootsCollection))]
public sealed class NonStopHitsTests(ITestOutputHelper output)
{
    /// <summary>Hits to write in the measurement; 0 runs through the records once.</summary>
    private static readonly long Wanted = long.Parse(Environment.GetEnvironmentVariable("KTRACE_NONSTOP_HITS") ?? "0", CultureInfo.InvariantCulture);

    [Fact]
    public async Task A_remembered_walk_finds_what_the_unwinder_finds()
    {
        var boot = await RecordedBoot.Instance;
        var returns = new OpenReturns(null, 8, null);
        var memory = new RecordMemory(returns, 8);
        var walk = new StackWalk(boot.Map.Image.Architecture, boot.Map.Unwind);
        int compared = 0, left = 0;
        var random = new Random(7);
        foreach (var (original, index) in boot.Records.Select((r, i) => (r, i)))
        {
            // Every third one is damaged somewhere in its stack.
            var bytes = original;
            if (index % 3 == 0 && bytes.Length > RecordFormat.CallHeader + 8)
            {
                bytes = [.. original];
                bytes[random.Next(RecordFormat.CallHeader, bytes.Length)] ^= (byte)(1 << random.Next(8));
            }

            Assert.True(RingRecord.TryRead(bytes, out var record));
            var site = boot.Find(record.Site, record.Program)!;
            memory.Enter(record);
            var start = RecordRegisters.Of(record, site.Entry, boot.Map.Image.Architecture);
            for (var i = 0; i < walk.Start.Length; i++)
            {
                walk.Start[i] = start[i];
            }

            var windows = default(WalkMemory);
            for (var i = 0; i < record.WindowCount; i++)
            {
                windows.Add(Address(record, i, out var window), window);
            }

            var end = walk.Walk(in windows);
            if (end == WalkEnd.Unknown)
            {
                left++;
                continue;
            }

            var expected = StackUnwinder.Unwind(start, memory, boot.Map.Unwind);
            Assert.Equal(expected.Frames.Select(f => f.ProgramCounter), walk.Counters.ToArray());
            Assert.Equal(expected.Frames.Select(f => f.LookupAddress), walk.Lookups.ToArray());
            Assert.Equal(expected.Frames.Select(f => f.Rule), walk.Rules.ToArray());
            switch (end)
            {
                case WalkEnd.Bottom:
                    Assert.Equal(expected.Stop, walk.Bottom());
                    break;
                case WalkEnd.User:
                    var (wanted, found) = (Assert.IsType<UnwindStop.UserSpace>(expected.Stop), Assert.IsType<UnwindStop.UserSpace>(walk.User(memory)));
                    Assert.Equal((wanted.SystemCallNumber, wanted.IsCompat), (found.SystemCallNumber, found.IsCompat));
                    Assert.Equal(Enumerable.Range(0, 17).Select(r => wanted.Registers[r]), Enumerable.Range(0, 17).Select(r => found.Registers[r]));
                    break;
                default:
                    Assert.Equal(walk.Missing, Assert.IsType<UnwindStop.MemoryMissing>(expected.Stop).Address);
                    break;
            }

            compared++;
        }

        output.WriteLine($"{compared} equal, {left} left to the unwinder");
        Assert.True(compared > 20 * left, $"{left} of {compared + left} stacks were left to the unwinder");
    }

    [Fact]
    public async Task A_boots_hits_are_small_and_what_the_stopping_way_would_have_written()
    {
        var boot = await RecordedBoot.Instance;
        using var folder = new TemporaryFolder();
        var file = Path.Combine(folder.Path, "a.ktrace");
        var begun = Environment.CpuUsage.TotalTime;
        long hits = 0, memoryBefore = 0;
        using (var writer = Writer(boot, file))
        {
            using var reading = new NonStopHits(boot.Map, boot, writer, new HitNumbers(null), new NonStopReadingOptions { Arguments = Enum.Parse<ArgumentScope>(Environment.GetEnvironmentVariable("KTRACE_NONSTOP_ARGUMENTS") ?? "Auto") }, null);
            var wanted = Math.Max(Wanted, boot.Records.Count);
            while (hits < wanted)
            {
                foreach (var bytes in boot.Records)
                {
                    Assert.True(RingRecord.TryRead(bytes, out var record));
                    Assert.True(reading.Take(record));
                    hits++;
                    if (hits is 10_000)
                    {
                        memoryBefore = GC.GetTotalMemory(true);
                    }

                    if (hits == wanted || hits is 500 or 2_000 or 4_000 or 20_000 or 40_000 || (hits % boot.Records.Count == 0 && Wanted > 0))
                    {
                        output.WriteLine(FormattableString.Invariant(
                            $"{hits} hits, {(Environment.CpuUsage.TotalTime - begun).TotalMicroseconds / hits:0.00} µs of processor time a hit so far, {new FileInfo(file).Length / (double)hits:0.0} bytes/hit, heap {GC.GetTotalMemory(true) >> 20} MiB (at 10,000: {memoryBefore >> 20}), {reading.Counts}"));
                    }

                    if (hits == wanted)
                    {
                        break;
                    }
                }
            }
        }

        if (Wanted > 0)
        {
            return;
        }

        var names = new HitRecords(boot.Map);
        var memory = new RecordMemory(new OpenReturns(null, 8, null), 8);
        var hitBytes = 0L;
        foreach (var (type, lines) in File.ReadLines(file).GroupBy(l => l[9..l.IndexOf('"', 9)]).Select(g => (g.Key, g.ToList())))
        {
            hitBytes += type == "hit" ? lines.Sum(l => l.Length + 1L) : 0;
            output.WriteLine($"{type}: {lines.Count} lines, {lines.Sum(l => l.Length + 1L)} bytes; {lines[lines.Count / 2]}");
        }

        using var reader = TraceReader.Open(file);
        var index = 0;
        foreach (var hit in reader.ReadAll().OfType<TraceRecord.Hit>())
        {
            Assert.True(RingRecord.TryRead(boot.Records[index++], out var record));
            if (index % 7 != 0)
            {
                continue;
            }

            var site = boot.Find(record.Site, record.Program)!;
            memory.Enter(record);
            var stack = StackUnwinder.Unwind(RecordRegisters.Of(record, site.Entry, boot.Map.Image.Architecture), memory, boot.Map.Unwind);
            var expected = names.Create(index, site.Tracepoints[0], new StopCapture(stack.Frames[0].Registers, stack, (int)record.Cpu, null, null, default), null);
            Assert.Equal((long)index, hit.Sequence);
            Assert.Equal(site.Tracepoints[0].Id, hit.Tracepoint);
            Assert.Equal(expected.Path, hit.Path);
            Assert.Equal(expected.Pcs.AsEnumerable(), hit.Pcs.AsEnumerable());
            Assert.Equal(expected.TailPcs.AsEnumerable(), hit.TailPcs.AsEnumerable());
            Assert.Equal((int)record.Pid, hit.Task!.Pid);
            Assert.Equal(record.PreemptCount & 0x7fffffff, hit.Context!.Preempt.Counts);
            Assert.Equal(record.Clock, hit.Clock!.Ticks);
            if (hit.PathEnd.Reason != TraceEndReason.Cut)
            {
                Assert.Equal(expected.PathEnd.Describe(null), hit.PathEnd.Describe(null));
            }
        }

        Assert.Equal(boot.Records.Count, index);

        // What is told once is told to few hits here: how much that is depends on how often a busy host let the guest's timer come.
        Assert.True(hitBytes <= 120L * hits, $"{hitBytes / (double)hits} bytes a hit");
        Assert.True(new FileInfo(file).Length < 300L * hits, $"{new FileInfo(file).Length / (double)hits} bytes a hit with all that it refers to");
    }

    [Fact]
    public async Task Damaged_records_are_hits_or_are_counted()
    {
        var boot = await RecordedBoot.Instance;
        using var folder = new TemporaryFolder();
        var file = Path.Combine(folder.Path, "a.ktrace");
        var random = new Random(4711);
        long broken = 0, taken = 0;
        using (var writer = Writer(boot, file))
        {
            using var reading = new NonStopHits(boot.Map, boot, writer, new HitNumbers(null), new NonStopReadingOptions { DescribedHits = 50, Stubs = new ReturnStubs(0xfffffffff1000000, 16) }, null);
            for (var i = 0; i < 8000; i++)
            {
                var bytes = boot.Records[random.Next(boot.Records.Count)].ToArray();
                for (var change = random.Next(1, 6); change > 0; change--)
                {
                    // The commit word says how long it is; the ring's reader looks after that.
                    bytes[random.Next(8, change % 2 == 0 ? RecordFormat.CallHeader : bytes.Length)] = (byte)random.Next(256);
                }

                if (!RingRecord.TryRead(bytes, out var record))
                {
                    continue;
                }

                var isTaken = reading.Take(record);
                (taken, broken) = (taken + (isTaken ? 1 : 0), broken + (isTaken ? 0 : 1));
            }

            Assert.Equal(broken, reading.Counts.Broken);
        }

        Assert.True(taken > 1000 && broken > 100, $"{taken} taken, {broken} broken");
        using var reader = TraceReader.Open(file);
        Assert.Equal(taken, reader.ReadAll().OfType<TraceRecord.Hit>().LongCount());
    }

    private static TraceWriter Writer(RecordedBoot boot, string file)
    {
        var writer = new TraceWriter(file);
        writer.Write(new TraceRecord.Header
        {
            Format = TraceFormat.Compact, Tool = "test", Arch = "x86-64", HasContexts = true, Tracepoints = [.. boot.Tracepoints.Select(t => t.ToRecord())],
        });
        return writer;
    }

    private static ulong Address(RingRecord record, int index, out ReadOnlySpan<byte> window)
    {
        window = record.Window(index, out var address, out _);
        return address;
    }
}
