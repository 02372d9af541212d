using System.Globalization;
using KTrace.Tracing;

namespace KTrace.Tui.Views;

/// <summary>A trace in numbers, one a line, each with its name first.</summary>
public sealed class TraceStatsView(Trace trace, TraceStatistics statistics) : View
{
    private const int Names = 13;

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

        foreach (TextLine line in NonStop())
        {
            yield return line;
        }

        foreach (TextLine line in Tracepoints())
        {
            yield return line;
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

    private IEnumerable<TextLine> NonStop()
    {
        if (statistics.MeanRate is { } mean)
        {
            yield return Line("guest rate", string.Create(CultureInfo.InvariantCulture, $"{mean:0} hits a second of the guest's, {statistics.PeakRate:0} at its peak"));
        }

        if (trace.NonStop is not { } figures)
        {
            yield break;
        }

        yield return Line("non-stop", string.Create(CultureInfo.InvariantCulture, $"{Plural.Of(figures.Hits, "hit")}, {figures.Dropped} dropped, {Plural.Of(figures.Waits, "wait")} for room in a ring of {figures.RingSize >> 20} MiB"));
        if (figures.Pauses > 0)
        {
            yield return Line("pauses", string.Create(CultureInfo.InvariantCulture, $"{figures.Pauses}, {figures.PausedSeconds:0.000} s in which the guest stood still"));
        }

        if (figures.GuestSeconds is { } guest)
        {
            yield return Line("guest", figures.BaselineGuestSeconds is > 0 and var baseline
                ? string.Create(CultureInfo.InvariantCulture, $"{guest:0.000} s by its clock, {baseline:0.000} s without tracepoints: {(guest - baseline) / baseline * 100:+0.0;-0.0} %")
                : string.Create(CultureInfo.InvariantCulture, $"{guest:0.000} s by its clock"));
        }

        foreach ((long count, string what) in ((long, string)[])
            [
                (figures.Cut, "paths cut by the bound on stack copies"), (figures.ReturnsMissed, "returns not recorded: too many calls were open"), (figures.Broken, "records that could not be true, left out"),
            ])
        {
            if (count > 0)
            {
                yield return Line("", string.Create(CultureInfo.InvariantCulture, $"{count} {what}"), TextRole.Warning);
            }
        }
    }

    /// <summary>The functions of a pattern or set that are traced in one way for one reason are one line.</summary>
    private IEnumerable<TextLine> Tracepoints()
    {
        foreach (var group in statistics.Tracepoints.GroupBy(t => t.Tracepoint.IsGroup
            ? (t.Tracepoint.Requested, t.Tracepoint.State, t.Tracepoint.Way, InShort(t.Tracepoint.WayReason), 0) : (t.Tracepoint.Requested, "", null, null, t.Tracepoint.Id)))
        {
            (TraceTracepoint tracepoint, _) = group.First();
            int functions = group.Count();
            TextLine line = Line("tracepoint", tracepoint.Requested, TextRole.Function).Add($"  {Plural.Of(group.Sum(t => t.Hits), "hit")}");
            line = functions > 1
                ? line.Add(string.Create(CultureInfo.InvariantCulture, $"  {functions} functions, {group.Count(t => t.Hits > 0)} of them hit"), TextRole.Source)
                : line.Add(TracepointText.Armed(tracepoint), TextRole.Source);
            yield return tracepoint.Way is { } way ? line.Add($"  {way}{((functions > 1 ? InShort(tracepoint.WayReason) : tracepoint.WayReason) is { } why ? ": " + why : "")}", TextRole.Source) : line;
        }
    }

    /// <summary>A reason without what holds for this function alone.</summary>
    private static string? InShort(string? reason) => reason?.IndexOf(" (", StringComparison.Ordinal) is > 0 and var end ? reason[..end] : reason;

    private static TextLine Line(string name, string value, TextRole role = TextRole.Plain) =>
        new TextLine().Add(name, TextRole.Heading).PadTo(Names).Add(value, role);
}
