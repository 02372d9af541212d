using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger;

/// <summary>Where a tracepoint is in a module that was loaded: known only then, as a module has no addresses before.</summary>
internal static class ModulePlaces
{
    /// <returns>Run-time places; empty when the module has not what is traced.</returns>
    public static IReadOnlyList<CodePlace> Of(Tracepoint tracepoint, KernelModule module)
    {
        if (tracepoint.Module is null)
        {
            return [];
        }

        var name = tracepoint.Symbol.Split('+')[0];
        var match = module.Symbols?.Find(name).Select(m => m.Symbol).FirstOrDefault(s => module.Text.Any(r => r.Contains(s.Value)));
        return match is { Name: not null } symbol ? [new CodePlace(symbol.Value + tracepoint.Request.Offset, CodePlaceKind.Entry, name, symbol.Name, null)] : [];
    }
}
