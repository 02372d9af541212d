using KTrace.Debugger.Breakpoints;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;

namespace KTrace.Debugger.Tracepoints;

/// <summary>Which tracepoints are armed where. Several may share an address; each owns its site, and the stub sees one breakpoint.</summary>
internal sealed class ArmedTracepoints(BreakpointSites sites, KernelMap map)
{
    private readonly Dictionary<ulong, List<Tracepoint>> _armed = [];

    public IReadOnlyList<Tracepoint> At(ulong address) => _armed.TryGetValue(address, out var here) ? here : [];

    /// <param name="module">The module that the address belongs to, or null.</param>
    public async ValueTask ArmAsync(Tracepoint tracepoint, ulong address, CodePlaceKind kind, string? module, CancellationToken cancellationToken)
    {
        await sites.AddAsync(new BreakpointSite(tracepoint.Kind, address), tracepoint, cancellationToken);
        if (!_armed.TryGetValue(address, out var here))
        {
            _armed[address] = here = [];
        }

        if (!here.Contains(tracepoint))
        {
            here.Add(tracepoint);
        }

        tracepoint.SetArmed(address, kind, module);
    }

    /// <summary>Arms all places of a tracepoint: in the kernel, and in the modules that are loaded.</summary>
    public async ValueTask ArmAsync(Tracepoint tracepoint, CancellationToken cancellationToken)
    {
        await ArmInKernelAsync(tracepoint, cancellationToken);
        foreach (var module in map.Modules)
        {
            await ArmInModuleAsync(module, [tracepoint], cancellationToken);
        }
    }

    /// <summary>Run-time addresses of a tracepoint's places: in the kernel, and in the modules that are loaded.</summary>
    public IEnumerable<ulong> AddressesOf(Tracepoint tracepoint) =>
        tracepoint.Places.Select(p => map.ToRunTime(p.Address))
            .Concat(map.Modules.Where(m => tracepoint.Module == m.Name || tracepoint.IsInlined).SelectMany(m => ModulePlaces.Of(tracepoint, m)).Select(p => p.Address));

    /// <summary>Takes a tracepoint away from wherever it is armed.</summary>
    public async ValueTask DisarmAsync(Tracepoint tracepoint, CancellationToken cancellationToken)
    {
        foreach (var address in tracepoint.Addresses.ToList())
        {
            await DisarmAsync(tracepoint, address, cancellationToken);
        }
    }

    /// <summary>Arms all places of a tracepoint that lie in the kernel.</summary>
    public async ValueTask ArmInKernelAsync(Tracepoint tracepoint, CancellationToken cancellationToken)
    {
        foreach (var place in tracepoint.Places)
        {
            await ArmAsync(tracepoint, map.ToRunTime(place.Address), place.Kind, null, cancellationToken);
        }
    }

    /// <summary>Arms what waited for this module, and forgets breakpoints of the same tracepoints in an earlier load of it.</summary>
    /// <returns>The tracepoints that were armed, and those whose symbol the module has not.</returns>
    public async ValueTask<(List<Tracepoint> Armed, List<Tracepoint> Missing)> ArmInModuleAsync(
        KernelModule module, IReadOnlyList<Tracepoint> all, CancellationToken cancellationToken)
    {
        var (armed, missing) = (new List<Tracepoint>(), new List<Tracepoint>());
        foreach (var tracepoint in all.Where(t => t.Module == module.Name || t.IsInlined))
        {
            foreach (var old in tracepoint.AddressesIn(module.Name))
            {
                await DisarmAsync(tracepoint, old, cancellationToken);
            }

            var places = ModulePlaces.Of(tracepoint, module);
            foreach (var place in places)
            {
                await ArmAsync(tracepoint, place.Address, place.Kind, module.Name, cancellationToken);
            }

            if (places.Count > 0)
            {
                armed.Add(tracepoint);
            }
            else if (tracepoint.Module is not null)
            {
                missing.Add(tracepoint);
            }
        }

        return (armed, missing);
    }

    /// <summary>Addresses that now belong to a new module: breakpoints of others there are breakpoints in freed text.</summary>
    public async ValueTask DisarmWithinAsync(KernelModule module, CancellationToken cancellationToken)
    {
        foreach (var address in _armed.Keys.Where(a => module.Text.Any(r => r.Contains(a))).ToList())
        {
            foreach (var tracepoint in _armed[address].ToList())
            {
                await DisarmAsync(tracepoint, address, cancellationToken);
            }
        }
    }

    /// <summary>A module was unloaded: tracepoints in it wait for it again.</summary>
    /// <returns>Those that were armed there.</returns>
    public async ValueTask<IReadOnlyList<Tracepoint>> DisarmInModuleAsync(
        string module, IReadOnlyList<Tracepoint> all, CancellationToken cancellationToken)
    {
        var waiting = new List<Tracepoint>();
        foreach (var tracepoint in all)
        {
            var addresses = tracepoint.AddressesIn(module);
            foreach (var address in addresses)
            {
                await DisarmAsync(tracepoint, address, cancellationToken);
            }

            if (addresses.Count > 0)
            {
                waiting.Add(tracepoint);
            }
        }

        return waiting;
    }

    /// <summary>Takes a tracepoint away from one address; nothing happens where it is not armed.</summary>
    public async ValueTask DisarmAsync(Tracepoint tracepoint, ulong address, CancellationToken cancellationToken)
    {
        if (!_armed.TryGetValue(address, out var here) || !here.Remove(tracepoint))
        {
            return;
        }

        tracepoint.SetDisarmed(address);
        if (here.Count == 0)
        {
            _armed.Remove(address);
        }

        await sites.RemoveAsync(new BreakpointSite(tracepoint.Kind, address), tracepoint, cancellationToken);
    }

    /// <summary>A function that was entered will return here.</summary>
    public ValueTask ArmReturnAsync(ulong address, CancellationToken cancellationToken) =>
        sites.AddAsync(BreakpointSite.Code(address), this, cancellationToken);

    /// <summary>Nobody waits for a return here any more.</summary>
    public ValueTask DisarmReturnAsync(ulong address, CancellationToken cancellationToken) =>
        sites.RemoveAsync(BreakpointSite.Code(address), this, cancellationToken);
}
