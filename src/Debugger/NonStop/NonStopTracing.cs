// The non-stop half of a recording, from the first moment of a boot to its end:
//   setup_arch       memory is reserved and mapped (i386 without PAE: mapped in poking_init)   ReservedMemory, NonStopMemory
//                    functions without the tracer's no-op get their first instructions moved: one CPU runs, with interrupts off since reset, so that nobody stands in them
//                    what will have the no-op is armed in place of its call of __fentry__, which does nothing yet
//   ftrace_init      is entered: those calls are put back, as it compares them before it writes; it has run: what has the no-op is armed
//   do_init_module   functions of the module that comes                               ArmModuleAsync
//   the kernel patches no-ops itself, frees its init text                             FtraceHandOver
// Before and within ftrace_init a breakpoint stands in for each function, as long as they are few: a stub with hundreds of breakpoints crawls. Hence the calls of __fentry__: between setup_arch and ftrace_init memory
// management is set up, and a function like _raw_spin_lock is called tens of thousands of times.
using System.Diagnostics;
using System.Globalization;
using KTrace.Debugger.NonStop.Coexistence;
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

    /// <summary>Something that is as it should be.</summary>
    void Note(string text);

    /// <summary>The ring is there: who takes its records.</summary>
    RingRecordTaker Begin(NonStopMemory memory, ProgramTable programs, ArmedSites sites);
}

