using System.Text;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;

namespace KTrace.Debugger;

/// <summary>Turns what a person asked for into places: in the kernel, or in a module that is yet to come.</summary>
public sealed class TracepointResolver(KernelImage image, ModuleFiles modules)
{
    private const int MaximumListed = 12;
    private const int MaximumNear = 5;

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
            return image.Symbolizer.IsCode(request.Offset) && image.Symbols.TryFindNearest(request.Offset, out ElfSymbol nearest)
                ? new Tracepoint(id, request, WithOffset(nearest.Name, request.Offset - nearest.Value), null, request.Offset, null)
                : throw new TargetException($"{request.Text} lies in no function of {image.File.Path}", "give a link-time address of code, as in System.map");
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
            switch (modules.FindDefining(name))
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
        var matches = image.Symbols.Find(name).Where(m => IsCode(m.Symbol)).DistinctBy(m => m.Symbol.Value)
            .Select(m => (m.Symbol, Files: FilesOf(m))).Where(m => request.Scope is null || m.Files.Any(f => IsFile(f, request.Scope))).ToList();
        if (matches.Count == 0)
        {
            return null;
        }

        if (matches.Count > 1)
        {
            var listed = string.Join("\n", matches.Take(MaximumListed).Select(m => $"  0x{m.Symbol.Value:x}  {m.Files.FirstOrDefault() ?? "?"}:{name}"));
            var single = matches.FirstOrDefault(m => m.Files.Any(f => matches.Count(other => other.Files.Any(o => IsFile(o, f))) == 1));
            throw new TargetException(
                $"'{request.Text}' exists {matches.Count} times in {image.File.Path}:\n{listed}{More(matches.Count)}",
                single.Symbol.Name is null ? $"name one by its address, as in -b 0x{matches[0].Symbol.Value:x}" : $"name one, as in -b {single.Files[0]}:{name}");
        }

        var symbol = matches[0].Symbol;
        EnsureInside(request, symbol);
        return new Tracepoint(id, request, WithOffset(name, request.Offset), null, symbol.Value + request.Offset, note);
    }

    private Tracepoint InModule(int id, TracepointRequest request, string module, string name, string? note)
    {
        var tables = modules.Open(module, _ => { }).Select(f => new ElfSymbolTable(f)).ToList();
        if (tables.Count == 0)
        {
            throw new TargetException(
                $"{request.Text}: no .ko file of module {module} is known",
                modules.IsEmpty ? "--modules DIR tells where the modules and their debug files are" : $"if it is built into the kernel, leave the module out: -b {name}");
        }

        if (tables.SelectMany(t => t.Find(name)).FirstOrDefault(m => m.Symbol.IsFunction) is not { } found)
        {
            var near = tables.SelectMany(t => t.Suggest(name, MaximumListed).Where(n => t.Find(n).Any(m => m.Symbol.IsFunction))).Distinct().Take(MaximumNear).ToList();
            throw new TargetException(
                $"module {module} has no function '{name}'{(near.Count == 0 ? "" : "; near names: " + string.Join(", ", near))}{WhyNoCode(name, modules.Open(module, _ => { }))}",
                near.Count == 0 ? null : $"-b {module}:{near[0]}");
        }

        EnsureInside(request, found.Symbol);
        var waits = $"{name} is in module {module}; armed when it is loaded";
        return new Tracepoint(id, request, WithOffset(name, request.Offset), module, 0, note is null ? waits : $"{note}; {waits}");
    }

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
        var elsewhere = image.Symbols.Find(name);
        if (request.ScopeIsSourceFile && elsewhere.FirstOrDefault(m => IsCode(m.Symbol)) is { } found)
        {
            var files = FilesOf(found);
            return new TargetException(
                $"no function '{name}' from {request.Scope} in {image.File.Path}", files.Count == 0 ? $"-b {name}" : $"-b {files[0]}:{name}");
        }

        if (elsewhere.Count > 0)
        {
            return new TargetException($"'{name}' is data, not code: a tracepoint is a place in code", "for example: -b request_threaded_irq");
        }

        var near = image.Symbols.Suggest(name, MaximumListed).Where(n => image.Symbols.Find(n).Any(m => IsCode(m.Symbol))).Take(MaximumNear).ToList();
        return new TargetException(
            $"no function '{name}' in {image.File.Path}{(modules.IsEmpty ? "" : " or in the modules given")}{(near.Count == 0 ? "" : "; near names: " + string.Join(", ", near))}"
            + WhyNoCode(name, modules.OpenAll().Prepend(image.File)),
            near.Count == 0 ? $"a module's function is named MODULE:FUNCTION{(modules.IsEmpty ? ", and --modules DIR tells where modules are" : "")}" : $"-b {near[0]}");
    }

    /// <summary>A name that DWARF has and the symbol table has not is most often a function without code of its own.</summary>
    private static string WhyNoCode(string name, IEnumerable<ElfFile> files)
    {
        var wanted = Encoding.UTF8.GetBytes("\0" + name + "\0");
        return files.Any(f => f.GetSection(".debug_str").Span.IndexOf(wanted) >= 0)
            ? $"\nthe debug information has the name '{name}', but no code was compiled under it: it was inlined wherever it is called; trace a caller"
            : "";
    }

    private static string More(int count) => count > MaximumListed ? $"\n  … and {count - MaximumListed} more" : "";

    private static string WithOffset(string name, ulong offset) => offset == 0 ? name : $"{name}+0x{offset:x}";

    /// <summary>gcc's local labels and data are no places to stop at; assembly functions are often NOTYPE.</summary>
    private bool IsCode(ElfSymbol symbol) =>
        symbol.Type is ElfSymbol.TypeFunction or ElfSymbol.TypeNone
        && symbol.SectionIndex > 0 && symbol.SectionIndex < image.File.Sections.Length && image.File.Sections[symbol.SectionIndex].IsExecutable;

    /// <summary>
    /// The source files by which a symbol may be called, the best one first: where DWARF says it is written, with its path; and for a static function the
    /// file that was compiled, as it may be written in a header that many include.
    /// </summary>
    private List<string> FilesOf(SymbolMatch match)
    {
        var files = new List<string>();
        var written = image.Symbolizer.FindFunctionAt(match.Symbol.Value)?.Declaration?.File ?? image.Symbolizer.Symbolize(match.Symbol.Value)[^1].Source?.File;
        if (written is not null)
        {
            files.Add(image.ShortPath(written));
        }

        if (match.SourceFile is { } compiled && (written is null || Path.GetFileName(written) != compiled))
        {
            files.Insert(0, compiled);
        }

        return files;
    }

    private static bool IsFile(string file, string wanted) =>
        file == wanted || file.EndsWith("/" + wanted, StringComparison.Ordinal);
}
