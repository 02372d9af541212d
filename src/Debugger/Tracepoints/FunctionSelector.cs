using KTrace.Debugger.Modules;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.Tracepoints;

/// <summary>A function of the kernel or of a module's files.</summary>
internal readonly record struct SelectedFunction(ObjectFunctions Object, int Index)
{
    public string Symbol => Object.Table.SymbolOf(Index);

    public ulong Address => Object.Table.AddressOf(Index);
}

/// <summary>The functions that a pattern or a set means: entries of functions only, each address once.</summary>
internal sealed class FunctionSelector(FunctionObjects objects)
{
    /// <summary>So many modules are opened for a pattern of source files: each costs some milliseconds.</summary>
    private const int MaximumModules = 64;

    private const int MaximumNear = 5;

    /// <summary>Sorted by symbol, those of the kernel first. Not empty.</summary>
    /// <exception cref="TargetException">The pattern is none, or nothing matches: with what was probably meant.</exception>
    public IReadOnlyList<SelectedFunction> Select(TracepointRequest request)
    {
        var found = request.Kind switch
        {
            RequestKind.Names => ByName(request),
            RequestKind.Files => ByFile(request),
            _ => OfSet(request),
        };
        found.Sort((a, b) => a.Object == b.Object
            ? string.CompareOrdinal(a.Symbol, b.Symbol) is var order and not 0 ? order : a.Index.CompareTo(b.Index)
            : string.CompareOrdinal(a.Object.Module, b.Object.Module));
        return found;
    }

    private List<SelectedFunction> ByName(TracepointRequest request)
    {
        var pattern = Pattern(request.Symbol!);
        if (request is { Scope: { } scope, ScopeIsSourceFile: false })
        {
            var module = Module(request, scope);
            var functions = Of(module, module.Table.Named(pattern));
            return functions.Count > 0 ? functions : throw new TargetException(
                $"no function of module {module.Module} matches {request.Text}", $"-b @module:{module.Module} takes all {module.Table.Count} of its functions");
        }

        var kernel = objects.Kernel;
        var named = kernel.Table.Named(pattern);
        var inFile = request.Scope is { } file ? new HashSet<int>(kernel.Table.From(Pattern(file.Contains('/') ? "*" + file : file))) : null;
        var found = Of(kernel, inFile is null ? named : named.Where(inFile.Contains));
        return found.Count > 0 ? found : throw Nothing(
            request, "no function matches {0}" + (objects.Files.IsEmpty ? "" : " (of modules only those that are named, as in 'e1000e:*')"),
            request.Scope is { } scoped ? kernel.Table.Files().Where(f => f.EndsWith(".c", StringComparison.Ordinal)) : null,
            request.Scope ?? "", "a pattern is a glob such as 'irq_*' or a regular expression such as '/^irq_(en|dis)able$/'");
    }

    private List<SelectedFunction> ByFile(TracepointRequest request)
    {
        var pattern = Pattern(request.Symbol!);
        if (!objects.Image.HasDwarf)
        {
            throw new TargetException($"{request.Text}: {objects.Image.File.Path} has no DWARF that tells which function comes from which file", "name functions, as in 'irq_*', or a module, as in @module:e1000e");
        }

        var found = Of(objects.Kernel, objects.Kernel.Table.From(pattern));
        foreach (var module in ModulesFor(request))
        {
            found.AddRange(Of(module, module.Table.From(pattern)));
        }

        if (found.Count > 0)
        {
            return found;
        }

        var files = objects.Kernel.Table.Files();
        throw Nothing(
            request, "no function comes from {0}", files.Concat(files.Select(f => f[..(f.LastIndexOf('/') + 1)] + "*")).Concat(ModuleFolders().Select(f => f + "/*")),
            request.Symbol!, "paths count from the top of the kernel's source, as in '@kernel/irq/*'; modules are looked for where their .ko files lie");
    }

