using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using KTrace.Debugger.Modules;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Symbols;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.Tracepoints;

/// <summary>Turns what a person asked for into places: in the kernel, or in a module that is yet to come.</summary>
public sealed class TracepointResolver
{
    /// <summary>
    /// Places of one tracepoint, and functions of one pattern, where hits are taken by stops. A stub stops the machine at each, and with 512 breakpoints QEMU took minutes for a boot of seconds.
    /// </summary>
    public const int MaximumPlaces = 256;

    private const int MaximumListed = 12;
    private const int MaximumNear = 5;

    private readonly KernelImage _image;
    private readonly ModuleFiles _modules;
    private readonly FunctionLookup _lookup;
    private readonly FunctionObjects _objects;
    private readonly List<string> _notes = [];
    private readonly List<LeftOutFunction> _leftOut = [];

    public TracepointResolver(KernelImage image, ModuleFiles modules)
    {
        _image = image;
        _modules = modules;
        _lookup = new FunctionLookup(image.Symbolizer, image.ShortPath);
        _objects = new FunctionObjects(image, modules);
    }

    /// <summary>How hits are to be taken. Where stops are not wanted for everything, patterns and sets have no limit, and take only what can be traced without them.</summary>
    public CaptureChoice Capture { get; init; } = CaptureChoice.AlwaysStop;

    /// <summary>Places that patterns and sets leave out, in the words of -b.</summary>
    public IReadOnlyList<string> Except { get; init; } = [];

    /// <summary>Whether the entry of a kernel function without the tracer's no-op (link-time address) can be traced without stops all the same; null: none can.</summary>
    public Func<ulong, bool>? CanRelocate { get; init; }

    /// <summary>What a person should know about the patterns and sets that were resolved, a line each.</summary>
    public IReadOnlyList<string> Notes => _notes;

    /// <summary>Functions of patterns and sets that were left out because only stops could trace them, with the reason.</summary>
    public IReadOnlyList<LeftOutFunction> LeftOut => _leftOut;

    /// <summary>The kernel's functions that the function tracer knows, at link-time addresses.</summary>
    public TraceableFunctions Traceable => _objects.Kernel.Traceable;

    /// <summary>How each tracepoint will be traced, as far as files tell before anything boots: with the functions that were left out behind each other's requests.</summary>
    /// <exception cref="TargetException">--no-stop was given, and a place needs stops.</exception>
    public IReadOnlyList<PlannedFunction> Plan(IReadOnlyList<Tracepoint> tracepoints, WayPlanner planner) =>
    [
        .. tracepoints.SelectMany(t => TracepointPlan.Of(t, planner, _objects)),
        .. _leftOut.Select(f => new PlannedFunction(0, f.Request, f.Name, null, null, f.Reason, 0)),
    ];

    /// <summary>Resolves all requests before anything boots, so that a misspelt name costs no time. A pattern or a set becomes a tracepoint for each function.</summary>
    /// <exception cref="TargetException">A symbol does not exist (near names are offered), exists several times (all are listed), or is at too many places.</exception>
    public IReadOnlyList<Tracepoint> Resolve(IReadOnlyList<string> requests)
    {
        List<TracepointRequest> parsed = [.. requests.Select(TracepointRequest.Parse)];
        Tracepoint?[] single = [.. parsed.Select(r => r.IsGroup ? null : Resolve(0, r))];
        var members = new SetMembers(_objects, Except, single.OfType<Tracepoint>()) { Capture = Capture, CanRelocate = CanRelocate };
        var tracepoints = new List<Tracepoint>();
        for (var i = 0; i < parsed.Count; i++)
        {
            if (single[i] is { } place)
            {
                tracepoints.Add(place.WithId(tracepoints.Count + 1));
            }
            else
            {
                tracepoints.AddRange(members.Take(parsed[i], tracepoints.Count + 1));
            }
        }

        members.Finish();
        _notes.AddRange(members.Notes);
        _leftOut.AddRange(members.LeftOut);
        return tracepoints.Count > 0 ? tracepoints : throw new TargetException("--except leaves no function to trace", "leave one of them out");
    }

