using KTrace.Debugger.Modules;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.Tracepoints;

/// <summary>The functions of the kernel, or of a module's files, and which of them the function tracer knows.</summary>
/// <param name="Module">Null for the kernel; a module lies at addresses of no meaning.</param>
internal sealed record ObjectFunctions(string? Module, FunctionTable Table, TraceableFunctions Traceable)
{
    /// <summary>The module as if it were loaded, at those addresses; null for the kernel.</summary>
    public KernelModule? Loaded { get; init; }

    /// <summary>The name by which a person asks for one function.</summary>
    public string Qualified(int index) => Module is null ? Table.SymbolOf(index) : $"{Module}:{Table.SymbolOf(index)}";
}

/// <summary>All objects whose functions may be asked for. Each is read when it is first asked for.</summary>
internal sealed class FunctionObjects(KernelImage image, ModuleFiles modules)
{
    // A module whose files are read before it is loaded lies somewhere; 0 would look like an address that is missing.
    private const ulong MadeUpBase = 0x1000_0000;

    private readonly Dictionary<string, ObjectFunctions?> _modules = new(StringComparer.Ordinal);
    private ObjectFunctions? _kernel;

    public KernelImage Image => image;

    public ModuleFiles Files => modules;

    public ObjectFunctions Kernel => _kernel ??= new ObjectFunctions(null, new FunctionTable(image.Symbolizer, image.ShortPath), TraceableFunctions.Of(image));

    /// <summary>Null when no file of the module is known.</summary>
    public ObjectFunctions? Module(string name)
    {
        name = ModuleFiles.Normalize(name);
        if (!_modules.TryGetValue(name, out var functions))
        {
            _modules[name] = functions = Read(name);
        }

        return functions;
    }

    private ObjectFunctions? Read(string name)
    {
        var files = modules.Open(name, _ => { });
        var sections = new Dictionary<string, ulong>(StringComparer.Ordinal);
        if (files.FirstOrDefault(f => f.FindSection(".debug_info") is { HasContents: true }) is not { } file)
        {
            if (files.Count == 0)
            {
                return null;
            }

            file = files[0];
        }

        var place = RelocatedSections.OneAfterTheOther(file);
        foreach (var section in file.Sections.Where(s => s.IsAllocated))
        {
            sections[section.Name] = MadeUpBase + place(section);
        }

        var module = KernelModule.Load(name, image.Architecture, sections, files);
        return module.Symbolizer is { } symbolizer ? new ObjectFunctions(name, new FunctionTable(symbolizer, image.ShortPath), TraceableFunctions.Of(module)) { Loaded = module } : null;
    }
}
