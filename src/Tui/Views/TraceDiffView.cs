using System.Globalization;
using KTrace.Tracing;

namespace KTrace.Tui.Views;

/// <summary>Two traces: what they have in common in one line, then each difference.</summary>
public sealed class TraceDiffView(TraceDiff diff, Trace a, Trace b) : View
{
    public override IEnumerable<TextLine> Lines(int? width)
    {
        int labels = Math.Max(new TextLine().Add(a.File).Width, new TextLine().Add(b.File).Width);
        yield return Title("A", a, diff.HitsA, labels, TextRole.Removed);
        yield return Title("B", b, diff.HitsB, labels, TextRole.Added);
        yield return Summary();
        foreach (HitDifference difference in diff.Differences)
        {
            yield return new TextLine();
            IEnumerable<TextLine> lines = difference switch
            {
                HitDifference.OnlyInA only => OneSided("- only in A: ", only.Hit, a, TextRole.Removed, width),
                HitDifference.OnlyInB only => OneSided("+ only in B: ", only.Hit, b, TextRole.Added, width),
                HitDifference.OtherPath other => OtherPath(other, width),
                _ => [],
            };
            foreach (TextLine line in lines)
            {
                yield return line;
            }
        }
    }

    private static TextLine Title(string side, Trace trace, int hits, int labels, TextRole role)
    {
        TextLine line = new TextLine().Add(side, role).Add("  ").Add(trace.File, TextRole.Heading).PadTo(3 + labels + 2)
            .Add(hits == trace.HitCount
                ? Plural.Of(hits, "hit")
                : string.Create(CultureInfo.InvariantCulture, $"{hits} of {trace.HitCount} hits"));
        return trace.Header.Kernel.Release is { } release ? line.Add($"  Linux {release}") : line;
    }

    private TextLine Summary()
    {
        if (diff.IsEqual)
        {
            return new TextLine().Add($"the same: {Plural.Of(diff.Same, "hit")} with the same call paths in the same order");
        }

        int onlyA = diff.Differences.Count(difference => difference is HitDifference.OnlyInA);
        int onlyB = diff.Differences.Count(difference => difference is HitDifference.OnlyInB);
        int other = diff.Differences.Length - onlyA - onlyB;
        return new TextLine().Add(string.Create(
            CultureInfo.InvariantCulture,
            $"{Plural.Of(diff.Same, "hit")} the same, {other} by another path, {onlyA} only in A, {onlyB} only in B"));
    }

    private static IEnumerable<TextLine> OneSided(string label, TraceRecord.Hit hit, Trace trace, TextRole role, int? width)
    {
        yield return Hit(new TextLine().Add(label, role), hit, trace);
        // The path in one paragraph: enough to know it, and `show` has the rest.
        const string Indent = "    ";
        var line = new TextLine().Add(Indent);
        bool first = true;
        foreach (TraceFrame frame in hit.Path.Frames)
        {
            TextLine name = FrameText.Name(frame);
            string arrow = first ? "" : " < ";
            if (width is { } cells && line.Width > Indent.Length && line.Width + arrow.Length + name.Width > cells)
            {
                yield return line;
                line = new TextLine().Add(Indent);
                arrow = "< ";
            }

            line.Add(arrow, TextRole.Number).Add(name);
            first = false;
        }

        yield return line;
    }

    private static TextLine Hit(TextLine line, TraceRecord.Hit hit, Trace trace)
    {
        line.Add(string.Create(CultureInfo.InvariantCulture, $"hit {hit.Sequence}  "), TextRole.Heading)
            .Add(trace.Tracepoints.Place(hit.Tracepoint));
        return hit.Task is { } task ? line.Add($"  {task}") : line;
    }

    private IEnumerable<TextLine> OtherPath(HitDifference.OtherPath other, int? width)
    {
        TextLine title = new TextLine().Add("! another path: ", TextRole.Warning)
            .Add(string.Create(CultureInfo.InvariantCulture, $"hit {other.A.Sequence} of A, hit {other.B.Sequence} of B  "), TextRole.Heading)
            .Add(a.Tracepoints.Place(other.A.Tracepoint));
        yield return other.A.Task is { } task ? title.Add($"  {task.Comm}") : title;
        foreach (TextLine line in new PathDiffView(other.Path, other.A.Path, other.B.Path).Lines(width))
        {
            yield return line;
        }
    }
}
