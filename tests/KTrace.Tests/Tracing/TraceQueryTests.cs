using System.Text;
using System.Text.RegularExpressions;
using KTrace.Tracing;
using KTrace.Tracing.Export;

namespace KTrace.Tests.Tracing;

public class TraceQueryTests
{
    [Theory]
    [InlineData("a.ktrace", "a.ktrace", null)]
    [InlineData("a.ktrace#12", "a.ktrace", "12")]
    [InlineData("a.ktrace#first", "a.ktrace", "first")]
    [InlineData("d#1/a.ktrace#last", "d#1/a.ktrace", "last")]
    public void A_reference_is_a_file_and_perhaps_a_hit(string text, string file, string? hit)
    {
        HitReference reference = HitReference.Parse(text, _ => false);

        Assert.Equal((file, hit), (reference.File, reference.Hit?.ToString()));
    }

    [Fact]
    public void A_file_whose_name_ends_like_a_reference_is_the_file() =>
        Assert.Equal(new HitReference("a#12", null), HitReference.Parse("a#12", name => name == "a#12"));

    [Theory]
    [InlineData("a.ktrace#")]
    [InlineData("a.ktrace#-1")]
    [InlineData("a.ktrace#seven")]
    [InlineData("a.ktrace#99999999999999999999")]
    public void What_names_no_hit_is_refused(string text) =>
        Assert.Throws<TraceQueryException>(() => HitReference.Parse(text, _ => false));

    [Fact]
    public void A_hit_that_is_not_there_is_answered_with_those_that_are()
    {
        byte[] bytes = TraceSamples.Bytes(GdbReference.Records());
        TraceQuery.PickedHit Pick(HitPick pick) => TraceQuery.Pick(TraceSamples.Reader(bytes), pick);

        Assert.Equal(1, Pick(new HitPick.First()).Hit.Sequence);
        Assert.Equal(19, Pick(new HitPick.Last()).Hit.Sequence);
        Assert.Equal(12, Pick(new HitPick.Number(12)).Hit.Sequence);
        TraceQueryException e = Assert.Throws<TraceQueryException>(() => Pick(new HitPick.Number(40)));
        Assert.Equal("sample.ktrace: no hit #40: it has hits #1 to #19", e.Message);
        e = Assert.Throws<TraceQueryException>(() => TraceQuery.Pick(TraceSamples.Reader(TraceSamples.Bytes([TraceSamples.Header()])), new HitPick.Last()));
        Assert.Equal("sample.ktrace: no hit #last: it has no hits at all", e.Message);
    }

    [Theory]
    [InlineData("task=ifconfig", 3)]
    [InlineData("task=62", 3)]
    [InlineData("task=if*", 3)]
    [InlineData("function=e1000_request_msix", 3)]
    [InlineData("function=e1000_*,task=modprobe", 3)]
    [InlineData("module=e1000e", 6)]
    [InlineData("tracepoint=irq_msi_compose_msg", 19)]
    [InlineData("tracepoint=x86_vector_msi_compose_msg", 19)]
    [InlineData("tracepoint=1", 19)]
    [InlineData("tracepoint=2", 0)]
    [InlineData("cpu=0", 19)]
    [InlineData("cpu=1", 0)]
    public void A_filter_keeps_the_hits_for_which_all_terms_hold(string filter, int hits)
    {
        using TraceReader reader = TraceSamples.Reader(TraceSamples.Bytes(GdbReference.Records()));

        Assert.Equal(hits, Trace.Load(reader, HitFilter.Parse([filter])).Hits.Count);
    }

    [Theory]
    [InlineData("ifconfig")]
    [InlineData("comm=ifconfig")]
    [InlineData("task=")]
    [InlineData("cpu=zero")]
    [InlineData("task=a,,cpu=1")]
    public void A_filter_that_means_nothing_is_refused(string filter) =>
        Assert.Throws<TraceQueryException>(() => HitFilter.Parse([filter]));

    [Fact]
    public void A_pending_tracepoint_is_known_by_its_last_state()
    {
        Trace trace = TraceSamples.Trace([.. GdbReference.Records()]);

        Assert.Equal("armed", trace.Tracepoints.Find(2)!.State);
        Assert.Equal(TracepointState.Pending, trace.Header.Tracepoints[1].State);
    }

