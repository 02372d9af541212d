// Sites in the guest's code. Bytes are written through the stub, never through the RAM mapping: QEMU throws away what TCG has translated of them, and KVM's processors see them. All is done
// while the machine stands still. The tracer's no-op is one instruction, so no CPU can stand inside of it.
using System.Collections.Immutable;
using KTrace.Debugger.NonStop.Relocation;
using KTrace.Rsp;
using KTrace.Rsp.Commands;

namespace KTrace.Debugger.NonStop.Sites;

/// <summary>A site that is to be armed, and the bytes that lead from it to its trampoline.</summary>
/// <param name="Patch">As long as <see cref="NonStopSite.Original"/>.</param>
internal readonly record struct SitePatch(NonStopSite Site, ReadOnlyMemory<byte> Patch)
{
    /// <summary>The same function's other sites: its trampoline goes on through their programs.</summary>
    public ImmutableArray<NonStopSite> Others { get; init; } = [];

    private const byte Call = 0xe8;
    private const int CallLength = 5;

    /// <summary>A call of a trampoline over the tracer's no-op of five bytes.</summary>
    /// <exception cref="TargetException">The trampoline is out of reach.</exception>
    public static SitePatch OverNop(NonStopSite site, ulong trampoline)
    {
        var bytes = new byte[CallLength];
        bytes[0] = Call;
        BitConverter.TryWriteBytes(bytes.AsSpan(1), DistanceTo(site.Patch + CallLength, trampoline));
        return new SitePatch(site, bytes);
    }

    private static int DistanceTo(ulong from, ulong to)
    {
        var distance = (long)(to - from);
        return distance is >= int.MinValue and <= int.MaxValue || from <= uint.MaxValue
            ? (int)distance
            : throw new TargetException($"0x{from:x} is too far from the memory that was reserved for trampolines", "--stop records it with breakpoints");
    }
}

/// <summary>What is armed in the guest, and what was there before.</summary>
internal sealed class ArmedSites(Machine machine) : INonStopSites
{
    // Replies are a few bytes each: so many fit into the socket's buffer while the requests are still being sent.
    private const int Batch = 256;

    private readonly Dictionary<ulong, Armed> _byPatch = [];
    private readonly Dictionary<(ulong Return, uint Program), NonStopSite> _byRecord = [];

    private sealed class Armed(SitePatch patch)
    {
        public SitePatch Patch { get; } = patch;

        public bool IsWritten { get; set; }
    }

    /// <summary>Where first instructions were moved to, ascending; also of sites that were forgotten since: somebody may still be there.</summary>
    public List<RelocatedCode> Moved { get; } = [];

    /// <summary>Sites that lead to trampolines now.</summary>
    public int Count => _byPatch.Values.Count(s => s.IsWritten);

    /// <summary>Sites that do not: somebody else uses their places.</summary>
    public IEnumerable<NonStopSite> Left => _byPatch.Values.Where(s => !s.IsWritten).Select(s => s.Patch.Site);

    /// <summary>The site at an address whose code was replaced, or null.</summary>
    public NonStopSite? At(ulong patch) => _byPatch.TryGetValue(patch, out var armed) ? armed.Patch.Site : null;

    /// <summary>Also of sites that were forgotten since: their records may still be in the ring.</summary>
    public NonStopSite? Find(ulong returnAddress, uint program) => _byRecord.GetValueOrDefault((returnAddress, program));

    /// <summary>Arms sites whose bytes are as expected.</summary>
    /// <returns>The others: somebody else has changed their code (the kernel's own tracer, a kprobe), or it cannot be read.</returns>
    /// <exception cref="RspException">The stub broke, or refuses to write.</exception>
    public async Task<IReadOnlyList<NonStopSite>> ArmAsync(IReadOnlyList<SitePatch> patches, CancellationToken cancellationToken)
    {
        var refused = new List<NonStopSite>();
        var ready = new List<Armed>(patches.Count);
        foreach (var patch in patches)
        {
            if (!await HoldsAsync(patch.Site.Patch, patch.Site.Original.AsMemory(), cancellationToken))
            {
                refused.Add(patch.Site);
                continue;
            }

            var armed = new Armed(patch);
            _byPatch[patch.Site.Patch] = armed;
            foreach (var site in patch.Others.Prepend(patch.Site))
            {
                _byRecord[(site.Return, (uint)site.Program)] = site;
            }

            ready.Add(armed);
        }

        await WriteAsync(ready, isArmed: true, cancellationToken);
        return refused;
    }

    /// <summary>Puts the original bytes back, for now: the sites are kept. What somebody else has changed meanwhile is left alone.</summary>
    public async Task RestoreAsync(Func<NonStopSite, bool> which, CancellationToken cancellationToken)
    {
        var ours = new List<Armed>();
        foreach (var armed in _byPatch.Values.Where(s => s.IsWritten && which(s.Patch.Site)))
        {
            if (await HoldsAsync(armed.Patch.Site.Patch, armed.Patch.Patch, cancellationToken))
            {
                ours.Add(armed);
            }

            armed.IsWritten = false;
        }

        await WriteAsync(ours, isArmed: false, cancellationToken);
    }

    /// <summary>Arms again what was restored, where the original bytes are (again).</summary>
    /// <returns>How many are not armed: others have changed their code.</returns>
    public async Task<int> RearmAsync(Func<NonStopSite, bool> which, CancellationToken cancellationToken)
    {
        var ready = new List<Armed>();
        var others = 0;
        foreach (var armed in _byPatch.Values.Where(s => !s.IsWritten && which(s.Patch.Site)))
        {
            if (await HoldsAsync(armed.Patch.Site.Patch, armed.Patch.Site.Original.AsMemory(), cancellationToken))
            {
                ready.Add(armed);
            }
            else
            {
                others++;
            }
        }

        await WriteAsync(ready, isArmed: true, cancellationToken);
        return others;
    }

    /// <summary>Restores and forgets: the memory is about to be something else.</summary>
    /// <returns>Their <see cref="NonStopSite.Patch"/>.</returns>
    public async Task<IReadOnlyList<ulong>> ForgetAsync(Func<NonStopSite, bool> which, CancellationToken cancellationToken)
    {
        await RestoreAsync(which, cancellationToken);
        var gone = _byPatch.Where(s => which(s.Value.Patch.Site)).Select(s => s.Key).ToList();
        gone.ForEach(patch => _byPatch.Remove(patch));
        return gone;
    }

    private async ValueTask<bool> HoldsAsync(ulong address, ReadOnlyMemory<byte> expected, CancellationToken cancellationToken)
    {
        var bytes = new byte[expected.Length];
        return await machine.Memory.TryReadAsync(address, bytes, cancellationToken) && bytes.AsSpan().SequenceEqual(expected.Span);
    }

    private async Task WriteAsync(List<Armed> sites, bool isArmed, CancellationToken cancellationToken)
    {
        var commands = new RspCommand[Math.Min(Batch, sites.Count)];
        var outcomes = new RspOutcome[commands.Length];
        for (var first = 0; first < sites.Count; first += Batch)
        {
            var count = Math.Min(Batch, sites.Count - first);
            for (var i = 0; i < count; i++)
            {
                var site = sites[first + i].Patch;
                commands[i] = new WriteMemory(site.Site.Patch, isArmed ? site.Patch : site.Site.Original.AsMemory());
            }

            await machine.Client.SendBatchAsync(commands.AsMemory(0, count), outcomes.AsMemory(0, count), cancellationToken);
            for (var i = 0; i < count; i++)
            {
                sites[first + i].IsWritten = isArmed && outcomes[i].IsOk;
            }
        }
    }
}
