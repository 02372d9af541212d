using KTrace.Symbols;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.Modules;

/// <summary>
/// The .ko files that may belong to the guest's modules: folders with shipped modules, and folders with their debug files. Names are compared as
/// the kernel does, with '-' and '_' alike.
/// </summary>
public sealed class ModuleFiles : IDisposable
{
    private static readonly string[] Suffixes = [".ko", ".ko.debug", ".ko.xz", ".ko.zst", ".ko.gz"];

    private readonly Dictionary<string, List<string>> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<string, List<Symbolizer>> _symbolizers = new(StringComparer.Ordinal);

    /// <param name="places">Folders (searched below) and single files; those that do not exist are passed over.</param>
    public ModuleFiles(IEnumerable<string> places)
    {
        foreach (var place in places)
        {
            IEnumerable<string> files = Directory.Exists(place)
                ? Directory.EnumerateFiles(place, "*.ko*", new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = 0, MaxRecursionDepth = 16 })
                : File.Exists(place) ? [place] : [];
            foreach (var file in files)
            {
                if (NameOf(file) is { } name)
                {
                    if (!_byName.TryGetValue(name, out var list))
                    {
                        _byName[name] = list = [];
                    }

                    list.Add(file);
                }
            }
        }
    }

    public bool IsEmpty => _byName.Count == 0;

    /// <summary>Names of the modules that have files.</summary>
    public IEnumerable<string> Names => _byName.Keys;

    /// <summary>Where the files of a module are; empty when there are none.</summary>
    public IReadOnlyList<string> PathsOf(string module) => _byName.GetValueOrDefault(Normalize(module)) ?? [];

    /// <summary>A module's name as the kernel has it.</summary>
    public static string Normalize(string name) => (name.EndsWith(".ko", StringComparison.Ordinal) ? name[..^3] : name).Replace('-', '_');

    /// <summary>Opens the files of one module; those that are broken are passed over and reported through <paramref name="complain"/>.</summary>
    public IReadOnlyList<ElfFile> Open(string module, Action<string> complain)
    {
        var opened = new List<ElfFile>();
        foreach (var path in _byName.GetValueOrDefault(Normalize(module)) ?? [])
        {
            try
            {
                var file = ObjectFile.OpenAsStored(path);
                if (file.IsRelocatable)
                {
                    opened.Add(file);
                }
            }
            catch (Exception e) when (e is MalformedFileException or IOException or UnauthorizedAccessException)
            {
                complain(e.Message);
            }
        }

        // Only the code: its debug information may be where distributions put it.
        if (opened.Count > 0 && opened.TrueForAll(f => f.FindSection(".debug_info") is not { HasContents: true }))
        {
            var debug = SeparateDebug.Find(opened[0]);
            foreach (var problem in debug.Problems)
            {
                complain(problem);
            }

            if (debug.File is { IsRelocatable: true } file)
            {
                opened.Add(file);
            }
        }

        return opened;
    }

    /// <summary>The modules that have a function of that name, by name: with code of its own, a copy, or inlined.</summary>
    public IReadOnlyList<string> FindDefining(string function) =>
        [.. Symbolizers().Where(m => new FunctionLookup(m.Symbolizer).Find(function).Count > 0).Select(m => m.Module).Distinct().Order(StringComparer.Ordinal)];

    /// <summary>Names of one module's files (of all modules when null), at addresses of no meaning: one section after the other from 0.</summary>
    public IEnumerable<(string Module, Symbolizer Symbolizer)> Symbolizers(string? module = null)
    {
        foreach (var name in module is null ? _byName.Keys.ToList() : [Normalize(module)])
        {
            if (!_symbolizers.TryGetValue(name, out var symbolizers))
            {
                _symbolizers[name] = symbolizers = [];
                foreach (var file in Open(name, _ => { }))
                {
                    try
                    {
                        symbolizers.Add(new Symbolizer(new RelocatedSections(file, RelocatedSections.OneAfterTheOther(file)), name));
                    }
                    catch (MalformedFileException)
                    {
                        // It is complained about when the module comes.
                    }
                }
            }

            foreach (var symbolizer in symbolizers)
            {
                yield return (name, symbolizer);
            }
        }
    }

    /// <summary>Every file that is one.</summary>
    public IEnumerable<ElfFile> OpenAll() => _byName.Keys.SelectMany(name => Open(name, _ => { }));

    /// <summary>Nothing is left behind: compressed modules are inflated into files without names.</summary>
    public void Dispose() => _symbolizers.Clear();

    private static string? NameOf(string path)
    {
        var file = Path.GetFileName(path);
        var suffix = Suffixes.FirstOrDefault(s => file.EndsWith(s, StringComparison.Ordinal));
        return suffix is null || file.Length == suffix.Length ? null : Normalize(file[..^suffix.Length]);
    }
}
