using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Phases;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Sessions;

/// <summary>
/// What a session knows of its guest's kernel, from before it is in memory until the machine reboots: waits for it, takes its map, follows its modules, forgets it.
/// </summary>
internal sealed class SessionKernel(
    Machine machine, KernelImage image, ModuleFiles modules, BreakpointList breakpoints, BootCode bootCode, ISessionProgress? progress) : IDisposable
{
    /// <summary>Intel SDM volume 3, 10.1.4 "First Instruction Executed".</summary>
    private static readonly BreakpointSite s_resetVector = new(BreakpointKind.Hardware, 0xfffffff0);

    private ModuleFollower? _follower;
    private KernelArrival? _arrival;

    /// <summary>Null until the kernel was found.</summary>
    public StopInspector? Inspector { get; private set; }

    public KernelMap? Map => Inspector?.Map;

    public BootPhases Phases { get; } = new(image, bootCode);

    /// <summary>How long the guest may run between two looks for its kernel; null: it is known, or something stops the guest when it comes.</summary>
    public TimeSpan? LookInterval => _arrival is { NeedsLooking: true } arrival ? arrival.LookInterval : null;

    /// <summary>Before the guest runs: sets what tells that the kernel has come, and that the machine was reset.</summary>
    public async ValueTask WatchAsync(CancellationToken cancellationToken)
    {
        await machine.ChooseCodeBreakpointsAsync(isInMemory: Map is not null, cancellationToken);
        try
        {
            await machine.Sites.AddAsync(s_resetVector, this, cancellationToken);
        }
        catch (RspException e) when (e.Kind is RspErrorKind.ErrorReply or RspErrorKind.Unsupported)
        {
            // A stub without hardware breakpoints: then a reboot is seen at the next stop in real mode.
        }

        if (Map is null && _arrival is null)
        {
            _arrival = new KernelArrival(machine, image);
            await _arrival.ArmAsync(cancellationToken);
        }
    }

    /// <summary>The kernel is known: its names hold, and what waited for it is set.</summary>
    public async ValueTask TakeAsync(KernelMap map, CancellationToken cancellationToken)
    {
        await machine.ChooseCodeBreakpointsAsync(isInMemory: true, cancellationToken);
        Inspector?.Dispose();
        Inspector = new StopInspector(machine, map);
        Phases.Kernel = map;
        _follower = new ModuleFollower(machine, map, modules);
        if (await _follower.ArmAsync(cancellationToken) is { } lack)
        {
            progress?.Note(lack, true);
        }

        foreach (var failure in await breakpoints.OnKernelAsync(map, modules, cancellationToken))
        {
            progress?.Note(failure, true);
        }
    }

    /// <summary>At every stop at something that was set, before a person's own breakpoints.</summary>
    public async ValueTask OnStopAsync(int cpu, ulong pc, RegisterSet registers, CancellationToken cancellationToken)
    {
        if (Map is not null && cpu == 0 && (pc == s_resetVector.Address || IsInRealMode(registers)))
        {
            await LoseAsync(cancellationToken);
        }

        await LookAsync(look: false, cancellationToken);
        if (_follower?.IsMine(pc) == true && await _follower.OnStopAsync(registers, cancellationToken) is { } happened)
        {
            await OnModuleAsync(happened, cancellationToken);
        }
    }

    /// <summary>Looks whether the kernel has come.</summary>
    /// <param name="look">Although nothing that was set for that stopped the guest.</param>
    public async ValueTask LookAsync(bool look, CancellationToken cancellationToken)
    {
        if (_arrival is not null && await _arrival.StoppedAsync(look, cancellationToken) is ArrivalStep.Arrived { Slide: var slide })
        {
            _arrival = null;
            progress?.Identified(slide);
            await TakeAsync(new KernelMap(image, slide), cancellationToken);
        }
    }

    public void Dispose() => Inspector?.Dispose();

    /// <summary>CR0.PE. Other CPUs pass through real mode whenever they are started, the first one only after a reset.</summary>
    private static bool IsInRealMode(RegisterSet registers)
    {
        var cr0 = registers.Architecture is X86_64 ? X86_64.Cr0 : I386.Cr0;
        return registers.IsKnown(cr0) && (registers[cr0] & 1) == 0;
    }

    private async ValueTask LoseAsync(CancellationToken cancellationToken)
    {
        progress?.Note("the guest has rebooted: its kernel is looked for again", false);
        await breakpoints.OnRebootAsync(cancellationToken);
        await _follower!.DisarmAsync(cancellationToken);
        Inspector?.Dispose();
        (Inspector, _follower, Phases.Kernel) = (null, null, null);
        await WatchAsync(cancellationToken);
    }

    private async ValueTask OnModuleAsync(ModuleEvent happened, CancellationToken cancellationToken)
    {
        progress?.Module(happened);
        switch (happened)
        {
            case ModuleEvent.Loading { Loaded: var loaded }:
                await breakpoints.OnModuleAsync(loaded.Module, cancellationToken);
                foreach (var warning in loaded.Warnings)
                {
                    progress?.Note(warning, true);
                }

                break;
            case ModuleEvent.Unloaded { Module: var gone }:
                await breakpoints.OnModuleGoneAsync(gone, cancellationToken);
                break;
        }
    }
}
