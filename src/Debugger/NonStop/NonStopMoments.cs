// When in a boot what can be done (init/main.c and arch/x86/kernel/setup.c, 5.10 to 6.12):
//   setup_arch       entered before the kernel reads its memory map: memory is reserved, and mapped into tables that stay
//   poking_init      i386 without PAE: entered when large pages can be mapped into tables that stay (or ftrace_init, whichever comes first)
//   ftrace_init      entered when every call of __fentry__ is to become a no-op; it checks what it replaces, so that whoever has written there puts it back. When it returns the no-ops are in place
// Modules have their no-ops when do_init_module is entered (ModuleFollower stops there).
using KTrace.Debugger.Breakpoints;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.NonStop;

/// <summary>A moment of a boot that matters to tracepoints without stops.</summary>
internal enum BootMoment
{
    /// <summary>The memory map can be changed.</summary>
    MemoryMap,

    /// <summary>The kernel uses large pages; see <see cref="NonStopMoments.AwaitLargePagesAsync"/>.</summary>
    LargePages,

    /// <summary>The kernel is about to replace its calls of __fentry__. Not told where it is the moment of <see cref="LargePages"/>, too.</summary>
    TracerBegins,

    /// <summary>The function tracer's no-ops are in place.</summary>
    TracerReady,
}

/// <summary>Stops the boot at its moments, once each.</summary>
internal sealed class NonStopMoments(Machine machine, KernelMap map)
{
    private const string TracerInit = "ftrace_init", LargePagesBefore = "poking_init";

    private readonly Dictionary<ulong, BootMoment> _awaited = [];
    private ulong? _tracerEntered;
    private ulong? _largePages;

    /// <summary>Whether the kernel has a function tracer whose no-ops come at a known moment.</summary>
    public static bool HasTracer(KernelImage image) => image.TryFindSymbol(TracerInit, out _);

    /// <summary>The function tracer's calls are still as the compiler left them, and <see cref="BootMoment.TracerBegins"/> will come.</summary>
    public bool IsBeforeTracer => _tracerEntered is not null;

    /// <summary>Sets the stops.</summary>
    public async ValueTask ArmAsync(CancellationToken cancellationToken)
    {
        if (Guest.ReservedMemory.MomentIn(map) is { } memoryMap)
        {
            await AwaitAsync(memoryMap, BootMoment.MemoryMap, cancellationToken);
        }

        if (map.Image.TryFindSymbol(TracerInit, out var tracer))
        {
            _tracerEntered = map.ToRunTime(tracer.Value);
            await machine.Sites.AddAsync(BreakpointSite.Code(_tracerEntered.Value), this, cancellationToken);
        }
    }

    /// <summary>Takes the stops away that were not come to.</summary>
    public async ValueTask DisarmAsync(CancellationToken cancellationToken)
    {
        foreach (var address in _awaited.Keys.Concat(((ulong?[])[_tracerEntered]).OfType<ulong>()))
        {
            await machine.Sites.RemoveAsync(BreakpointSite.Code(address), this, cancellationToken);
        }

        _awaited.Clear();
        _tracerEntered = null;
    }

    /// <summary>
    /// i386 without PAE switches its large pages on in setup_arch (init_mem_mapping), and gives every process a copy of its page directory: the first in poking_init (5.1 and later; before or after
    /// ftrace_init). One task runs until then.
    /// </summary>
    /// <returns>False when this kernel has no such moment.</returns>
    public async ValueTask<bool> AwaitLargePagesAsync(CancellationToken cancellationToken)
    {
        _largePages = map.Image.TryFindSymbol(LargePagesBefore, out var symbol) ? map.ToRunTime(symbol.Value) : null;
        if (_largePages is { } address)
        {
            await AwaitAsync(address, BootMoment.LargePages, cancellationToken);
        }

        _largePages ??= _tracerEntered;
        return _largePages is not null;
    }

    public bool IsMine(ulong pc) => _tracerEntered == pc || _awaited.ContainsKey(pc);

    /// <returns>The moment that this stop means; null: none, or not yet.</returns>
    public async ValueTask<BootMoment?> OnStopAsync(RegisterSet registers, CancellationToken cancellationToken)
    {
        var pc = registers.ProgramCounter;
        if (pc == _tracerEntered)
        {
            await machine.Sites.RemoveAsync(BreakpointSite.Code(pc), this, cancellationToken);
            _tracerEntered = null;
            if (await machine.Memory.TryReadWordAsync(registers.StackPointer, cancellationToken) is { } caller)
            {
                await AwaitAsync(caller, BootMoment.TracerReady, cancellationToken);
            }

            if (_largePages is not { } later)
            {
                return BootMoment.TracerBegins;
            }

            await machine.Sites.RemoveAsync(BreakpointSite.Code(later), this, cancellationToken);
            _awaited.Remove(later);
            _largePages = null;
            return BootMoment.LargePages;
        }

        if (!_awaited.Remove(pc, out var moment))
        {
            return null;
        }

        await machine.Sites.RemoveAsync(BreakpointSite.Code(pc), this, cancellationToken);
        _largePages = moment == BootMoment.LargePages ? null : _largePages;
        return moment;
    }

    private async ValueTask AwaitAsync(ulong address, BootMoment moment, CancellationToken cancellationToken)
    {
        _awaited[address] = moment;
        await machine.Sites.AddAsync(BreakpointSite.Code(address), this, cancellationToken);
    }
}
