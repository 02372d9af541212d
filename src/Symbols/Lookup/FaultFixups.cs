using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;

namespace KTrace.Symbols.Lookup;

/// <summary>
/// Where the kernel goes on after a fault that it expects (__ex_table: reads of user memory and the like), by run-time address. Nothing is read before the first question.
/// For one thread at a time, like its map.
/// </summary>
public sealed class FaultFixups(KernelMap map)
{
    private readonly Dictionary<Symbolizer, PatchSites> _sites = [];

    /// <summary>Where execution goes on when the instruction at an address faults; null where no fault is expected.</summary>
    public ulong? Find(ulong address)
    {
        if (map.ModuleAt(address) is not { } module)
        {
            return Of(map.Image.Symbolizer, () => CodeObject.OfFile(map.Image.File, map.Image.Symbols, map.Image.Architecture)).TryGetValue(map.ToLinkTime(address), out var inKernel)
                ? map.ToRunTime(inKernel.Target)
                : null;
        }

        return module is { Code: { } code, Symbolizer: { } symbolizer }
            && Of(symbolizer, () => CodeObject.OfModule(code, map.Image.Architecture, null)).TryGetValue(address, out var inModule)
            ? inModule.Target
            : null;
    }

    private Dictionary<ulong, ExceptionFixup> Of(Symbolizer symbolizer, Func<CodeObject> open)
    {
        if (!_sites.TryGetValue(symbolizer, out var sites))
        {
            _sites[symbolizer] = sites = open().Sites;
        }

        return sites.Fixups;
    }
}