    private Tracepoint Resolve(int id, TracepointRequest request)
    {
        if (request.Symbol is null)
        {
            return _image.Symbolizer.IsCode(request.Offset) && _image.Symbols.TryFindNearest(request.Offset, out ElfSymbol nearest)
                ? new Tracepoint(id, request, WithOffset(nearest.Name, request.Offset - nearest.Value), null, request.Offset, null)
                : throw new TargetException($"{request.Text} lies in no function of {_image.File.Path}", "give a link-time address of code, as in System.map");
        }

        if (request.ScopeIsSourceFile && int.TryParse(request.Symbol, NumberStyles.None, CultureInfo.InvariantCulture, out var line))
        {
            return AtLine(id, request, request.Scope!, line);
        }

        if (request is { Scope: { } scope, ScopeIsSourceFile: false })
        {
            return InModule(id, request, ModuleFiles.Normalize(scope), request.Symbol, null);
        }

        if (InKernel(id, request, request.Symbol, null) is { } direct)
        {
            return direct;
        }

        foreach (var successor in RenamedFunctions.SuccessorsOf(request.Symbol))
        {
            if (InKernel(id, request, successor, $"{request.Symbol} is {successor} in this kernel") is { } renamed)
            {
                return renamed;
            }
        }

        foreach (var name in RenamedFunctions.SuccessorsOf(request.Symbol).Prepend(request.Symbol))
        {
            switch (_modules.FindDefining(name))
            {
                case [var module]:
                    return InModule(id, request, module, name, name == request.Symbol ? null : $"{request.Symbol} is {name} in this kernel");
                case { Count: > 1 } several:
                    throw new TargetException(
                        $"'{name}' exists in {several.Count} modules:\n{string.Join("\n", several.Take(MaximumListed).Select(m => $"  {m}:{name}"))}{More(several.Count)}",
                        $"name one, as in -b {several[0]}:{name}");
            }
        }

        throw NotFound(request);
    }

    private Tracepoint? InKernel(int id, TracepointRequest request, string name, string? note)
    {
        var file = request.ScopeIsSourceFile ? request.Scope : null;
        var matches = _lookup.Find(name, file);
        if (matches.Count == 0)
        {
            return null;
        }

        if (matches.Count > 1)
        {
            var listed = string.Join("\n", matches.Take(MaximumListed).Select(m => $"  0x{m.Places[0].Address:x}  {m.File ?? "?"}:{name}{(m.EntryCount == 0 ? $" (inlined at {m.InlineCount})" : "")}"));
            var single = matches.FirstOrDefault(m => m.File is not null && matches.Count(other => other.File == m.File) == 1);
            throw new TargetException(
                $"'{request.Text}' exists {matches.Count} times in {_image.File.Path}:\n{listed}{More(matches.Count)}",
                single is null ? $"name one by its address, as in -b 0x{matches[0].Places[0].Address:x}" : $"name one, as in -b {single.File}:{name}");
        }

        var match = matches[0];
        var places = PlacesFor(request, match);
        var symbol = match.EntryCount == 0 && match.InlineCount == 0 && places.Length == 1 ? places[0].Symbol : name;
        return new Tracepoint(id, request, WithOffset(symbol, request.Offset), null, places, Join(note, match.Describe())) { Declaration = match.Declaration };
    }