/// <summary>Tracepoints without stops in one guest: when they can be armed, where they are, and who reads what they write.</summary>
internal sealed class NonStopTracing(
    KernelTarget target, IReadOnlyList<Tracepoint> tracepoints, ArmedTracepoints stops, WayPlanner planner, CaptureOptions options, RequestCounts counts,
    INonStopProgress progress) : IDisposable
{
    /// <summary>So many breakpoints stand in for functions that are traced without stops later.</summary>
    public const int MaximumStandIns = TracepointResolver.MaximumPlaces;

    private readonly NonStopMoments _moments = new(target.Machine, target.Map);
    private readonly ArmedSites _sites = new(target.Machine);

    // Of the kernel's places, made once; those of a module are made when it comes.
    private readonly List<(Tracepoint Tracepoint, CodePlace Place, PlannedPlace Plan)> _plans = [];
    private ReservedMemory? _reserved;
    private NonStopMemory? _memory;
    private ProgramTable? _programs;
    private UnfinishedRecords? _unfinished;
    private FtraceHandOver? _handOver;
    private int _leftToKernel;

    // Armed for the second time when the no-ops are there.
    private readonly HashSet<ulong> _givenBack = [];

    // Few enough for breakpoints to stand in for them.
    private bool _isFew;

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
        _isFew = nonStop <= MaximumStandIns;
        foreach (var (tracepoint, place, plan) in _plans)
        {
            if (plan.Way == CaptureWay.Stop || _isFew)
            {
                await stops.ArmAsync(tracepoint, target.Map.ToRunTime(place.Address), place.Kind, null, cancellationToken);
            }
        }

        if (IsWanted)
        {
            await _moments.ArmAsync(cancellationToken);
        }

        if (!_isFew)
        {
            progress.Warn($"{nonStop} functions are traced from setup_arch on; calls before it are not recorded{(_plans.Any(p => p.Plan.Nop is not null) ? ", nor those within ftrace_init" : "")}");
        }
    }

    public bool IsMine(ulong pc) => _moments.IsMine(pc) || _handOver?.IsMine(pc) == true;

    /// <summary>The guest stands at an address that <see cref="IsMine"/>.</summary>
    public async ValueTask OnStopAsync(RegisterSet registers, CancellationToken cancellationToken)
    {
        if (_handOver?.IsMine(registers.ProgramCounter) == true && await _handOver.OnStopAsync(registers, cancellationToken) is HandOverEvent.Rearmed rearmed)
        {
            TellLeft(rearmed.LeftToKernel);
        }

        switch (await _moments.OnStopAsync(registers, cancellationToken))
        {
            case BootMoment.MemoryMap:
                await ReserveAsync(cancellationToken);
                break;
            case BootMoment.LargePages when await GuestTables.ModeAsync(target.Machine, cancellationToken) is { } mode && GuestTables.PageSizeOf(mode) is { } page:
                await BeginAsync(page, cancellationToken);
                break;
            case BootMoment.LargePages:
                GiveUp("the guest's CPUs have no large pages");
                break;
            case BootMoment.TracerBegins when _memory is not null:
                await GiveCallsBackAsync(cancellationToken);
                break;
            case BootMoment.TracerReady when _memory is not null:
                await MapViewAsync(cancellationToken);
                await ArmKernelAsync(p => p.Relocation is null, cancellationToken);
                break;
        }
    }

    /// <summary>The kernel finds its calls of __fentry__ as it left them; breakpoints stand in until they are no-ops.</summary>
    private async ValueTask GiveCallsBackAsync(CancellationToken cancellationToken)
    {
        _givenBack.UnionWith(await _sites.ForgetAsync(site => site is { IsTracers: true, Module: null }, cancellationToken));
        foreach (var (tracepoint, place, plan) in _isFew ? _plans.Where(p => IsArmedEarly(p.Plan)) : [])
        {
            await stops.ArmAsync(tracepoint, target.Map.ToRunTime(place.Address), place.Kind, null, cancellationToken);
        }
    }

    /// <summary>What conditions look at is mapped when the kernel's own maps are complete, after its tracer is set up.</summary>
    private static bool IsArmedEarly(PlannedPlace plan) => plan is { Way: CaptureWay.NonStop, Nop: not null, Needs: { } needs } && needs.Condition is not { NeedsView: true };

    /// <summary>What conditions look at memory through; the kernel's own maps are complete by now.</summary>
    private async ValueTask MapViewAsync(CancellationToken cancellationToken)
    {
        if (tracepoints.Any(t => t.Request.Actions.Condition is not null))
        {
            _programs!.View = await RamView.TryMapAsync(target, _memory!.Layout, cancellationToken);
        }
    }

    private ValueTask ArmKernelAsync(Func<PlannedPlace, bool> which, CancellationToken cancellationToken) =>
        ArmInAsync(null, _plans.Where(p => which(p.Plan)).Select(p => (p.Tracepoint, p.Place, target.Map.ToRunTime(p.Place.Address), p.Plan)), cancellationToken);

    /// <summary>Says which functions the kernel's own tracer uses, when that has changed.</summary>
    private void TellLeft(int count)
    {
        if (count == _leftToKernel)
        {
            return;
        }

        const int named = 5;
        _leftToKernel = count;
        var names = string.Join(", ", _sites.Left.Take(named).Select(s => target.Map.NameOf(s.Entry))) + (count > named ? ", …" : "");
        progress.Warn(count == 0
            ? "the kernel's own tracer or probes have given all functions back: their calls are recorded again"
            : $"the kernel's own tracer or probes use {count} of the traced functions ({names}): their calls are not recorded until they are given back");
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

    /// <summary>A module's init text is gone, or the whole module: its tracepoints wait for it again.</summary>
    public async ValueTask ForgetModuleAsync(string module, bool isInitOnly, CancellationToken cancellationToken)
    {
        await _sites.ForgetAsync(site => site.Module == module && (site.IsInit || !isInitOnly), cancellationToken);
        foreach (var tracepoint in isInitOnly ? [] : tracepoints.Where(t => t.AddressesIn(module).Count > 0))
        {
            // Those with breakpoints are taken away by who has set them.
            foreach (var address in tracepoint.AddressesIn(module).Where(a => !stops.At(a).Contains(tracepoint)))
            {
                tracepoint.SetDisarmed(address);
            }

            progress.Changed(tracepoint);
        }
    }

    /// <summary>Puts the guest's code back as it was; functions that were entered return through the trampolines that stay. The guest stands still.</summary>
    public async ValueTask RestoreAsync(CancellationToken cancellationToken)
    {
        _memory?.Reader.Close();
        await _moments.DisarmAsync(cancellationToken);
        await (_handOver?.DisarmAsync(cancellationToken) ?? ValueTask.CompletedTask);
        await _sites.RestoreAsync(_ => true, cancellationToken);
    }

    /// <summary>The guest stands still: everything that has its place in the ring is read, records too that CPUs were writing.</summary>
    /// <exception cref="TargetException">The ring was written over.</exception>
    public async ValueTask SettleAsync(CancellationToken cancellationToken)
    {
        if (_unfinished is { } unfinished && Drain is { Failure: null } drain && !IsEnough())
        {
            await unfinished.FinishAsync(drain.GuestStopped, cancellationToken);
        }
    }

    public void Dispose()
    {
        Drain?.Dispose();
        _memory?.Dispose();
    }

    /// <summary>Why there is no tracing without stops: breakpoints remain.</summary>
    private void GiveUp(string whyNot)
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

    /// <summary>Reserves memory, and maps it as soon as there are large pages.</summary>
    private async ValueTask ReserveAsync(CancellationToken cancellationToken)
    {
        var machine = target.Machine;
        if (machine.Memory.Ram is not { } ram || await GuestTables.ModeAsync(machine, cancellationToken) is not { } mode || GuestTables.FuturePageSizeOf(mode) is not { } page)
        {
            GiveUp("this machine's memory cannot be shared");
            return;
        }

        var ring = NonStopMemory.RingSizeFor(ReservedMemory.RamOf(ram), target.Map.Image.Architecture, page, options.RingBytes);
        if (ring == 0)
        {
            GiveUp("the guest has too little memory for a ring");
            return;
        }

        (_reserved, var whyNot) = await ReservedMemory.TryReserveAsync(target, (2 * (ulong)page) + (ulong)ring, (ulong)page, cancellationToken);
        if (_reserved is null)
        {
            GiveUp(whyNot!);
        }
        else if (GuestTables.PageSizeOf(mode) is not null)
        {
            await BeginAsync(page, cancellationToken);
        }
        else if (!await _moments.AwaitLargePagesAsync(cancellationToken))
        {
            GiveUp("when this kernel uses large pages is not known");
        }
    }

    /// <summary>Maps what was reserved, and arms what need not wait for the tracer.</summary>
    private async ValueTask BeginAsync(int page, CancellationToken cancellationToken)
    {
        if (KernelOffsets.Find(target.Map) is not { } offsets)
        {
            GiveUp("the kernel's symbols and types do not tell who runs and where its stack is");
            return;
        }

        (_memory, var whyNot) = await NonStopMemory.TryMapAsync(target.Machine, _reserved!, page, (int)(_reserved!.Size - (2 * (ulong)page)), options.RingLimit, cancellationToken);
        if (_memory is null)
        {
            GiveUp(whyNot!);
            return;
        }

        _programs = new ProgramTable(offsets, _memory, options.StackBytes, options.Lossy, counts);
        if (tracepoints.Any(t => t.Request.Actions.Return is not null))
        {
            _programs.RecordReturns();
        }

        _unfinished = new UnfinishedRecords(target.Machine, _memory.Reader, _programs.Blocks);
        Drain = new RingDrain(_memory.Reader, progress.Begin(_memory, _programs, _sites), _memory.Layout.RingLimit / 2, PauseGuest) { IsEnough = IsEnough, Flush = Flush };
        await ArmKernelAsync(p => p.Relocation is not null || (_moments.IsBeforeTracer && IsArmedEarly(p)), cancellationToken);
        _handOver = new FtraceHandOver(target.Machine, target.Map, _sites);
        await _handOver.ArmAsync(cancellationToken);
    }

    /// <summary>Arms what can be traced without stops; the rest keeps its breakpoints, or gets them.</summary>
    private async ValueTask ArmInAsync(KernelModule? module, IEnumerable<(Tracepoint Tracepoint, CodePlace Place, ulong Address, PlannedPlace Plan)> places, CancellationToken cancellationToken)
    {
        var elapsed = Stopwatch.StartNew();
        var (armed, again) = (0, 0);
        var waited = new HashSet<Tracepoint>();
        var wanted = new ArmingPlaces(target, _memory!, _programs!, _sites, _moments.IsBeforeTracer);
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

            if (plan.Way != CaptureWay.NonStop)
            {
                await stops.ArmAsync(tracepoint, address, place.Kind, module?.Name, cancellationToken);
            }
            else if (wanted.Add(tracepoint, place, address, plan, module) is { } whyNot)
            {
                await StopAtAsync(tracepoint, place, address, whyNot);
            }
        }

        foreach (var function in await wanted.ArmAsync(cancellationToken))
        {
            armed += function.WhyNot is null ? 1 : 0;
            again += function is { WhyNot: null, Patch: { } patch } && _givenBack.Contains(patch) ? 1 : 0;
            foreach (var (tracepoint, place) in function.Traced)
            {
                if (function.WhyNot is { } refusal)
                {
                    await StopAtAsync(tracepoint, place, function.Entry, refusal);
                }
                else
                {
                    await stops.DisarmAsync(tracepoint, function.Entry, cancellationToken);
                    tracepoint.SetArmed(function.Entry, place.Kind, module?.Name);
                }
            }
        }

        async ValueTask StopAtAsync(Tracepoint tracepoint, CodePlace place, ulong address, string whyNot)
        {
            if (options.Choice == CaptureChoice.NeverStop && !tracepoint.Request.IsGroup)
            {
                throw new TargetException($"{tracepoint.Title} cannot be traced without stops: {whyNot}", "leave --no-stop out, or this tracepoint");
            }

            tracepoint.ForgetWay();
            tracepoint.AddWay(TracepointWay.Stop, whyNot);
            waited.Add(tracepoint);
            await stops.ArmAsync(tracepoint, address, place.Kind, module?.Name, cancellationToken);
        }

        foreach (var tracepoint in waited.Where(t => t.Address is not null))
        {
            progress.Changed(tracepoint);
        }

        var seconds = elapsed.Elapsed.TotalSeconds;
        if (armed > again)
        {
            progress.Note(string.Create(CultureInfo.InvariantCulture, $"{armed - again} functions armed without stops{(module is null ? "" : " in " + module.Name)} in {seconds:0.000} s"));
        }
        else if (again > 0)
        {
            progress.Note(string.Create(CultureInfo.InvariantCulture, $"{again} of them armed again in {seconds:0.000} s, behind ftrace_init"));
        }
    }

    private static void AddWay(Tracepoint tracepoint, PlannedPlace plan) =>
        tracepoint.AddWay(plan.Way == CaptureWay.NonStop ? TracepointWay.NonStop : TracepointWay.Stop, plan.Reason);
}
