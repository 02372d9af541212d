using System.Globalization;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.Tracepoints;

/// <summary>A function that a pattern or set means and that is not traced, as only stops could do it.</summary>
/// <param name="Request">The pattern or set.</param>
/// <param name="Name">Symbol, or module:symbol.</param>
/// <param name="Reason">Why its calls cannot be recorded without stops.</param>
public sealed record LeftOutFunction(string Request, string Name, string Reason);

/// <summary>
/// Makes the tracepoints of patterns and sets: without what --except names, without functions that have a tracepoint of their own (what somebody wrote for one function counts there), each address
/// once over all sets, and without what would need stops unless stops are wanted.
/// </summary>
internal sealed class SetMembers
{
    private const int MostReasons = 3;

    private readonly FunctionObjects _objects;
    private readonly FunctionSelector _selector;
    private readonly Dictionary<(string? Module, ulong Address), string> _taken = [];
    private readonly HashSet<(string Module, string Symbol)> _ownInModules = [];
    private readonly List<(TracepointRequest Request, HashSet<(string?, ulong)> Functions)> _excepted = [];
    private readonly HashSet<TracepointRequest> _useful = new(ReferenceEqualityComparer.Instance);
    private readonly List<string> _notes = [];
    private readonly List<LeftOutFunction> _leftOut = [];
    private bool _any;

    /// <param name="except">Places in the words of -b.</param>
    /// <param name="own">Tracepoints of single places.</param>
    /// <exception cref="TargetException">An exception names nothing.</exception>
    public SetMembers(FunctionObjects objects, IReadOnlyList<string> except, IEnumerable<Tracepoint> own)
    {
        _objects = objects;
        _selector = new FunctionSelector(objects);
        foreach (var tracepoint in own.Where(t => t.Offset == 0))
        {
            foreach (var place in tracepoint.Places.Where(p => p.Kind != CodePlaceKind.Inline))
            {
                _taken[(null, place.Address)] = tracepoint.Request.Text;
            }

            if (tracepoint.Module is { } module)
            {
                _ownInModules.Add((module, tracepoint.Symbol));
            }
        }

        foreach (var text in except)
        {
            var request = TracepointRequest.Parse(text);
            if (request.Actions != TracepointActions.None || request.Symbol is null || request.Offset != 0)
            {
                throw new TargetException($"--except '{text}': a function, a pattern or a set is left out, whatever happens there", "for example: --except 'irq_work_*'");
            }

            try
            {
                // A name is a pattern that only it matches.
                var functions = _selector.Select(request.IsGroup ? request : request with { Kind = RequestKind.Names });
                _excepted.Add((request, [.. functions.Select(f => (f.Object.Module, f.Address))]));
            }
            catch (TargetException e)
            {
                throw new TargetException("--except: " + e.Message, e.Remedy);
            }
        }
    }

    public CaptureChoice Capture { get; init; }

    public Func<ulong, bool>? CanRelocate { get; init; }

    public IReadOnlyList<string> Notes => _notes;

    public IReadOnlyList<LeftOutFunction> LeftOut => _leftOut;

    /// <summary>The tracepoints of one pattern or set, numbered from <paramref name="id"/>. Empty when all that it means was left out or is traced already.</summary>
    public IEnumerable<Tracepoint> Take(TracepointRequest request, int id)
    {
        _any = true;
        var wanted = Remaining(request, _selector.Select(request));
        var needsStop = Capture == CaptureChoice.AlwaysStop ? "" : WayPlanner.StopReasonOf(request.Actions);
        if (needsStop is null)
        {
            wanted = WithoutStops(request, wanted, out needsStop);
        }

        if (needsStop is not null && wanted.Count > TracepointResolver.MaximumPlaces)
        {
            var why = needsStop.Length > 0 ? $" ({needsStop})" : "";
            throw new TargetException(
                $"{request.Text} matches {Count(wanted.Count)} functions ({string.Join(", ", wanted.Take(MostReasons).Select(f => f.Symbol))}, …); at most {TracepointResolver.MaximumPlaces} can be traced at once with stops{why}",
                Capture == CaptureChoice.AlwaysStop ? "make the pattern narrower, or leave some out with --except" : needsStop.Length > 0 ? "make the pattern narrower, or ask for less at each hit" : null);
        }

        var waiting = wanted.Where(f => f.Object.Module is not null).Select(f => f.Object.Module!).Distinct().ToList();
        if (waiting.Count > 0)
        {
            _notes.Add($"{request.Text}: {Count(wanted.Count(f => f.Object.Module is not null))} functions are in {(waiting.Count == 1 ? "module " + waiting[0] : $"{waiting.Count} modules")}; armed when {(waiting.Count == 1 ? "it is" : "they are")} loaded");
        }

        return wanted.Select((f, i) => Make(id + i, request, f));
    }