    /// <summary>An offset counts from the function's own entry; copies and inline instances have other code behind theirs.</summary>
    private ImmutableArray<CodePlace> PlacesFor(TracepointRequest request, FunctionMatch match)
    {
        if (request.Offset == 0)
        {
            return match.Places.Length <= MaximumPlaces
                ? match.Places
                : throw new TargetException(
                    $"'{request.Text}' is at {match.Places.Length.ToString(CultureInfo.InvariantCulture)} places in {_image.File.Path} ({match.InlineCount.ToString(CultureInfo.InvariantCulture)} of them inlined); at most {MaximumPlaces} can be traced at once",
                    $"name a source file whose calls you want, as in -b {match.Places.FirstOrDefault(p => p.Kind == CodePlaceKind.Inline)?.File ?? "mm/slub.c"}:{match.Name}, or trace a function that it calls");
        }

        var entries = match.Places.RemoveAll(p => p.Kind != CodePlaceKind.Entry);
        foreach (var entry in entries)
        {
            if (_image.Symbols.TryFindNearest(entry.Address, out ElfSymbol symbol))
            {
                EnsureInside(request, symbol);
            }
        }

        return entries.Length == 1
            ? [entries[0] with { Address = entries[0].Address + request.Offset }]
            : throw new TargetException(
                $"'{request.Text}': {match.Name} has {(entries.IsEmpty ? "no code" : $"{entries.Length} pieces of code")} of its own for an offset to count from", $"-b {match.Name}");
    }

    private Tracepoint AtLine(int id, TracepointRequest request, string file, int line)
    {
        if (request.Offset != 0)
        {
            throw new TargetException($"'{request.Text}': a line takes no offset", $"-b {file}:{line}");
        }

        var matches = Exact(_lookup.FindLine(file, line));
        if (matches.Count == 1)
        {
            var note = Join(Moved(matches[0], line), matches[0].Places.Count > 1 ? $"{matches[0].File}:{matches[0].Line} is at {matches[0].Places.Count} places" : null);
            return matches[0].Places.Count <= MaximumPlaces
                ? new Tracepoint(id, request, $"{matches[0].File}:{matches[0].Line}", null, [.. matches[0].Places], note)
                : throw new TargetException($"'{request.Text}' is at {matches[0].Places.Count} places; at most {MaximumPlaces} can be traced at once", "trace a function that the line is inlined into");
        }

        if (matches.Count > 1)
        {
            throw Several(request, matches, line);
        }

        foreach (var (module, symbolizer) in _modules.Symbolizers())
        {
            if (Exact(new FunctionLookup(symbolizer).FindLine(file, line)) is { Count: > 0 } inModule)
            {
                return inModule.Count == 1
                    ? new Tracepoint(id, request, $"{inModule[0].File}:{inModule[0].Line}", module, [], Join(Moved(inModule[0], line), Waits($"{inModule[0].File}:{inModule[0].Line}", module)))
                    : throw Several(request, inModule, line);
            }
        }

        throw new TargetException(
            _image.HasDwarf ? $"no code at or behind line {line} of {file} in {_image.File.Path}{(_modules.IsEmpty ? "" : " or in the modules given")}" : $"{_image.File.Path} has no line tables (DWARF): a line cannot be found",
            "give a file that was compiled into this kernel, as in -b kernel/irq/manage.c:2100");
    }

    /// <summary>Of several files that the name means, those that have code at the very line, if there are any.</summary>
    private static IReadOnlyList<LineMatch> Exact(IReadOnlyList<LineMatch> matches) =>
        matches.Any(m => m.IsExact) ? [.. matches.Where(m => m.IsExact)] : matches;

    private static string? Moved(LineMatch match, int line) => match.IsExact ? null : $"line {line} of {match.File} has no code; the next that has is {match.Line}";

    private static TargetException Several(TracepointRequest request, IReadOnlyList<LineMatch> matches, int line) => new(
        $"'{request.Text}' is in {matches.Count} files:\n{string.Join("\n", matches.Take(MaximumListed).Select(m => $"  {m.File}:{line}"))}{More(matches.Count)}",
        $"name one, as in -b {matches[0].File}:{line}");

