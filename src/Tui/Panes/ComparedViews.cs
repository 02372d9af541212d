using System.Globalization;
using KTrace.Tracing;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>Two hits of the timeline, frame by frame.</summary>
internal sealed class HitsComparedView(TargetNews.HitsCompared compared, Timeline timeline) : View
{
    public override IEnumerable<TextLine> Lines(int? width)
    {
        var (a, b) = (compared.First, compared.Second);
        var diff = PathDiff.Compare(a.Path, b.Path);
        yield return Title("A", a, TextRole.Removed);
        yield return Title("B", b, TextRole.Added);
        foreach (var line in new PathDiffView(diff, a.Path, b.Path).Lines(width))
        {
            yield return line;
        }

        var common = diff.Segments.Where(s => s.IsCommon).Sum(s => s.A.Count);
        yield return diff.IsEqual
            ? new TextLine().Add($"the same call path: {Plural.Of(common, "frame")}", TextRole.Reason)
            : new TextLine().Add(string.Create(CultureInfo.InvariantCulture, $"{Plural.Of(common, "frame")} in common, {a.Path.Frames.Length - common} only in A, {b.Path.Frames.Length - common} only in B"), TextRole.Reason);
    }

    private TextLine Title(string side, TraceRecord.Hit hit, TextRole role)
    {
        var place = timeline.RowOf(hit.Sequence) is >= 0 and var row ? timeline[row].Place : hit.Path.Frames is [var innermost, ..] ? innermost.Function : "";
        return new TextLine().Add(side, role).Add(string.Create(CultureInfo.InvariantCulture, $"  hit {hit.Sequence}"), TextRole.Heading).Add($"  {place}  cpu {hit.Cpu}  {hit.Task}  {hit.PathEnd.Describe(hit.Task)}");
    }
}

/// <summary>Two traces: what they have in common in one line, which tracepoints differ, then each difference.</summary>
internal sealed class TracesComparedView(TargetNews.TracesCompared compared) : View
{
    private const int MostPlaces = 20;

    public override IEnumerable<TextLine> Lines(int? width)
    {
        var diff = compared.Diff;
        yield return new TextLine().Add("A", TextRole.Removed).Add("  ").Add(compared.First, TextRole.Heading).Add("  ").Add(Plural.Of(diff.HitsA, "hit"));
        yield return new TextLine().Add("B", TextRole.Added).Add("  ").Add(compared.Second, TextRole.Heading).Add("  ").Add(Plural.Of(diff.HitsB, "hit"));
        var onlyA = diff.Differences.Count(d => d is HitDifference.OnlyInA);
        var onlyB = diff.Differences.Count(d => d is HitDifference.OnlyInB);
        yield return new TextLine().Add(
            diff.IsEqual
                ? $"the same: {Plural.Of(diff.Same, "hit")} with the same call paths in the same order"
                : string.Create(CultureInfo.InvariantCulture, $"{Plural.Of(diff.Same, "hit")} the same, {diff.Differences.Length - onlyA - onlyB} by another path, {onlyA} only in A, {onlyB} only in B"), TextRole.Reason);
        foreach (var line in Places(width))
        {
            yield return line;
        }

        foreach (var difference in diff.Differences)
        {
            yield return new TextLine();
            switch (difference)
            {
                case HitDifference.OnlyInA { Hit: var hit }:
                    yield return Only("- only in A: ", hit, compared.FirstPlaces, TextRole.Removed);
                    yield return Path(hit);
                    break;
                case HitDifference.OnlyInB { Hit: var hit }:
                    yield return Only("+ only in B: ", hit, compared.SecondPlaces, TextRole.Added);
                    yield return Path(hit);
                    break;
                case HitDifference.OtherPath other:
                    yield return new TextLine().Add("! another path: ", TextRole.Warning)
                        .Add(string.Create(CultureInfo.InvariantCulture, $"hit {other.A.Sequence} of A, hit {other.B.Sequence} of B"), TextRole.Heading)
                        .Add("  ").Add(compared.FirstPlaces.Place(other.A.Tracepoint), TextRole.Function).Add($"  {other.A.Task?.Comm}");
                    foreach (var line in new PathDiffView(other.Path, other.A.Path, other.B.Path).Lines(width))
                    {
                        yield return line;
                    }

                    break;
            }
        }
    }

    /// <summary>Which tracepoints differ, and how: those with the most differences first.</summary>
    private IEnumerable<TextLine> Places(int? width)
    {
        var differing = compared.Diff.Differences.GroupBy(difference => difference switch
        {
            HitDifference.OnlyInA { Hit: var hit } => compared.FirstPlaces.Place(hit.Tracepoint),
            HitDifference.OnlyInB { Hit: var hit } => compared.SecondPlaces.Place(hit.Tracepoint),
            HitDifference.OtherPath { A: var hit } => compared.FirstPlaces.Place(hit.Tracepoint),
            _ => "",
        }).OrderByDescending(place => place.Count()).ThenBy(place => place.Key, StringComparer.Ordinal).ToList();
        if (differing.Count == 0)
        {
            yield break;
        }

        yield return new TextLine();
        var table = new ColumnLines(new("OTHER PATH", IsNumber: true), new("ONLY IN A", IsNumber: true), new("ONLY IN B", IsNumber: true), new("TRACEPOINT"));
        foreach (var place in differing.Take(MostPlaces))
        {
            table.Add(
                Count(place.Count(d => d is HitDifference.OtherPath)), Count(place.Count(d => d is HitDifference.OnlyInA)),
                Count(place.Count(d => d is HitDifference.OnlyInB)), new TextLine().Add(place.Key, TextRole.Function));
        }

        foreach (var line in table.Lines(width))
        {
            yield return line;
        }

        if (differing.Count > MostPlaces)
        {
            yield return new TextLine().Add($"and {Plural.Of(differing.Count - MostPlaces, "tracepoint")} more", TextRole.Reason);
        }
    }

    // Not in the roles of what is added and removed: those are the differences that { and } go to.
    private static TextLine? Count(int count) => count == 0 ? null : new TextLine().Add(count.ToString(CultureInfo.InvariantCulture));

    private static TextLine Only(string label, TraceRecord.Hit hit, TracepointTable places, TextRole role) =>
        new TextLine().Add(label, role).Add(string.Create(CultureInfo.InvariantCulture, $"hit {hit.Sequence}"), TextRole.Heading)
            .Add("  ").Add(places.Place(hit.Tracepoint), TextRole.Function).Add($"  {hit.Task}");

    private static TextLine Path(TraceRecord.Hit hit) => new TextLine().PadTo(2).Add(string.Join(" < ", hit.Path.Frames.Take(24).Select(f => f.Function)) + (hit.Path.Frames.Length > 24 ? " < …" : ""));
}
