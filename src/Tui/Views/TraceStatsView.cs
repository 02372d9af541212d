using System.Globalization;
using KTrace.Tracing;

namespace KTrace.Tui.Views;

/// <summary>A trace in numbers, one a line, each with its name first.</summary>
public sealed class TraceStatsView(Trace trace, TraceStatistics statistics) : View
{
    private const int Names = 12;

    public override IEnumerable<TextLine> Lines(int? width)
    {
        yield return Line("trace", trace.File);
        yield return Line("kernel", trace.Header.Kernel.Release is { } release ? $"{release}, {trace.Header.Arch}" : trace.Header.Arch);
        if (trace.Header.Slide is { } slide)
        {
            yield return Line("slide", TraceHex.Format(slide));
        }

        yield return Line("hits", statistics.Hits.ToString(CultureInfo.InvariantCulture));
        yield return Line("call paths", statistics.Paths.ToString(CultureInfo.InvariantCulture));
        yield return Line("recording", statistics.Seconds is { } seconds
            ? string.Create(CultureInfo.InvariantCulture, $"{seconds:0.000} s")
            : "unknown: the trace has no end record");
        if (statistics.HitsPerSecond is { } rate)
        {
            yield return Line("rate", string.Create(CultureInfo.InvariantCulture, $"{rate:0.0} hits/s{(statistics.ActiveSeconds > 0 ? ", first to last hit" : "")}"));
        }

        foreach ((TraceTracepoint tracepoint, long hits) in statistics.Tracepoints)
        {
            yield return Line("tracepoint", tracepoint.Requested, TextRole.Function)
                .Add($"  {Plural.Of(hits, "hit")}").Add(TracepointText.Armed(tracepoint), TextRole.Source);
        }

        foreach (TraceRecord.Module module in trace.Modules)
        {
            TextLine line = Line("module", module.Name, TextRole.Module).Add($"  at {TraceHex.Format(module.Base)}");
            yield return module.File is null ? line.Add("  no symbols", TextRole.Warning) : line;
        }

        foreach (TraceRecord remark in trace.Remarks)
        {
            IEnumerable<TextLine> lines = remark switch
            {
                TraceRecord.Warning warning => Line("warning", "").Wrap(warning.Text, TextRole.Warning, width),
                TraceRecord.Note note => Line("note", "").Wrap(note.Text, TextRole.Plain, width),
                _ => [],
            };
            foreach (TextLine line in lines)
            {
                yield return line;
            }
        }

        yield return Line("end", trace.End?.Reason ?? "none");
        if (trace.Incomplete is { } incomplete)
        {
            foreach (TextLine line in Line("incomplete", "").Wrap(incomplete, TextRole.Warning, width))
            {
                yield return line;
            }
        }
    }

    private static TextLine Line(string name, string value, TextRole role = TextRole.Plain) =>
        new TextLine().Add(name, TextRole.Heading).PadTo(Names).Add(value, role);
}