    /// <summary>Says which exceptions took nothing away.</summary>
    public void Finish()
    {
        foreach (var (request, _) in _excepted)
        {
            if (!_useful.Contains(request))
            {
                _notes.Add($"--except {request.Text} takes nothing away{(_any ? ": none of its functions was asked for" : ", as no pattern and no set is traced")}");
            }
        }
    }

    private List<SelectedFunction> Remaining(TracepointRequest request, IReadOnlyList<SelectedFunction> selected)
    {
        var left = new List<SelectedFunction>(selected.Count);
        var others = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var function in selected)
        {
            var key = (function.Object.Module, function.Address);
            var isExcepted = false;
            foreach (var (exception, functions) in _excepted)
            {
                if (functions.Contains(key))
                {
                    isExcepted = true;
                    _useful.Add(exception);
                }
            }

            if (isExcepted || (key.Module is { } module && _ownInModules.Contains((module, function.Symbol))))
            {
                continue;
            }

            if (_taken.TryAdd(key, request.Text))
            {
                left.Add(function);
            }
            else
            {
                others[_taken[key]] = others.GetValueOrDefault(_taken[key]) + 1;
            }
        }

        foreach (var (other, count) in others)
        {
            _notes.Add($"{request.Text}: {Count(count)} of its functions {(count == 1 ? "is" : "are")} traced by -b '{other}' already");
        }

        return left;
    }

    /// <summary>What can be traced without stops; all of it when nothing can, and then the reason why stops are needed.</summary>
    private List<SelectedFunction> WithoutStops(TracepointRequest request, List<SelectedFunction> wanted, out string? needsStop)
    {
        needsStop = null;
        var can = wanted.Where(f => CanTrace(request, f)).ToList();
        if (can.Count == wanted.Count)
        {
            return wanted;
        }

        var cannot = wanted.Where(f => !CanTrace(request, f)).Select(f => new LeftOutFunction(request.Text, f.Object.Qualified(f.Index), f.Object.Traceable.WhyNot(f.Address))).ToList();
        var reasons = cannot.CountBy(f => f.Reason).OrderByDescending(r => r.Value).ToList();
        var words = string.Join("; ", reasons.Take(MostReasons).Select(r => $"{r.Key} ({Count(r.Value)})")) + (reasons.Count > MostReasons ? "; …" : "");
        if (can.Count == 0)
        {
            if (Capture == CaptureChoice.NeverStop)
            {
                throw new TargetException($"{request.Text}: none of its {Count(wanted.Count)} functions can be traced without stops: {words}", "leave --no-stop out: stops can trace up to 256 of them");
            }

            // Somebody asked for just these: better slowly than not at all.
            needsStop = "none of them can be traced without: " + words;
            return wanted;
        }

        _leftOut.AddRange(cannot);
        _notes.Add($"{request.Text}: {Count(can.Count)} functions; {Count(cannot.Count)} left out, as only stops can trace them (--stop, or -b with their names): {words}");
        return can;
    }

    /// <summary>Without stops. First instructions are moved before conditions that read memory can be asked; whether all of a set's functions could do without is not asked.</summary>
    private bool CanTrace(TracepointRequest request, SelectedFunction function) =>
        function.Object.Traceable.Find(function.Address) is not null
        || (function.Object.Module is null && request.Actions.Condition is null && CanRelocate?.Invoke(function.Address) == true);

    private static Tracepoint Make(int id, TracepointRequest request, SelectedFunction function)
    {
        var (table, symbol) = (function.Object.Table, function.Symbol);
        return function.Object.Module is { } module
            ? new Tracepoint(id, request, symbol, module, [], null) { Ordinal = table.OrdinalOf(function.Index) }
            : new Tracepoint(
                id, request, symbol, null, [new CodePlace(function.Address, table.IsClone(function.Index) ? CodePlaceKind.Clone : CodePlaceKind.Entry, table.NameOf(function.Index), symbol, null)], null);
    }

    private static string Count(int count) => count.ToString(CultureInfo.InvariantCulture);
}
