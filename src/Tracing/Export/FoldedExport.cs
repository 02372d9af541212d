// Call paths as Brendan Gregg's stackcollapse scripts write stacks, for flamegraph.pl, speedscope and their like: outermost function first, `;` between functions, then a blank and how often.
using System.Globalization;

namespace KTrace.Tracing.Export;

/// <summary>Counts hits by call path.</summary>
public static class FoldedExport
{
    /// <summary>A line for each call path, in the order in which they came first.</summary>
    public static IEnumerable<string> Lines(IEnumerable<TraceRecord.Hit> hits)
    {
        var counts = new Dictionary<CallPath, long>();
        var order = new List<CallPath>();
        foreach (TraceRecord.Hit hit in hits)
        {
            if (!counts.TryAdd(hit.Path, 1))
            {
                counts[hit.Path]++;
            }
            else
            {
                order.Add(hit.Path);
            }
        }

        return order.Select(path => string.Create(
            CultureInfo.InvariantCulture, $"{string.Join(';', path.Frames.Reverse().Select(f => f.Function.Replace(';', ':')))} {counts[path]}"));
    }
}