    [Fact]
    public void The_gdb_export_is_what_gdb_prints_without_arguments()
    {
        var tracepoints = new TracepointTable();
        tracepoints.Observe(GdbReference.Header);
        Assert.Equal(19, GdbReference.Hits.Length);
        foreach (TraceRecord.Hit hit in GdbReference.Hits)
        {
            string[] lines = [.. GdbExport.Lines(hit, GdbReference.Header, tracepoints)];

            Assert.StartsWith($"=== hit {hit.Sequence}: irq_msi_compose_msg, cpu 0", lines[0]);
            Assert.StartsWith("Backtrace stopped: ", lines[^1]);
            // gdb separates the number of frame 0 to 9 by two blanks, from 10 on by one.
            IEnumerable<string> reference = GdbReference.Backtraces[(int)hit.Sequence - 1].Select(line => Regex.Replace(line, @" \(.*\) at ", " () at "));
            Assert.Equal(reference, lines[1..^1]);
        }
    }

    [Fact]
    public void The_gdb_export_knows_how_wide_addresses_are_and_what_has_no_source()
    {
        TraceRecord.Header header = TraceSamples.Header() with { Arch = "i386" };
        TraceRecord.Hit hit = TraceSamples.Hit(3, 5, new CallPath(
        [
            new TraceFrame("f", 0, null, null, null, false), new TraceFrame("g", 0, "mod", null, null, false), new TraceFrame("h", 0, null, "h.S", null, false),
        ])) with { Pcs = [0xc1000000, 0xc8000010, 0x10] };

        Assert.Equal(
            ["=== hit 3: tracepoint 5, cpu 0", "#0  f ()", "#1  0xc8000010 in g () from mod.ko", "#2  0x00000010 in h ()", "Backtrace stopped: end of the stack"],
            GdbExport.Lines(hit, header, new TracepointTable()));
    }

    [Fact]
    public void The_json_export_is_the_file()
    {
        byte[] bytes = TraceSamples.Bytes(TraceSamples.EveryRecord());
        using TraceReader reader = TraceSamples.Reader(bytes);

        var lines = new MemoryStream();
        foreach (ReadOnlyMemory<byte> line in JsonExport.Lines(reader))
        {
            lines.Write(line.Span);
            lines.WriteByte((byte)'\n');
        }

        Assert.Equal(bytes, lines.ToArray());
    }

    [Fact]
    public void The_json_export_of_some_hits_is_a_trace_of_these_hits()
    {
        using TraceReader whole = TraceSamples.Reader(TraceSamples.Bytes(GdbReference.Records()));
        string[] lines = [.. JsonExport.Lines(whole, (hit, _) => hit.Sequence is 17 or 19).Select(line => Encoding.UTF8.GetString(line.Span))];

        using TraceReader part = TraceSamples.Reader(lines);
        Trace trace = Trace.Load(part);

        Assert.Equal([17, 19], trace.Hits.Select(hit => hit.Sequence));
        Assert.Equal(GdbReference.Hits[16].Path, trace.Hits[0].Path);
        Assert.Equal(GdbReference.Hits[18].Path, trace.Hits[1].Path);
        HashSet<TraceFrame> needed = [.. GdbReference.Hits[16].Path.Frames, .. GdbReference.Hits[18].Path.Frames];
        Assert.Equal(needed.Count, lines.Count(line => line.StartsWith("{\"type\":\"frame\"", StringComparison.Ordinal)));
        Assert.DoesNotContain(lines, line => line.StartsWith("{\"type\":\"console\"", StringComparison.Ordinal));
    }

    [Fact]
    public void The_landmark_is_the_driver_and_not_the_interrupt_core()
    {
        string?[] found = [.. GdbReference.Hits.Select(hit => CallPathLandmark.Find(hit.Path)?.Function)];

        Assert.Equal("x86_late_time_init", found[0]);
        Assert.Equal("acpi_os_install_interrupt_handler", found[1]);
        Assert.Equal("i8042_check_aux", found[3]);
        Assert.Equal("e1000e_set_interrupt_capability", found[13]);
        Assert.All(found[16..], name => Assert.Equal("e1000_request_msix", name));
        Assert.Null(CallPathLandmark.Find(CallPath.Empty));
    }

    [Fact]
    public void Statistics_count_hits_paths_and_hits_per_second()
    {
        Trace trace = TraceSamples.Trace([.. GdbReference.Records()]);

        TraceStatistics statistics = TraceStatistics.Of(trace);

        Assert.Equal(19, statistics.Hits);
        Assert.Equal(2.5, statistics.HitsPerSecond);
        Assert.Equal([("irq_msi_compose_msg", 19L), ("e1000e_open", 0L)], statistics.Tracepoints.Select(entry => (entry.Tracepoint.Requested, entry.Hits)));
        Assert.Equal(GdbReference.Hits.Select(hit => hit.Path.ToString()).Distinct().Count(), statistics.Paths);
        Assert.Null(TraceStatistics.Of(trace with { End = null }).HitsPerSecond);
    }
}
