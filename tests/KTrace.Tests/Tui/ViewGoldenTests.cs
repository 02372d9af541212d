using System.Text.RegularExpressions;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Tracing;
using KTrace.Tracing;
using KTrace.Tui.Views;

namespace KTrace.Tests.Tui;

/// <summary>Every view as a person sees it, in three widths of a terminal and in a pipe.</summary>
public partial class ViewGoldenTests
{
    private const int Pipe = 0;

    private static readonly Trace Reference = TraceSamples.Trace([.. GdbReference.Records()]) with { File = "e1000e-msix.ktrace" };

    // A second recording: without hit 5, and with another path to hit 2.
    private static readonly Trace Other = TraceSamples.Trace([.. GdbReference.Records()
        .Where(record => record is not TraceRecord.Hit { Sequence: 5 })
        .Select(record => record is not TraceRecord.Hit { Sequence: 2 } hit ? record : hit with
        {
            Pcs = [],
            Path = new CallPath([.. hit.Path.Frames.Take(8), TraceSamples.Frame("request_any_context_irq"), .. hit.Path.Frames.Skip(9)]),
        })]) with { File = "other.ktrace" };

    private static readonly TraceRecord.Hit WithArguments = GdbReference.Hits[16] with
    {
        Arguments =
        [
            new ArgumentList(
            [
                new TraceArgument("data", "struct irq_data *", 0xffff88800609ea00, "0xffff88800609ea00 irq 24 \"PCI-MSIX\""),
                new TraceArgument("msg", "struct msi_msg *", 0xffffc90000637798, null),
            ]),
            new ArgumentList([new TraceArgument("data", "struct irq_data *", 0xffff888006069028, null, ArgumentProvenance.EntryValue, true)]),
            new ArgumentList([new TraceArgument("reserve", "_Bool", null, null, ArgumentProvenance.OptimizedOut)]),
            .. Enumerable.Repeat(ArgumentList.Empty, 4),
            new ArgumentList([
                new TraceArgument("irq", "unsigned int", 24, "24", ArgumentProvenance.EntryValue, true),
                new TraceArgument("handler", "irq_handler_t", 0xffffffffc0218870, "<e1000_msix_other>", ArgumentProvenance.Recovered, true),
                new TraceArgument("devname", "const char *", 0xffff888005ff8000, "0xffff888005ff8000 \"eth0\"", ArgumentProvenance.Memory),
            ]),
            .. Enumerable.Repeat(ArgumentList.Empty, GdbReference.Hits[16].Path.Frames.Length - 8),
        ],
        Prints = [new TracePrint("data->chip->name", "const char *", 1, "\"PCI-MSIX\""), new TracePrint("data->parent_data->chip", null, null, null, "data->parent_data is NULL")],
    };

    private static readonly TraceRecord.Return Returned = new() { HitSequence = 17, Prints = [new TracePrint("msg->address_lo", "u32", 4276097028, "4276097028")] };

    public static TheoryData<int> Widths => [80, 132, 200, Pipe];

    [Theory]
    [MemberData(nameof(Widths))]
    public void Hit_table(int width) => Check("hit-table", new HitTable(Reference), width);

    [Theory]
    [MemberData(nameof(Widths))]
    public void Call_path(int width) => Check(
        "call-path",
        new CallPathView(GdbReference.Hits[16], Reference.Header, Reference.Tracepoints, new CallPathOptions(Registers: true)),
        width);

    [Theory]
    [MemberData(nameof(Widths))]
    public void Call_path_with_addresses_and_rules(int width) => Check(
        "call-path-all",
        new CallPathView(GdbReference.Hits[16], Reference.Header, Reference.Tracepoints, new CallPathOptions(true, true)),
        width);

    [Theory]
    [MemberData(nameof(Widths))]
    public void Call_path_with_arguments_prints_and_a_return(int width) => Check(
        "call-path-arguments",
        new CallPathView(WithArguments, Reference.Header, Reference.Tracepoints, returned: Returned),
        width);

