// The non-stop half of a recording, from the first moment of a boot to its end:
//   setup_arch       memory is reserved and mapped                                    ReservedMemory, NonStopMemory
//   ftrace_init      has run: what is traced without stops is armed, and breakpoints that stood in for it go
//   do_init_module   functions of the module that comes                               ArmModuleAsync
//   free_initmem     init text is forgotten
// Until the no-ops are there, a breakpoint stands in for each function, as long as they are few: a stub with hundreds of breakpoints crawls.
using System.Collections.Immutable;
using KTrace.Debugger.NonStop.Conditions;
using KTrace.Debugger.NonStop.Guest;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.NonStop.Trampolines;
using KTrace.Debugger.Tracepoints;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;

namespace KTrace.Debugger.NonStop;

/// <summary>What the owner of the trace does with the news of non-stop tracing.</summary>
internal interface INonStopProgress
{
    /// <summary>A tracepoint was armed, or is traced in another way now.</summary>
    void Changed(Tracepoint tracepoint);

    /// <summary>Something that a person should know.</summary>
    void Warn(string text);

    /// <summary>The ring is there: who takes its records.</summary>
    RingRecordTaker Begin(NonStopMemory memory, ProgramTable programs, INonStopSites sites);
}

/// <summary>Tracepoints without stops in one guest: when they can be armed, where they are, and who reads what they write.</summary>
internal sealed class NonStopTracing(
    KernelTarget target, IReadOnlyList<Tracepoint> tracepoints, ArmedTracepoints stops, WayPlanner planner, CaptureOptions options, INonStopProgress progress) : IDisposable
{
    /// <summary>So many breakpoints stand in for functions that are traced without stops later.</summary>
    public const int MaximumStandIns = TracepointResolver.MaximumPlaces;

    // What ftrace_init writes over a call of __fentry__ (arch/x86/include/asm/nops.h).
    private static readonly ImmutableArray<byte> Nop64 = [0x0f, 0x1f, 0x44, 0x00, 0x00], Nop32 = [0x3e, 0x8d, 0x74, 0x26, 0x00];

    private readonly NonStopMoments _moments = new(target.Machine, target.Map);
    private readonly ArmedSites _sites = new(target.Machine);

    // Of the kernel's places, made once; those of a module are made when it comes.
    private readonly List<(Tracepoint Tracepoint, CodePlace Place, PlannedPlace Plan)> _plans = [];
    private NonStopMemory? _memory;
    private ProgramTable? _programs;

    /// <summary>Functions that lead to trampolines now.</summary>
    public int Armed => _sites.Count;

    /// <summary>Reads the ring; null before there is one.</summary>
    public RingDrain? Drain { get; private set; }

    /// <summary>Counters of the ring; null before there is one.</summary>
    public RingReader? Reader => _memory?.Reader;

    /// <summary>Asked before the drain stops the guest because the ring fills up; called from its thread.</summary>
    public required Action PauseGuest { get; init; }

    public Func<bool> IsEnough { get; init; } = () => false;

    public Action Flush { get; init; } = () => { };

    private ImmutableArray<byte> NopBytes => target.Map.Image.Architecture.WordSize == 8 ? Nop64 : Nop32;

    /// <summary>Whether any tracepoint is to be traced without stops.</summary>
    private bool IsWanted => options.Choice != CaptureChoice.AlwaysStop && (_plans.Any(p => p.Plan.Way == CaptureWay.NonStop) || tracepoints.Any(t => t.Module is not null));

    /// <summary>Sets stops at the moments of the boot, and arms what needs breakpoints, now or until there are no-ops. Places in modules come with them.</summary>
    public async ValueTask ArmAsync(CancellationToken cancellationToken)
    {
        _plans.AddRange(tracepoints.SelectMany(t => t.Places.Select(p => (t, p, planner.Plan(t, p, null)))));
        foreach (var (tracepoint, _, plan) in _plans)
        {
            AddWay(tracepoint, plan);
        }

        var nonStop = _plans.Count(p => p.Plan.Way == CaptureWay.NonStop);
        foreach (var (tracepoint, place, plan) in _plans)
        {
            if (plan.Way == CaptureWay.Stop || nonStop <= MaximumStandIns)
            {
                await stops.ArmAsync(tracepoint, target.Map.ToRunTime(place.Address), place.Kind, null, cancellationToken);
            }
        }

        if (IsWanted)
        {
            await _moments.ArmAsync(cancellationToken);
        }

        if (nonStop > MaximumStandIns)
        {
            progress.Warn($"{nonStop} functions are traced from ftrace_init on; calls before it are not recorded");
        }
    }

    public bool IsMine(ulong pc) => _moments.IsMine(pc);

    /// <summary>The guest stands at an address that <see cref="IsMine"/>.</summary>
    public async ValueTask OnStopAsync(RegisterSet registers, CancellationToken cancellationToken)
    {
        switch (await _moments.OnStopAsync(registers, cancellationToken))
        {
            case BootMoment.MemoryMap:
                await BeginAsync(cancellationToken);
                break;
            case BootMoment.TracerReady when _memory is not null:
                if (tracepoints.Any(t => t.Request.Actions.Condition is not null))
                {
                    _programs!.View = await RamView.TryMapAsync(target, _memory.Layout, cancellationToken);
                }

                await ArmInAsync(null, _plans.Select(p => (p.Tracepoint, p.Place, target.Map.ToRunTime(p.Place.Address), p.Plan)), cancellationToken);
                break;
            case BootMoment.InitFreed:
                await _sites.ForgetAsync(site => site is { IsInit: true, Module: null }, cancellationToken);
                break;
        }
    }

    /// <summary>A module is about to run its init: arms what waited for it.</summary>
    /// <returns>What is armed there without stops.</returns>
    public async ValueTask ArmModuleAsync(KernelModule module, CancellationToken cancellationToken)
    {
        await _sites.ForgetAsync(site => module.Text.Any(r => r.Contains(site.Patch)), cancellationToken);
        if (_memory is not null)
        {
            var places = tracepoints.Where(t => t.Module == module.Name || t.IsInlined).SelectMany(t => ModulePlaces.Of(t, module).Select(p => (Tracepoint: t, Place: p)));
            await ArmInAsync(module, places.Select(p => (p.Tracepoint, p.Place, p.Place.Address, planner.Plan(p.Tracepoint, p.Place, module))), cancellationToken);
        }
        else
        {
            foreach (var tracepoint in (await stops.ArmInModuleAsync(module, tracepoints, cancellationToken)).Armed)
            {
                progress.Changed(tracepoint);
            }
        }
    }

    /// <summary>A module's init text is gone, or the whole module.</summary>
    public async ValueTask ForgetModuleAsync(string module, bool isInitOnly, CancellationToken cancellationToken) =>
        await _sites.ForgetAsync(site => site.Module == module && (site.IsInit || !isInitOnly), cancellationToken);

    /// <summary>Puts the guest's code back as it was; functions that were entered return through the trampolines that stay. The guest stands still.</summary>
    public async ValueTask RestoreAsync(CancellationToken cancellationToken)
    {
        _memory?.Reader.Close();
        await _sites.RestoreAsync(_ => true, cancellationToken);
    }

    public void Dispose()
    {
        Drain?.Dispose();
        _memory?.Dispose();
    }

    /// <summary>Reserves memory and maps it; where that fails, breakpoints remain.</summary>
    private async ValueTask BeginAsync(CancellationToken cancellationToken)
    {
        if (await TryBeginAsync(cancellationToken) is { } whyNot)
        {
            if (options.Choice == CaptureChoice.NeverStop || _plans.Count > MaximumStandIns)
            {
                throw new TargetException($"these functions cannot be traced without stops: {whyNot}", "trace fewer functions, with --stop, or give the guest more memory (--memory)");
            }

            planner.Refuse(whyNot);
            foreach (var tracepoint in tracepoints)
            {
                tracepoint.ForgetWay();
                tracepoint.AddWay(TracepointWay.Stop, whyNot);
                progress.Changed(tracepoint);
            }

            progress.Warn($"{whyNot}: tracepoints stop the machine");
        }
    }

    private async ValueTask<string?> TryBeginAsync(CancellationToken cancellationToken)
    {
        var machine = target.Machine;
        if (machine.Memory.Ram is not { } ram || await GuestTables.ModeAsync(machine, cancellationToken) is not { } mode || GuestTables.PageSizeOf(mode) is not { } page)
        {
            return "this machine's memory cannot be shared";
        }

        if (KernelOffsets.Find(target.Map) is not { } offsets)
        {
            return "the kernel's symbols and types do not tell who runs and where its stack is";
        }

        var ring = NonStopMemory.RingSizeFor(ReservedMemory.RamOf(ram), target.Map.Image.Architecture, page, options.RingBytes);
        if (ring == 0)
        {
            return "the guest has too little memory for a ring";
        }

        var (reserved, whyNot) = await ReservedMemory.TryReserveAsync(target, (2 * (ulong)page) + (ulong)ring, (ulong)page, cancellationToken);
        if (reserved is null)
        {
            return whyNot;
        }

        (_memory, whyNot) = await NonStopMemory.TryMapAsync(machine, reserved, page, ring, options.RingLimit, cancellationToken);
        if (_memory is null)
        {
            return whyNot;
        }

        _programs = new ProgramTable(offsets, _memory, options.StackBytes, options.Lossy);
        if (tracepoints.Any(t => t.Request.Actions.Return is not null))
        {
            _programs.RecordReturns();
        }

        Drain = new RingDrain(_memory.Reader, progress.Begin(_memory, _programs, _sites), _memory.Layout.RingLimit / 2, PauseGuest) { IsEnough = IsEnough, Flush = Flush };
        return null;
    }

    /// <summary>Arms what can be traced without stops; the rest keeps its breakpoints, or gets them.</summary>
    private async ValueTask ArmInAsync(KernelModule? module, IEnumerable<(Tracepoint Tracepoint, CodePlace Place, ulong Address, PlannedPlace Plan)> places, CancellationToken cancellationToken)
    {
        var waited = new HashSet<Tracepoint>();
        var sites = new Dictionary<ulong, (NonStopSite Site, ulong Trampoline, List<(Tracepoint Tracepoint, CodePlace Place)> Wanted)>();
        foreach (var (tracepoint, place, address, plan) in places)
        {
            if (tracepoint.Address is null)
            {
                waited.Add(tracepoint);
            }

            if (module is not null)
            {
                AddWay(tracepoint, plan);
            }

            if (plan is not { Way: CaptureWay.NonStop, Nop: { } nop })
            {
                await stops.ArmAsync(tracepoint, address, place.Kind, module?.Name, cancellationToken);
                continue;
            }

            var (program, trampoline) = _programs!.For(tracepoint.Request, plan.Needs?.Condition);
            var patch = address + (nop.Patch - nop.Entry);
            if (!sites.TryGetValue(patch, out var site))
            {
                var original = NopBytes;
                sites[patch] = site = (new NonStopSite(address, patch, patch + (ulong)original.Length, original, module?.Name) { Program = program.Index, IsInit = nop.IsInit }, trampoline, []);
            }

            if (site.Site.Program == program.Index)
            {
                site.Wanted.Add((tracepoint, place));
            }
            else
            {
                // A function has room for one trampoline.
                tracepoint.ForgetWay();
                tracepoint.AddWay(TracepointWay.Stop, "another tracepoint has a trampoline there");
                await stops.ArmAsync(tracepoint, address, place.Kind, module?.Name, cancellationToken);
            }
        }

        var patches = sites.Values.Select(s => SitePatch.OverNop(s.Site with { Tracepoints = [.. s.Wanted.Select(w => w.Tracepoint)] }, s.Trampoline)).ToList();
        var refused = (await _sites.ArmAsync(patches, cancellationToken)).Select(s => s.Patch).ToHashSet();
        foreach (var (site, _, wanted) in sites.Values)
        {
            foreach (var (tracepoint, place) in wanted)
            {
                if (refused.Contains(site.Patch))
                {
                    tracepoint.ForgetWay();
                    tracepoint.AddWay(TracepointWay.Stop, "its no-op is in use: the kernel's own tracer, or a probe");
                    await stops.ArmAsync(tracepoint, site.Entry, place.Kind, module?.Name, cancellationToken);
                }
                else
                {
                    await stops.DisarmAsync(tracepoint, site.Entry, cancellationToken);
                    tracepoint.SetArmed(site.Entry, place.Kind, module?.Name);
                }
            }
        }

        foreach (var tracepoint in waited.Where(t => t.Address is not null))
        {
            progress.Changed(tracepoint);
        }
    }

    private static void AddWay(Tracepoint tracepoint, PlannedPlace plan) =>
        tracepoint.AddWay(plan.Way == CaptureWay.NonStop ? TracepointWay.NonStop : TracepointWay.Stop, plan.Reason);
}
