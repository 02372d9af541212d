using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>The timeline: a hit a line, those that the filter lets through.</summary>
internal sealed class HitsPane() : Pane(PaneKind.Hits, "hits")
{
    private const int Gap = 2;
    private static readonly string[] Heads = ["HIT", "CPU", "TASK", "CTX", "TIME", "PLACE", "WHERE"];

    // Which columns a narrow pane leaves out first.
    private static readonly int[] GivenUp = [3, 1, 4, 2];

    public override PaneRows Rows(UiState state, int width)
    {
        var timeline = state.Timeline;
        var columns = Columns(timeline, width);
        return new PaneRows(timeline.Count, i => Line(timeline[i]), i => timeline[i] is var hit ? $"{hit.Place} {hit.Where} {hit.Task} {hit.Path} {hit.Arguments} {hit.Clock}" : "") 
        {
            Head = Head(), Finder = (search, comparison) => Finder(timeline, search, comparison),
        };

        TextLine Line(HitSummary hit)
        {
            var mark = timeline.Marks.IndexOf(hit.Sequence);
            var line = new TextLine().Add(mark switch { 0 => "A", 1 => "B", _ => state.Session.Stop?.Hit == hit.Sequence ? "▶" : " " }, mark >= 0 ? TextRole.Changed : TextRole.Current);
            var start = 1;
            foreach (var column in columns)
            {
                var cell = TerminalText.KeepStart(TerminalText.Sanitize(Timeline.Cell(hit, column)), timeline.Widths[column]);
                line.PadTo(column is 0 or 1 or 4 ? start + timeline.Widths[column] - TerminalText.Width(cell) : start).Add(cell, Role(column));
                start += timeline.Widths[column] + Gap;
            }

            line.PadTo(start).Add(PathOf(hit), TextRole.Plain);
            return hit.Arguments.Length == 0 ? line : line.Add("  ").Add(hit.Arguments, TextRole.Value);
        }

        TextLine Head()
        {
            var line = new TextLine();
            var start = 1;
            foreach (var column in columns)
            {
                line.PadTo(column is 0 or 1 or 4 ? start + Math.Max(0, timeline.Widths[column] - Heads[column].Length) : start).Add(TerminalText.KeepStart(Heads[column], timeline.Widths[column]), TextRole.Heading);
                start += timeline.Widths[column] + Gap;
            }

            return line.PadTo(start).Add("CALL PATH", TextRole.Heading);
        }
    }

    public override string? Subject(UiState state) => state.Timeline switch
    {
        { Filter: { } filter } timeline => $"& {filter.Text} ({timeline.Count} of {timeline.All.Count})",
        { Marks.Length: > 0 } timeline => "marked " + string.Join(", ", timeline.Marks),
        { Hidden: > 0 } timeline => $"{Plural.Of(timeline.Hidden, "hit")} more, by :hit N",
        _ => null,
    };

    public override string WhyEmpty(UiState state) => state switch
    {
        { Timeline: { Filter: { } filter, All.Count: > 0 } } => $"no hit matches '{filter.Text}' (Esc takes the filter away)",
        { Abilities.IsLive: true } => "no hits yet: every stop at a breakpoint is kept here (b sets one; :trace PLACE does not stop)",
        { Session.Progress: { } progress } => progress.Text,
        _ => "the trace has no hits",
    };

    public override string? PlaceAt(UiState state, int row) => row < state.Timeline.Count ? state.Timeline[row].Place : null;

    /// <summary>Places, tasks and paths come again and again as the same string: each is looked through once.</summary>
    private static Func<int, bool> Finder(Timeline timeline, string search, StringComparison comparison)
    {
        const int MostKnown = 1 << 16;
        var known = new Dictionary<string, bool>(ReferenceEqualityComparer.Instance);
        return index => timeline[index] is var hit && (Has(hit.Place) || Has(hit.Where) || Has(hit.Task) || Has(hit.Path) || Has(hit.Arguments) || hit.Clock.Contains(search, comparison));

        bool Has(string text)
        {
            if (text.Length < search.Length)
            {
                return false;
            }

            if (!known.TryGetValue(text, out var has))
            {
                has = text.Contains(search, comparison);
                if (known.Count < MostKnown)
                {
                    known.Add(text, has);
                }
            }

            return has;
        }
    }

    /// <summary>Without the function that the place names already.</summary>
    private static string PathOf(HitSummary hit) => hit.Path.StartsWith(hit.Place + " < ", StringComparison.Ordinal) ? hit.Path[(hit.Place.Length + 1)..] : hit.Path;

    private static TextRole Role(int column) => column switch { 5 or 6 => TextRole.Function, 2 => TextRole.Plain, _ => TextRole.Number };

    private static int[] Columns(Timeline timeline, int width)
    {
        // With a landmark the path itself is the first thing that there need not be room for.
        var pathMinimum = timeline.Widths[6] > Heads[6].Length ? 0 : 24;
        // What is the same or empty everywhere is no column.
        var shown = Enumerable.Range(0, Timeline.Columns).Where(c => c != 6 || timeline.Widths[c] > Heads[c].Length).ToList();
        foreach (var column in GivenUp)
        {
            if (1 + shown.Sum(c => timeline.Widths[c] + Gap) + pathMinimum <= width)
            {
                break;
            }

            shown.Remove(column);
        }

        return [.. shown];
    }
}