    private List<SelectedFunction> OfSet(TracepointRequest request)
    {
        if (ReadySets.Find(request.Symbol!) is not { } set)
        {
            var near = NearWords.Of(request.Symbol!, ReadySets.All.Select(s => s.Name)).Select(s => "@" + s).ToList();
            var isModule = objects.Files.PathsOf(request.Symbol!).Count > 0;
            throw new TargetException(
                $"there is no set {request.Text}; there are {string.Join(", ", ReadySets.All.Select(s => "@" + s.Name))}",
                isModule ? $"-b @module:{request.Symbol} takes all functions of that module" : near.Count > 0 ? "-b " + near[0] : "source files have a slash or a star: -b '@kernel/irq/*'");
        }

        var kernel = objects.Kernel;
        var chosen = new SortedSet<int>();
        foreach (var member in set.Members)
        {
            chosen.UnionWith(member[0] == '@' ? kernel.Table.From(Pattern(member[1..])) : kernel.Table.Named(Pattern(member)));
        }

        if (set.HasInitcalls)
        {
            chosen.UnionWith(InitcallTable.Read(objects.Image).Select(kernel.Table.Find).Where(i => i >= 0));
        }

        return chosen.Count > 0 ? Of(kernel, chosen) : throw new TargetException(
            $"{request.Text} ({set.Meaning}): {objects.Image.File.Path} has none of its functions", objects.Image.HasDwarf ? null : "without DWARF nothing tells which function comes from which file: name functions, as in 'irq_*'");
    }

    private ObjectFunctions Module(TracepointRequest request, string scope)
    {
        if (objects.Module(scope) is { } module)
        {
            return module;
        }

        var name = ModuleFiles.Normalize(scope);
        var near = NearWords.Of(name, objects.Files.Names, MaximumNear);
        throw new TargetException(
            $"{request.Text}: no .ko file of module {name} is known{(near.Count == 0 ? "" : "; near names: " + string.Join(", ", near))}",
            objects.Files.IsEmpty ? "--modules DIR tells where the modules and their debug files are" : near.Count > 0 ? $"-b @module:{near[0]}" : "if it is built into the kernel, name its files, as in '@drivers/net/*'");
    }

    /// <summary>
    /// Modules whose .ko lies in the folder that the pattern begins with, or below, as the folders of modules are those of their sources; where there is none, those beside it: some modules
    /// are made of several folders.
    /// </summary>
    private IEnumerable<ObjectFunctions> ModulesFor(TracepointRequest request)
    {
        var text = request.Symbol!;
        var wild = text.AsSpan().IndexOfAny('*', '?');
        var end = text.LastIndexOf('/', wild < 0 ? text.Length - 1 : Math.Max(wild - 1, 0));
        if (end <= 0 || text[0] == '/')
        {
            return [];
        }

        var folder = text[..end];
        var names = In(folder);
        if (names.Count == 0 && folder.LastIndexOf('/') is var up and > 0 && folder.IndexOf('/') < up)
        {
            names = In(folder[..up]);
        }

        return names.Count <= MaximumModules
            ? names.Order(StringComparer.Ordinal).Select(objects.Module).OfType<ObjectFunctions>()
            : throw new TargetException($"{request.Text}: {names.Count} modules lie in {folder}; at most {MaximumModules} can be traced by their files at once", "make the pattern narrower, or name modules: -b @module:e1000e");

        List<string> In(string inFolder) => [.. objects.Files.Names.Where(n => objects.Files.PathsOf(n).Any(p => p.Contains("/" + inFolder + "/", StringComparison.Ordinal)))];
    }

    private IEnumerable<string> ModuleFolders()
    {
        const string Kernel = "/kernel/";
        return objects.Files.Names.SelectMany(objects.Files.PathsOf).Select(p => Path.GetDirectoryName(p) ?? "").Distinct()
            .Select(p => p.IndexOf(Kernel, StringComparison.Ordinal) is var at and >= 0 ? p[(at + Kernel.Length)..] : "").Where(p => p.Length > 0);
    }

    private static TargetException Nothing(TracepointRequest request, string message, IEnumerable<string>? candidates, string wanted, string otherwise)
    {
        var near = candidates is null ? [] : NearWords.Of(wanted, candidates, MaximumNear);
        return new TargetException(
            message.Replace("{0}", request.Text, StringComparison.Ordinal) + (near.Count == 0 ? "" : "; near: " + string.Join(", ", near)),
            near.Count > 0 && request.Kind == RequestKind.Files ? $"-b '@{near[0]}'" : otherwise);
    }

    private static NamePattern Pattern(string text) => NamePattern.TryParse(text, out var pattern, out var problem) ? pattern : throw new TargetException(problem, "a pattern is a glob such as 'irq_*' or a regular expression such as '/^irq_(en|dis)able$/'");

    private static List<SelectedFunction> Of(ObjectFunctions of, IEnumerable<int> indexes) => [.. indexes.Select(i => new SelectedFunction(of, i))];
}
