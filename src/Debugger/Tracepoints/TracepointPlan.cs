using KTrace.Debugger.NonStop.Sites;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.Tracepoints;

/// <summary>A function, and how its calls will be recorded.</summary>
/// <param name="Tracepoint">The tracepoint's number; 0: it has none, as it is left out.</param>
/// <param name="Request">The words that mean it.</param>
/// <param name="Name">Symbol, or module:symbol.</param>
/// <param name="File">The source file that was compiled into it, or null.</param>
/// <param name="Way">Null: it is left out.</param>
/// <param name="Reason">Why that way.</param>
/// <param name="Places">Of how many places of the function this is said.</param>
public sealed record PlannedFunction(int Tracepoint, string Request, string Name, string? File, CaptureWay? Way, string Reason, int Places);

/// <summary>Plans before anything runs: modules are read from their files.</summary>
internal static class TracepointPlan
{
    /// <summary>One for each way and reason that its places have.</summary>
    public static IEnumerable<PlannedFunction> Of(Tracepoint tracepoint, WayPlanner planner, FunctionObjects objects)
    {
        var (of, places) = tracepoint.Module is { } name ? InModule(tracepoint, objects.Module(name)) : (objects.Kernel, tracepoint.Places);
        if (of is null || places.Length == 0)
        {
            return [new PlannedFunction(tracepoint.Id, tracepoint.Request.Text, tracepoint.Title, null, CaptureWay.Stop, "its places are found when its module is loaded", 0)];
        }

        return places.Select(p => (Place: p, Plan: planner.Plan(tracepoint, p, of.Traceable, of.Loaded))).GroupBy(p => (p.Plan.Way, p.Plan.Reason))
            .Select(g => new PlannedFunction(tracepoint.Id, tracepoint.Request.Text, tracepoint.Title, FileOf(of, g.First().Place), g.Key.Way, g.Key.Reason, g.Count())).ToList();
    }

    private static string? FileOf(ObjectFunctions of, CodePlace place) => of.Table.Find(place.Address) is var index and >= 0 ? of.Table.FileOf(index) : place.File;

    private static (ObjectFunctions? Of, System.Collections.Immutable.ImmutableArray<CodePlace> Places) InModule(Tracepoint tracepoint, ObjectFunctions? module)
    {
        if (module is null)
        {
            return (null, []);
        }

        var index = module.Table.FindSymbol(tracepoint.Symbol.Split('+')[0], tracepoint.Ordinal);
        return index < 0 ? (module, []) : (module, [new CodePlace(module.Table.AddressOf(index), CodePlaceKind.Entry, tracepoint.Symbol, tracepoint.Symbol, null)]);
    }
}