    [Theory]
    [MemberData(nameof(Widths))]
    public void Call_path_with_the_provenance_of_arguments(int width) => Check(
        "call-path-provenance",
        new CallPathView(WithArguments, Reference.Header, Reference.Tracepoints, new CallPathOptions(Arguments: ArgumentDetail.Provenance)),
        width);

    [Theory]
    [MemberData(nameof(Widths))]
    public void Hit_diff(int width) => Check(
        "hit-diff",
        new HitDiffView(Pick(13), Pick(16), PathDiff.Compare(GdbReference.Hits[13].Path, GdbReference.Hits[16].Path)),
        width);

    [Theory]
    [MemberData(nameof(Widths))]
    public void Trace_diff(int width) => Check("trace-diff", new TraceDiffView(TraceDiff.Compare(Reference, Other), Reference, Other), width);

    [Theory]
    [MemberData(nameof(Widths))]
    public void Trace_diff_the_other_way_round(int width) =>
        Check("trace-diff-reversed", new TraceDiffView(TraceDiff.Compare(Other, Reference), Other, Reference), width);

    [Theory]
    [MemberData(nameof(Widths))]
    public void Stats(int width) => Check("stats", new TraceStatsView(Reference, TraceStatistics.Of(Reference)), width);

    [Theory]
    [MemberData(nameof(Widths))]
    public void Text_of_a_hostile_guest(int width)
    {
        const string Evil = "\u001b[2J\u009b31m\u202eevil\r\n[red]漢字é";
        Trace trace = TraceSamples.Trace(
        [
            TraceSamples.Header(new TraceTracepoint(1, Evil, "f", "armed", Evil)) with { Kernel = new TraceKernel(Evil, Evil, Evil) },
            TraceSamples.Hit(1, 1, new CallPath([new TraceFrame(Evil, 0, Evil, Evil, 1, true), new TraceFrame("f", 0, null, "a.c", 2, false, UnwindRule.Cfi)])) with
            {
                Task = new TraceTask(1, Evil), PathEnd = new TraceEnd(Evil, Detail: Evil), Registers = [new TraceRegister(Evil, 1)],
            },
            new TraceRecord.Warning(Evil),
        ]);
        trace = trace with { File = Evil };
        TraceQuery.PickedHit picked = new(trace.Hits[0], trace);
        var text = new StringWriter();
        foreach (View view in new View[]
        {
            new HitTable(trace),
            new CallPathView(trace.Hits[0], trace.Header, trace.Tracepoints, new CallPathOptions(true, true, true)),
            new HitDiffView(picked, picked, PathDiff.Compare(picked.Hit.Path, CallPath.Empty)),
            new TraceDiffView(TraceDiff.Compare(trace, Reference with { Hits = [] }), trace, Reference),
            new TraceStatsView(trace, TraceStatistics.Of(trace)),
        })
        {
            text.Write(Screen(view, width));
        }

        Assert.DoesNotMatch(@"[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]", text.ToString());
        GoldenFile.Check(Name("hostile", width), text.ToString());
    }

    [Theory]
    [InlineData(80)]
    [InlineData(132)]
    public void Colour_changes_nothing_but_colour(int width)
    {
        foreach (View view in new View[]
        {
            new HitTable(Reference),
            new TraceDiffView(TraceDiff.Compare(Reference, Other), Reference, Other),
            new CallPathView(GdbReference.Hits[0], Reference.Header, Reference.Tracepoints),
        })
        {
            string plain = Screen(view, width);
            string coloured = Screen(view, width, ansi: true, colour: true);
            string dim = Screen(view, width, ansi: true, colour: false);

            Assert.NotEqual(plain, coloured);
            Assert.Equal(plain, Unstyled(coloured));
            Assert.Equal(plain, Unstyled(dim));
            // NO_COLOR leaves bold and dim, which are no colours.
            Assert.DoesNotMatch(@"\x1b\[[0-9;]*(3|9)[0-7]", dim);
        }
    }

