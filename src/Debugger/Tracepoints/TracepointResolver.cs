using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using KTrace.Debugger.Modules;
using KTrace.Symbols;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.Tracepoints;

/// <summary>Turns what a person asked for into places: in the kernel, or in a module that is yet to come.</summary>
public sealed class TracepointResolver
{
    /// <summary>
    /// Places of one tracepoint, and functions of one pattern. A stub stops the machine at each, and with 512 breakpoints QEMU took minutes for a boot of seconds.
    /// </summary>
    public const int MaximumPlaces = 256;

    private const int MaximumListed = 12;
    private const int MaximumNear = 5;

    private readonly KernelImage _image;
    private readonly ModuleFiles _modules;
    private readonly FunctionLookup _lookup;

    public TracepointResolver(KernelImage image, ModuleFiles modules)
    {
        _image = image;
        _modules = modules;
        _lookup = new FunctionLookup(image.Symbolizer, image.ShortPath);
    }

    /// <summary>Resolves all requests before anything boots, so that a misspelt name costs no time. A pattern becomes a tracepoint for each function.</summary>
    /// <exception cref="TargetException">A symbol does not exist (near names are offered), exists several times (all are listed), or is at too many places.</exception>
    public IReadOnlyList<Tracepoint> Resolve(IReadOnlyList<string> requests)
    {
        var tracepoints = new List<Tracepoint>();
        foreach (var text in requests)
        {
            var request = TracepointRequest.Parse(text);
            if (request.Symbol is { } symbol && NamePattern.IsPattern(symbol))
            {
                tracepoints.AddRange(ResolvePattern(tracepoints.Count + 1, request, symbol));
            }
            else
            {
                tracepoints.Add(Resolve(tracepoints.Count + 1, request));
            }
        }

        return tracepoints;
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

    /// <summary>Functions with code of their own; what was inlined everywhere is found by its whole name only.</summary>
    private List<Tracepoint> ResolvePattern(int id, TracepointRequest request, string text)
    {
        if (!NamePattern.TryParse(text, out var pattern, out var problem))
        {
            throw new TargetException(problem, null);
        }

        var found = new List<Tracepoint>();
        if (request is { Scope: { } scope, ScopeIsSourceFile: false })
        {
            var module = ModuleFiles.Normalize(scope);
            var names = _modules.Symbolizers(module).SelectMany(s => new FunctionLookup(s.Symbolizer).Names(pattern)).Distinct().ToList();
            EnsureFew(request, names.Count, names);
            found.AddRange(names.Select((name, i) => InModule(id + i, new TracepointRequest($"{scope}:{name}", scope, name, 0), module, name, null)));
        }
        else
        {
            var names = _lookup.Names(pattern);
            if (!request.ScopeIsSourceFile)
            {
                EnsureFew(request, names.Count, names);
            }

            foreach (var name in names)
            {
                foreach (var match in _lookup.Find(name, request.Scope, withInlined: false))
                {
                    EnsureFew(request, found.Count + 1, names);
                    var named = _lookup.Find(name, null, withInlined: false).Count > 1 && match.File is not null ? $"{match.File}:{name}" : name;
                    found.Add(new Tracepoint(id + found.Count, TracepointRequest.Parse(named), name, null, match.Places, match.Describe()) { Declaration = match.Declaration });
                }
            }
        }

        return found.Count > 0 ? found : throw new TargetException($"no function matches {request.Text}", "a pattern is a glob such as 'irq_*' or a regular expression such as '/^irq_(en|dis)able$/'");
    }

    private static void EnsureFew(TracepointRequest request, int count, IReadOnlyList<string> names)
    {
        if (count > MaximumPlaces)
        {
            throw new TargetException(
                $"{request.Text} matches {count} functions ({string.Join(", ", names.Take(3))}, …); at most {MaximumPlaces} can be traced at once", "make the pattern narrower");
        }
    }

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

    private static string Waits(string what, string module) => $"{what} is in module {module}; armed when it is loaded";

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
