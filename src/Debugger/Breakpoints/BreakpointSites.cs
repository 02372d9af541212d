// What the stub was told to stop at. Breakpoints of a person, tracepoints, steps and KTrace's own needs (modules) may all want the same address: the stub sees
// one, which stays until the last of them lets go. QEMU takes inserting twice, but removing what is not there is E22.
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Arch;

namespace KTrace.Debugger.Breakpoints;

/// <param name="Length">Bytes watched; 1 for breakpoints.</param>
public readonly record struct BreakpointSite(BreakpointKind Kind, ulong Address, int Length = 1)
{
    public static BreakpointSite Code(ulong address) => new(BreakpointKind.Software, address);

    public bool IsWatchpoint => Kind is BreakpointKind.WriteWatchpoint or BreakpointKind.ReadWatchpoint or BreakpointKind.AccessWatchpoint;
}

/// <summary>Breakpoints and watchpoints in the stub, each with who wants it.</summary>
public sealed class BreakpointSites(RspClient client, Architecture architecture)
{
    private readonly Dictionary<BreakpointSite, List<object>> _owners = [];

    /// <summary>How code breakpoints are set: hardware where guest memory must not change or is not there yet (KVM before the kernel is loaded), software otherwise.</summary>
    public BreakpointKind CodeKind { get; set; } = BreakpointKind.Software;

    /// <summary>All that is set.</summary>
    public IReadOnlyCollection<BreakpointSite> All => _owners.Keys;

    /// <summary>Whether a code breakpoint is set at an address.</summary>
    public bool IsCodeSet(ulong address) => _owners.ContainsKey(Code(address, BreakpointKind.Software)) || _owners.ContainsKey(Code(address, BreakpointKind.Hardware));

    /// <summary>Sets a site for this owner; setting it twice for one owner is the same as once.</summary>
    /// <exception cref="RspException">The stub refuses (ErrorReply) or does not know (Unsupported) this kind.</exception>
    public async ValueTask AddAsync(BreakpointSite site, object owner, CancellationToken cancellationToken)
    {
        site = Normal(site);
        if (!_owners.TryGetValue(site, out var owners))
        {
            await client.SendAsync(new InsertBreakpoint(site.Kind, site.Address, site.Length), cancellationToken);
            _owners[site] = owners = [];
        }

        if (!owners.Contains(owner))
        {
            owners.Add(owner);
        }
    }

    /// <summary>This owner wants it no more; the last one removes it from the stub.</summary>
    public async ValueTask RemoveAsync(BreakpointSite site, object owner, CancellationToken cancellationToken)
    {
        site = AsSet(Normal(site), owner);
        if (_owners.TryGetValue(site, out var owners) && owners.Remove(owner) && owners.Count == 0)
        {
            _owners.Remove(site);
            await client.SendAsync(new RemoveBreakpoint(site.Kind, site.Address, site.Length), cancellationToken);
        }
    }

    /// <summary>
    /// Takes the code breakpoints at an address out of the stub for a moment, or puts them back: for stubs that cannot step past one (<see cref="StubProfile.StepsPastBreakpoints"/>).
    /// </summary>
    internal async ValueTask SuspendAsync(ulong address, bool isSuspended, CancellationToken cancellationToken)
    {
        foreach (var kind in (BreakpointKind[])[BreakpointKind.Software, BreakpointKind.Hardware])
        {
            var site = Code(address, kind);
            if (_owners.ContainsKey(site))
            {
                await client.SendAsync(
                    isSuspended ? new RemoveBreakpoint(site.Kind, site.Address, site.Length) : new InsertBreakpoint(site.Kind, site.Address, site.Length), cancellationToken);
            }
        }
    }

    /// <summary>Removes all from the stub, for detaching. What the stub refuses to remove is left.</summary>
    public async ValueTask RemoveAllAsync(CancellationToken cancellationToken)
    {
        var all = _owners.Keys.ToArray();
        _owners.Clear();
        foreach (var site in all)
        {
            try
            {
                await client.SendAsync(new RemoveBreakpoint(site.Kind, site.Address, site.Length), cancellationToken);
            }
            catch (RspException e) when (e.Kind is RspErrorKind.ErrorReply or RspErrorKind.Unsupported)
            {
                // The rest is to go all the same.
            }
        }
    }

    private BreakpointSite Code(ulong address, BreakpointKind kind) => new(kind, Truncated(address));

    /// <summary>As it was set: perhaps while code breakpoints were of the other kind.</summary>
    private BreakpointSite AsSet(BreakpointSite site, object owner)
    {
        var other = site with { Kind = site.Kind == BreakpointKind.Software ? BreakpointKind.Hardware : BreakpointKind.Software };
        return !site.IsWatchpoint && !HasOwner(site, owner) && HasOwner(other, owner) ? other : site;
    }

    private bool HasOwner(BreakpointSite site, object owner) => _owners.TryGetValue(site, out var owners) && owners.Contains(owner);

    private BreakpointSite Normal(BreakpointSite site) => site with
    {
        Kind = site.Kind == BreakpointKind.Software ? CodeKind : site.Kind,
        Address = Truncated(site.Address),
    };

    private ulong Truncated(ulong address) => architecture.WordSize == 4 ? (uint)address : address;
}
