using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger;

/// <summary>Turns what a person asked for into places: in the kernel, or in a module that is yet to come.</summary>
public sealed class TracepointResolver(KernelImage image, ModuleFiles modules)
{
    private const int MaximumListed = 12;

    /// <summary>Resolves all requests before anything boots, so that a misspelt name costs no time.</summary>
    /// <exception cref="TargetException">A symbol does not exist (near names are offered) or exists several times (all are listed).</exception>
    public IReadOnlyList<Tracepoint> Resolve(IReadOnlyList<string> requests)
    {
        var tracepoints = new List<Tracepoint>();
        foreach (var text in requests)
        {
            tracepoints.Add(Resolve(tracepoints.Count + 1, TracepointRequest.Parse(text)));
        }

        return tracepoints;
    }

    private Tracepoint Resolve(int id, TracepointRequest request)
    {
        if (request.Symbol is null)
        {
            return image.Symbols.TryFindNearest(request.Offset, out ElfSymbol nearest)
                ? new Tracepoint(id, request, $"{nearest.Name}+0x{request.Offset - nearest.Value:x}", null, request.Offset, null)
                : throw new TargetException($"{request.Text} lies in no function of {image.File.Path}", "give a link-time address, as in System.map");
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
            if (modules.FindDefining(name) is { } module)
            {
                return InModule(id, request, module, name, name == request.Symbol ? null : $"{request.Symbol} is {name} in this kernel");
            }
        }

        throw NotFound(request);
    }

    private Tracepoint? InKernel(int id, TracepointRequest request, string name, string? note)
    {
        var matches = image.Symbols.Find(name).Where(m => IsCode(m.Symbol) && InScope(m.SourceFile, request)).DistinctBy(m => m.Symbol.Value).ToList();
        if (matches.Count == 0)
        {
            return null;
        }

        if (matches.Count > 1)
        {
            var listed = string.Join("\n", matches.Take(MaximumListed).Select(m => $"  0x{m.Symbol.Value:x}  {m.SourceFile ?? "?"}:{name}"));
            throw new TargetException(
                $"'{name}' exists {matches.Count} times in {image.File.Path}:\n{listed}",
                $"name one, as in -b {matches[0].SourceFile ?? "0x" + matches[0].Symbol.Value.ToString("x", null)}{(matches[0].SourceFile is null ? "" : ":" + name)}");
        }

        var symbol = matches[0].Symbol;
        return new Tracepoint(id, request, WithOffset(name, request.Offset), null, symbol.Value + request.Offset, note);
    }

    private Tracepoint InModule(int id, TracepointRequest request, string module, string name, string? note)
    {
        var waits = $"{name} is in module {module}; armed when it is loaded";
        return new Tracepoint(id, request, WithOffset(name, request.Offset), module, 0, note is null ? waits : $"{note}; {waits}");
    }

    private TargetException NotFound(TracepointRequest request)
    {
        var near = image.Symbols.Suggest(request.Symbol!, 5);
        var message = $"no function '{request.Symbol}' in {image.File.Path}{(modules.IsEmpty ? "" : " or in the modules given")}";
        return request.ScopeIsSourceFile && image.Symbols.Find(request.Symbol!).Any()
            ? new TargetException($"{message} from {request.Scope}", "leave out the file to see where it is defined")
            : new TargetException(
                near.Count == 0 ? message : $"{message}; near names: {string.Join(", ", near)}",
                near.Count == 0 ? "ktrace sym --vmlinux V NAME looks names up; a module's function is named MODULE:FUNCTION" : $"-b {near[0]}, or MODULE:{request.Symbol} for a module's function");
    }

    private static string WithOffset(string name, ulong offset) => offset == 0 ? name : $"{name}+0x{offset:x}";

    /// <summary>gcc's local labels and data are no places to stop at; assembly functions are often NOTYPE.</summary>
    private bool IsCode(ElfSymbol symbol) =>
        symbol.Type is ElfSymbol.TypeFunction or ElfSymbol.TypeNone
        && symbol.SectionIndex > 0 && symbol.SectionIndex < image.File.Sections.Length && image.File.Sections[symbol.SectionIndex].IsExecutable;

    private static bool InScope(string? sourceFile, TracepointRequest request) =>
        request.Scope is not { } scope
        || (sourceFile is not null && (sourceFile == Path.GetFileName(scope) || sourceFile.EndsWith("/" + scope, StringComparison.Ordinal) || sourceFile == scope));
}
