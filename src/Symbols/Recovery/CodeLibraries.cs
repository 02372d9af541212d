using System.Collections.Immutable;
using KTrace.Symbols.Kernel;

namespace KTrace.Symbols.Recovery;

/// <summary>The object that holds an address, and its place in memory.</summary>
internal readonly record struct FlowLibraryAt(FlowLibrary? Library, KernelMap? Slid)
{
    public bool IsKnown => Library is not null;

    public ulong ToObject(ulong runTime) => Slid?.ToLinkTime(runTime) ?? runTime;

    public ulong ToRunTime(ulong inObject) => Slid?.ToRunTime(inObject) ?? inObject;

    public FlowAnswer Ask(in FlowQuestion question) => Library!.Ask(in question);

    public ulong EntryOf(ulong address) => Library!.EntryOf(address);

    /// <summary>What a tail call passes on, in terms of what its function was entered with.</summary>
    public ImmutableArray<ValueRecipe> AskAtJump(ulong jump, int register, long offset) => Library?.AtJump(jump, register, offset) ?? [];
}

/// <summary>The flows of everything that is loaded. A module's go when it goes.</summary>
internal sealed class CodeLibraries(KernelMap map) : IDisposable
{
    private readonly Dictionary<RelocatedSections, FlowLibrary> _modules = [];
    private FlowLibrary? _kernel;

    public FlowLibraryAt At(ulong address)
    {
        if (map.ModuleAt(address) is { } module)
        {
            return module.Code is { } code ? new FlowLibraryAt(OfModule(module, code, address), null) : default;
        }

        _kernel ??= new FlowLibrary(CodeObject.OfFile(map.Image.File, map.Image.Symbols, map.Image.Architecture, map.Image.Symbolizer), ObjectsOf(address));
        return new FlowLibraryAt(_kernel, map);
    }

    public void Dispose()
    {
        _kernel?.Dispose();
        foreach (var library in _modules.Values)
        {
            library.Dispose();
        }

        _modules.Clear();
    }

    private Func<ulong, ImmutableArray<FrameObject>> ObjectsOf(ulong address) => new FrameObjects(map.Calls.At(address), map.Image.Architecture.StackPointer).At;

    private FlowLibrary OfModule(KernelModule module, RelocatedSections code, ulong address)
    {
        if (_modules.TryGetValue(code, out var library))
        {
            return library;
        }

        foreach (var old in _modules.Keys.Where(key => !map.Modules.Any(m => m.Code == key)).ToArray())
        {
            _modules.Remove(old, out var gone);
            gone?.Dispose();
        }

        library = new FlowLibrary(CodeObject.OfModule(code, map.Image.Architecture, module.Symbolizer), ObjectsOf(address));
        _modules.Add(code, library);
        return library;
    }
}
