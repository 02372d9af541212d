using System.Globalization;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Tracepoints;

namespace KTrace.Tui.Views;

/// <summary>What a recording would trace, a function a line, and how: for looking at before booting.</summary>
/// <param name="notes">What else there is to know, a line each.</param>
public sealed class PlanView(IReadOnlyList<PlannedFunction> functions, IReadOnlyList<string> notes) : View
{
    private const int MostReasons = 12;

    public override IEnumerable<TextLine> Lines(int? width)
    {
        var table = new ColumnLines(new("FUNCTION"), new("WAY"), new("FILE", Rank: 2), new("TRACEPOINT", Rank: 1), new("WHY"));
        foreach (PlannedFunction function in functions)
        {
            table.Add(
                new TextLine().Add(function.Name, TextRole.Function),
                new TextLine().Add(Way(function.Way), function.Way switch { CaptureWay.NonStop => TextRole.Added, CaptureWay.Stop => TextRole.Warning, _ => TextRole.Removed }),
                InterruptText.Cell(function.File, TextRole.Source),
                InterruptText.Cell(function.Request == function.Name ? null : function.Request.Split(' ', 2)[0]),
                new TextLine().Add(function.Places > 1 ? string.Create(CultureInfo.InvariantCulture, $"{function.Reason} ({function.Places} places)") : function.Reason, TextRole.Reason));
        }

        foreach (TextLine line in table.Lines(width))
        {
            yield return line;
        }

        yield return new TextLine();
        foreach (TextLine line in new TextLine().Wrap(Totals(), TextRole.Heading, width))
        {
            yield return line;
        }

        foreach (var (reason, count) in functions.Where(f => f.Way != CaptureWay.NonStop).CountBy(f => (f.Way, f.Reason)).OrderByDescending(r => r.Value).Take(MostReasons))
        {
            foreach (TextLine line in new TextLine().PadTo(2).Wrap(string.Create(CultureInfo.InvariantCulture, $"{count} {Way(reason.Way)}: {reason.Reason}"), TextRole.Plain, width))
            {
                yield return line;
            }
        }

        foreach (string note in notes)
        {
            foreach (TextLine line in new TextLine().Wrap(note, TextRole.Plain, width))
            {
                yield return line;
            }
        }
    }

    private static string Way(CaptureWay? way) => way switch
    {
        CaptureWay.NonStop => "no stop",
        CaptureWay.Stop => "stop",
        _ => "left out",
    };

    private string Totals()
    {
        int traced = functions.Where(f => f.Way is not null).Select(f => f.Tracepoint).Distinct().Count();
        int without = functions.Where(f => f.Way == CaptureWay.NonStop).Select(f => f.Tracepoint).Distinct().Count();
        int left = functions.Count(f => f.Way is null);
        return $"{Plural.Of(traced, "function")}: {without.ToString(CultureInfo.InvariantCulture)} without stops, {(traced - without).ToString(CultureInfo.InvariantCulture)} with stops"
            + (left == 0 ? "" : $"; {left.ToString(CultureInfo.InvariantCulture)} left out");
    }
}