    private Tracepoint InModule(int id, TracepointRequest request, string module, string name, string? note)
    {
        var symbolizers = _modules.Symbolizers(module).Select(s => s.Symbolizer).ToList();
        if (symbolizers.Count == 0)
        {
            throw new TargetException(
                $"{request.Text}: no .ko file of module {module} is known",
                _modules.IsEmpty ? "--modules DIR tells where the modules and their debug files are" : $"if it is built into the kernel, leave the module out: -b {name}");
        }

        // The file with DWARF says most; the shipped one has the same symbols.
        var matches = symbolizers.Select(s => new FunctionLookup(s).Find(name)).OrderByDescending(m => m.Sum(f => f.Places.Length)).First();
        if (matches.Count == 0)
        {
            var near = symbolizers.SelectMany(s => new FunctionLookup(s).Suggest(name)).Distinct().Take(MaximumNear).ToList();
            throw new TargetException(
                $"module {module} has no function '{name}'{(near.Count == 0 ? "" : "; near names: " + string.Join(", ", near))}{WhyNoCode(name, _modules.Open(module, _ => { }))}",
                near.Count == 0 ? null : $"-b {module}:{near[0]}");
        }

        var match = matches[0];
        if (match.Places.Length > MaximumPlaces)
        {
            throw new TargetException($"'{request.Text}' is at {match.Places.Length} places in module {module}; at most {MaximumPlaces} can be traced at once", "trace a function that it calls");
        }

        if (request.Offset > 0 && symbolizers[0].Symbols.Find(name) is [var found, ..])
        {
            EnsureInside(request, found.Symbol);
        }

        return new Tracepoint(id, request, WithOffset(name, request.Offset), module, [], Join(Join(note, match.Describe()), Waits(name, module)));
    }

    private static string Waits(string what, string module) => $"{what} is in module {module}{Tracepoint.ArmedWhenLoaded}";

    private static string? Join(string? first, string? second) => first is null ? second : second is null ? first : $"{first}; {second}";

    private static void EnsureInside(TracepointRequest request, ElfSymbol symbol)
    {
        if (symbol.Size > 0 && request.Offset >= symbol.Size)
        {
            throw new TargetException($"'{request.Text}' lies behind {symbol.Name}, which has 0x{symbol.Size:x} bytes", null);
        }
    }

    private TargetException NotFound(TracepointRequest request)
    {
        var name = request.Symbol!;
        if (request.ScopeIsSourceFile && _lookup.Find(name) is [var found, ..])
        {
            return new TargetException($"no function '{name}' from {request.Scope} in {_image.File.Path}", found.File is null ? $"-b {name}" : $"-b {found.File}:{name}");
        }

        if (_image.Symbols.Find(name).Count > 0)
        {
            return new TargetException($"'{name}' is data, not code: a tracepoint is a place in code", "for example: -b request_threaded_irq");
        }

        var near = _lookup.Suggest(name, MaximumNear);
        return new TargetException(
            $"no function '{name}' in {_image.File.Path}{(_modules.IsEmpty ? "" : " or in the modules given")}{(near.Count == 0 ? "" : "; near names: " + string.Join(", ", near))}"
            + WhyNoCode(name, _modules.OpenAll().Prepend(_image.File)),
            near.Count == 0 ? $"a module's function is named MODULE:FUNCTION{(_modules.IsEmpty ? ", and --modules DIR tells where modules are" : "")}" : $"-b {near[0]}");
    }

    /// <summary>A name that DWARF has although nothing was compiled under it, not even inlined.</summary>
    private static string WhyNoCode(string name, IEnumerable<ElfFile> files)
    {
        var wanted = Encoding.UTF8.GetBytes("\0" + name + "\0");
        return files.Any(f => f.GetSection(".debug_str").Span.IndexOf(wanted) >= 0)
            ? $"\nthe debug information has the name '{name}', but no code: nothing calls it here, or the compiler computed it away; trace a caller"
            : "";
    }

    private static string More(int count) => count > MaximumListed ? $"\n  … and {count - MaximumListed} more" : "";

    private static string WithOffset(string name, ulong offset) => offset == 0 ? name : $"{name}+0x{offset:x}";
}