    [Fact]
    public void A_coloured_diff() => GoldenFile.Check(
        "trace-diff.80.ansi",
        Screen(new TraceDiffView(TraceDiff.Compare(Reference, Other), Reference, Other), 80, ansi: true, colour: true).Replace("\u001b", "ESC", StringComparison.Ordinal));

    [Theory]
    [InlineData(1)]
    [InlineData(10)]
    [InlineData(40)]
    [InlineData(79)]
    [InlineData(119)]
    [InlineData(500)]
    public void No_line_is_wider_than_the_terminal(int width)
    {
        foreach (View view in new View[]
        {
            new HitTable(Reference),
            new CallPathView(GdbReference.Hits[16], Reference.Header, Reference.Tracepoints, new CallPathOptions(true, true, true)),
            new HitDiffView(Pick(13), Pick(16), PathDiff.Compare(GdbReference.Hits[13].Path, GdbReference.Hits[16].Path)),
            new TraceDiffView(TraceDiff.Compare(Reference, Other), Reference, Other),
            new TraceStatsView(Reference, TraceStatistics.Of(Reference)),
        })
        {
            Assert.All(Screen(view, width).Split('\n'), line => Assert.InRange(TerminalText.Width(line), 0, width));
        }
    }

    [Fact]
    public void An_empty_trace_has_views_too()
    {
        Trace empty = TraceSamples.Trace([TraceSamples.Header()]);

        Assert.Contains("HIT", Screen(new HitTable(empty), 80));
        Assert.Contains("no end record", Screen(new TraceStatsView(empty, TraceStatistics.Of(empty)), 80));
        Assert.Contains("the same: 0 hits", Screen(new TraceDiffView(TraceDiff.Compare(empty, empty), empty, empty), 80));
        Assert.Contains("end of the stack", Screen(new CallPathView(TraceSamples.Hit(1, 1, CallPath.Empty), empty.Header, empty.Tracepoints), 80));
    }

    [Fact]
    public void Remarks_and_reasons_are_wrapped_and_not_cut()
    {
        const string Long = "the first words of a remark that does not fit into one line of a narrow terminal, and the last";
        Trace trace = Reference with { Remarks = [new TraceRecord.Warning(Long), new TraceRecord.Note("a-word-" + new string('x', 200) + "-end")] };
        TraceRecord.Hit hit = GdbReference.Hits[0] with { PathEnd = new TraceEnd(TraceEndReason.Corrupt, Detail: Long) };

        string stats = Screen(new TraceStatsView(trace, TraceStatistics.Of(trace)), 60);
        string path = Screen(new CallPathView(hit, trace.Header, trace.Tracepoints), 60);

        Assert.Contains(Long, OneLine(stats));
        Assert.Contains("-end", stats);
        Assert.Contains(Long, OneLine(path));

        static string OneLine(string text) => Regex.Replace(text, @"\s+", " ");
    }

    private static TraceQuery.PickedHit Pick(int index) => new(GdbReference.Hits[index], Reference);

    private static void Check(string name, View view, int width) => GoldenFile.Check(Name(name, width), Screen(view, width));

    private static string Name(string name, int width) => width == Pipe ? $"{name}.pipe" : $"{name}.{width}";

    private static string Screen(View view, int width, bool ansi = false, bool colour = false)
    {
        var text = new StringWriter { NewLine = "\n" };
        new ViewOutput(text, width == Pipe ? null : width, ansi, colour).Write(view);
        return text.ToString();
    }

    private static string Unstyled(string screen) => TrailingBlanks().Replace(Escape().Replace(screen, ""), "");

    [GeneratedRegex(@"\x1b\[[0-9;]*m")]
    private static partial Regex Escape();

    [GeneratedRegex(@" +$", RegexOptions.Multiline)]
    private static partial Regex TrailingBlanks();
}
