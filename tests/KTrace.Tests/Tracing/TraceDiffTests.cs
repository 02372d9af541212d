using KTrace.Tracing;

namespace KTrace.Tests.Tracing;

public class TraceDiffTests
{
    [Fact]
    public void A_trace_does_not_differ_from_itself()
    {
        Trace trace = TraceSamples.Trace([.. GdbReference.Records()]);

        TraceDiff diff = TraceDiff.Compare(trace, trace);

        Assert.True(diff.IsEqual);
        Assert.Equal(19, diff.Same);
    }

    [Fact]
    public void Addresses_clocks_cpus_pids_lines_and_registers_do_not_count()
    {
        Trace a = TraceSamples.Trace([.. GdbReference.Records()]);
        Trace b = TraceSamples.Trace([.. GdbReference.Records().Select(record => record is not TraceRecord.Hit hit ? record : hit with
        {
            Sequence = hit.Sequence * 3,
            Cpu = 3,
            Task = new TraceTask(hit.Task!.Pid + 100, hit.Task.Comm),
            Clock = null,
            Pcs = [.. hit.Pcs.Select(pc => pc + 0x33400000)],
            Registers = [],
            Path = new CallPath([.. hit.Path.Frames.Select(frame => frame with { Line = frame.Line + 7, Offset = frame.Offset + 8, File = "other.c" })]),
        })]);

        Assert.True(TraceDiff.Compare(a, b).IsEqual);
    }

    [Fact]
    public void Function_module_and_inlining_count()
    {
        TraceFrame frame = TraceSamples.Frame("f");
        Assert.True(PathDiff.Compare(new CallPath([frame]), new CallPath([frame with { Line = 1 }])).IsEqual);
        Assert.False(PathDiff.Compare(new CallPath([frame]), new CallPath([frame with { Function = "g" }])).IsEqual);
        Assert.False(PathDiff.Compare(new CallPath([frame]), new CallPath([frame with { Module = "m" }])).IsEqual);
        Assert.False(PathDiff.Compare(new CallPath([frame]), new CallPath([frame with { IsInline = true }])).IsEqual);
    }

    [Fact]
    public void An_inserted_hit_is_found_at_its_place()
    {
        List<TraceRecord> records = [.. GdbReference.Records()];
        Trace whole = TraceSamples.Trace(records);
        for (int missing = 1; missing <= 19; missing++)
        {
            Trace without = TraceSamples.Trace([.. records.Where(record => record is not TraceRecord.Hit hit || hit.Sequence != missing)]);

            HitDifference difference = Assert.Single(TraceDiff.Compare(without, whole).Differences);

            // Neighbours may have the same path: any of them is as good an answer.
            TraceRecord.Hit hit = Assert.IsType<HitDifference.OnlyInB>(difference).Hit;
            Assert.True(PathDiff.Compare(GdbReference.Hits[missing - 1].Path, hit.Path).IsEqual);
        }
    }

    [Fact]
    public void Hits_of_one_tracepoint_between_common_hits_are_counterparts()
    {
        TraceDiff diff = TraceDiff.Compare(
            TraceSamples.Trace("1:a/z", "1:b/c/z", "2:x", "1:e"),
            TraceSamples.Trace("1:a/z", "2:y", "1:b/d/z", "1:e"));

        Assert.Equal(2, diff.Same);
        Assert.Equal(["OnlyInA 3", "OnlyInB 2", "OtherPath 2-3"], Texts(diff).Order(StringComparer.Ordinal));
        PathDiff path = diff.Differences.OfType<HitDifference.OtherPath>().Single().Path;
        Assert.Equal(
            [new PathDiff.Segment(true, (0, 1), (0, 1)), new PathDiff.Segment(false, (1, 1), (1, 1)), new PathDiff.Segment(true, (2, 1), (2, 1))],
            path.Segments.ToArray());
    }

    [Fact]
    public void Tracepoints_are_the_same_by_request_and_then_by_symbol_never_by_id()
    {
        CallPath path = TraceSamples.Path("f");
        Trace Make(params TraceTracepoint[] tracepoints) => TraceSamples.Trace(
            [TraceSamples.Header(tracepoints), .. tracepoints.Select((tracepoint, i) => TraceSamples.Hit(i + 1, tracepoint.Id, path))]);

        Trace alias = Make(new TraceTracepoint(1, "irq_msi_compose_msg", "x86_vector_msi_compose_msg"), new TraceTracepoint(2, "g", "g"));
        Trace real = Make(new TraceTracepoint(8, "x86_vector_msi_compose_msg", "x86_vector_msi_compose_msg"), new TraceTracepoint(1, "g", "g"));
        Trace swapped = Make(new TraceTracepoint(2, "irq_msi_compose_msg", "x86_vector_msi_compose_msg"), new TraceTracepoint(1, "h", "h"));

        Assert.True(TraceDiff.Compare(alias, real).IsEqual);
        Assert.False(TraceDiff.Compare(alias, swapped).IsEqual);
        Assert.Equal(1, TraceDiff.Compare(alias, swapped).Same);
    }

