using System.Globalization;
using System.Runtime.CompilerServices;
using KTrace.Symbols;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.Tracepoints;

/// <summary>Where a tracepoint is in a module that was loaded: known only then, as a module has no addresses before.</summary>
internal static class ModulePlaces
{
    // A set has hundreds of functions in one module: their names are read once.
    private static readonly ConditionalWeakTable<Symbolizer, FunctionTable> Tables = [];

    /// <returns>Run-time places; empty when the module has not what is traced.</returns>
    public static IReadOnlyList<CodePlace> Of(Tracepoint tracepoint, KernelModule module)
    {
        if (module.Symbolizer is not { } symbolizer)
        {
            return [];
        }

        var request = tracepoint.Request;
        if (request.IsGroup)
        {
            return Member(tracepoint, symbolizer) is { } member && IsLoaded(member) ? [member] : [];
        }

        var file = request.ScopeIsSourceFile ? request.Scope : null;
        var lookup = new FunctionLookup(symbolizer);
        if (file is not null && int.TryParse(request.Symbol, NumberStyles.None, CultureInfo.InvariantCulture, out var line))
        {
            return [.. lookup.FindLine(file, line).SelectMany(m => m.Places).Where(IsLoaded)];
        }

        var name = tracepoint.Symbol.Split('+')[0];
        var matches = lookup.Find(name, file);
        if (tracepoint.Module is null)
        {
            // The kernel's function, inlined here too; not another one that happens to have its name.
            matches = [.. matches.Where(m => m.Declaration is not null && m.Declaration == tracepoint.Declaration)];
        }

        return
        [
            .. matches.SelectMany(m => m.Places).Where(p => IsLoaded(p) && (request.Offset == 0 || p.Kind == CodePlaceKind.Entry))
                .Select(p => p with { Address = p.Address + request.Offset }),
        ];

        bool IsLoaded(CodePlace place) => module.Text.Any(r => r.Contains(place.Address));
    }

    private static CodePlace? Member(Tracepoint tracepoint, Symbolizer symbolizer)
    {
        var table = Tables.GetValue(symbolizer, s => new FunctionTable(s));
        lock (table)
        {
            return table.FindSymbol(tracepoint.Symbol, tracepoint.Ordinal) is var index and >= 0
                ? new CodePlace(table.AddressOf(index), table.IsClone(index) ? CodePlaceKind.Clone : CodePlaceKind.Entry, table.NameOf(index), tracepoint.Symbol, null)
                : null;
        }
    }
}
