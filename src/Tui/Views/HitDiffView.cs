using System.Globalization;
using KTrace.Tracing;

namespace KTrace.Tui.Views;

/// <summary>Two hits of the same or of different traces, frame by frame.</summary>
public sealed class HitDiffView(TraceQuery.PickedHit a, TraceQuery.PickedHit b, PathDiff diff) : View
{
    public override IEnumerable<TextLine> Lines(int? width)
    {
        yield return Title("A", a, TextRole.Removed);
        yield return Title("B", b, TextRole.Added);
        yield return new TextLine();
        foreach (TextLine line in new PathDiffView(diff, a.Hit.Path, b.Hit.Path).Lines(width))
        {
            yield return line;
        }

        yield return new TextLine();
        int common = diff.Segments.Where(segment => segment.IsCommon).Sum(segment => segment.A.Count);
        yield return diff.IsEqual
            ? new TextLine().Add($"the same call path: {Plural.Of(common, "frame")}")
            : new TextLine().Add(string.Create(
                CultureInfo.InvariantCulture,
                $"{Plural.Of(common, "frame")} in common, {a.Hit.Path.Frames.Length - common} only in A, {b.Hit.Path.Frames.Length - common} only in B"));
    }

    private static TextLine Title(string side, TraceQuery.PickedHit picked, TextRole role)
    {
        TextLine line = new TextLine().Add(side, role).Add("  ")
            .Add($"{picked.Trace.File}#{picked.Hit.Sequence}", TextRole.Heading)
            .Add("  ").Add(picked.Trace.Tracepoints.Place(picked.Hit.Tracepoint));
        return picked.Hit.Task is { } task ? line.Add("  ").Add(task.ToString()) : line;
    }
}