    [Fact]
    public void Random_traces_compare_completely_and_symmetrically()
    {
        for (int seed = 0; seed < 400; seed++)
        {
            var random = new Random(seed);
            string[] Some() => [.. Enumerable.Range(0, random.Next(0, 40)).Select(_ => $"{random.Next(1, 4)}:{(char)('a' + random.Next(4))}/z")];
            Trace a = TraceSamples.Trace(Some());
            Trace b = TraceSamples.Trace(Some());

            TraceDiff forward = TraceDiff.Compare(a, b);
            TraceDiff backward = TraceDiff.Compare(b, a);

            // Every hit is the same, or in exactly one difference.
            List<long> inA = [.. forward.Differences.SelectMany(d => d switch
            {
                HitDifference.OnlyInA only => [only.Hit.Sequence],
                HitDifference.OtherPath other => new[] { other.A.Sequence },
                _ => [],
            })];
            List<long> inB = [.. forward.Differences.SelectMany(d => d switch
            {
                HitDifference.OnlyInB only => [only.Hit.Sequence],
                HitDifference.OtherPath other => new[] { other.B.Sequence },
                _ => [],
            })];
            Assert.Equal(a.Hits.Count, forward.Same + inA.Count);
            Assert.Equal(b.Hits.Count, forward.Same + inB.Count);
            Assert.Equal(inA.Order().Distinct(), inA);
            Assert.Equal(inB.Order().Distinct(), inB);
            List<TraceRecord.Hit> commonA = [.. a.Hits.Where(hit => !inA.Contains(hit.Sequence))];
            List<TraceRecord.Hit> commonB = [.. b.Hits.Where(hit => !inB.Contains(hit.Sequence))];
            Assert.Equal(commonA.Select(hit => (hit.Tracepoint, hit.Path)), commonB.Select(hit => (hit.Tracepoint, hit.Path)));
            Assert.Equal(LongestCommon(a.Hits, b.Hits), forward.Same);

            Assert.Equal(
                Texts(forward).Order(),
                backward.Differences.Select(d => d switch
                {
                    HitDifference.OnlyInA only => $"OnlyInB {only.Hit.Sequence}",
                    HitDifference.OnlyInB only => $"OnlyInA {only.Hit.Sequence}",
                    HitDifference.OtherPath other => $"OtherPath {other.B.Sequence}-{other.A.Sequence}",
                    _ => "?",
                }).Order());
        }
    }

    [Fact]
    public void Allocation_and_activation_of_one_vector_fork_and_join()
    {
        // Hits 14 and 17: pci_alloc_irq_vectors' side and request_irq's side of eth0-rx-0.
        CallPath allocation = GdbReference.Hits[13].Path;
        CallPath activation = GdbReference.Hits[16].Path;

        PathDiff diff = PathDiff.Compare(allocation, activation);

        Assert.False(diff.IsEqual);
        Assert.True(diff.Segments[0].IsCommon);
        string[] onlyAllocation = [.. diff.Segments.Where(s => !s.IsCommon)
            .SelectMany(s => allocation.Frames.AsSpan().Slice(s.A.Start, s.A.Count).ToArray()).Select(frame => frame.Function)];
        string[] onlyActivation = [.. diff.Segments.Where(s => !s.IsCommon)
            .SelectMany(s => activation.Frames.AsSpan().Slice(s.B.Start, s.B.Count).ToArray()).Select(frame => frame.Function)];
        Assert.Contains("msi_init_virq", onlyAllocation);
        Assert.Contains("irq_activate", onlyActivation);
        Assert.Contains("e1000_request_msix", onlyActivation);
        Assert.True(diff.Segments[^1].IsCommon, "both end in do_syscall_64");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void Large_shuffled_sequences_are_aligned_in_bounded_steps(int alphabet)
    {
        // Worst for Myers: nothing at the same place. Few values; many values; every value once on each side.
        var random = new Random(alphabet);
        int[] a = [.. Enumerable.Range(0, 100_000).Select(i => alphabet switch { 0 => random.Next(3), 1 => random.Next(5_000), _ => i })];
        int[] b = [.. a];
        random.Shuffle(b);

        List<(int A, int B)> pairs = SequenceAlignment.Match(a, b);

        Assert.NotEmpty(pairs);
        Assert.All(pairs, pair => Assert.Equal(a[pair.A], b[pair.B]));
        Assert.All(pairs.Zip(pairs.Skip(1)), pair => Assert.True(pair.First.A < pair.Second.A && pair.First.B < pair.Second.B));
    }

    [Theory]
    [InlineData(50)]
    [InlineData(1)]
    public void A_large_trace_with_few_differences_is_aligned_exactly(int alphabet)
    {
        // All removed near the beginning, so that everything after stands at another place; a loop's trace repeats itself.
        var random = new Random(1);
        int[] a = [.. Enumerable.Range(0, 100_000).Select(i => alphabet == 1 ? i % 7 : random.Next(alphabet))];
        var b = a.ToList();
        b[99_000] = 1000;
        for (int i = 0; i < 1000; i++)
        {
            b.RemoveAt(3 * i);
        }

        Assert.Equal(b.Count - 1, SequenceAlignment.Match(a, b.ToArray()).Count);
        Assert.Equal(a.Length, SequenceAlignment.Match(a, a).Count);
    }

    private static IEnumerable<string> Texts(TraceDiff diff) => diff.Differences.Select(difference => difference switch
    {
        HitDifference.OnlyInA only => $"OnlyInA {only.Hit.Sequence}",
        HitDifference.OnlyInB only => $"OnlyInB {only.Hit.Sequence}",
        HitDifference.OtherPath other => $"OtherPath {other.A.Sequence}-{other.B.Sequence}",
        _ => "?",
    });

    private static int LongestCommon(IReadOnlyList<TraceRecord.Hit> a, IReadOnlyList<TraceRecord.Hit> b)
    {
        int[,] longest = new int[a.Count + 1, b.Count + 1];
        for (int i = 1; i <= a.Count; i++)
        {
            for (int j = 1; j <= b.Count; j++)
            {
                longest[i, j] = a[i - 1].Tracepoint == b[j - 1].Tracepoint && a[i - 1].Path.Equals(b[j - 1].Path)
                    ? longest[i - 1, j - 1] + 1
                    : Math.Max(longest[i - 1, j], longest[i, j - 1]);
            }
        }

        return longest[a.Count, b.Count];
    }
}
