// The kernel patches the same no-ops itself: for its function tracers, for kprobes on a function's entry (kernel/kprobes.c: arm_kprobe_ftrace), for fentry programs of BPF and for live patches. Before it writes it compares what
// is there with what it wrote last (arch/x86/kernel/ftrace.c: ftrace_verify_code), and our call is neither: ftrace_bug, a warning with a stack trace, and its tracer is off until the next boot. So it finds what
// it expects. All of these ways come by one pair of functions (kernel/trace/ftrace.c: ftrace_run_update_code, and ftrace_module_enable for a module that loads while a tracer is on), with ftrace_lock held, so that two
// never overlap; the same in 5.10 to 6.12:
//   ftrace_arch_code_modify_prepare()        nothing is compared yet: the original bytes go back
//   ftrace_arch_code_modify_post_process()   when it has returned nothing is in flight (text_poke_finish): what has the no-op again is armed again. What the kernel uses itself is left to it, until a later pair
// gives it back.
// ftrace_init and ftrace_module_init make the no-ops without that pair; sites are armed after both, and those that were armed before ftrace_init are not while it runs (NonStopTracing.cs). The module loader, static keys, static calls and alternatives write elsewhere: never to a no-op.
// kprobes' own check of instruction boundaries (arch/x86/kernel/kprobes/core.c: can_probe) takes five bytes at an ftrace location for a no-op, whatever they are.
//
// Init text of the kernel is freed by free_initmem (init/main.c: kernel_init), when all init calls have returned. A module's is freed after do_init_module has
// returned (kernel/module/main.c: do_free_init, by a work item): ModuleEvent.Live is early enough.
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.NonStop.Coexistence;

/// <summary>What the kernel was doing when it was stopped. The sites have been changed accordingly.</summary>
internal abstract record HandOverEvent
{
    private HandOverEvent()
    {
    }

    /// <summary>The kernel is about to patch: original bytes are back.</summary>
    public sealed record Restored : HandOverEvent;

    /// <summary>The kernel has patched: sites are armed again.</summary>
    /// <param name="LeftToKernel">Sites that it uses itself now; their calls are not recorded.</param>
    public sealed record Rearmed(int LeftToKernel) : HandOverEvent;

    /// <summary>The kernel's init text goes: its sites are forgotten.</summary>
    public sealed record InitFreed : HandOverEvent;
}

/// <summary>Stops where the kernel patches the tracer's no-ops, and where it frees code, and keeps out of its way.</summary>
internal sealed class FtraceHandOver(Machine machine, KernelMap map, ArmedSites sites)
{
    private const string Begin = "ftrace_arch_code_modify_prepare", End = "ftrace_arch_code_modify_post_process", Free = "free_initmem";

    private ulong? _begin;
    private ulong? _end;
    private ulong? _free;
    private (ulong Address, ulong StackPointer)? _return;
    private bool _isOpen;

    /// <summary>Sites that the kernel uses itself at present.</summary>
    public int LeftToKernel { get; private set; }

    /// <summary>How often the kernel has patched.</summary>
    public int Times { get; private set; }

    /// <summary>Sets the stops. A kernel without the function tracer has none of the first two.</summary>
    public async ValueTask ArmAsync(CancellationToken cancellationToken)
    {
        _begin = await AddAsync(Begin, cancellationToken);
        _end = _begin is null ? null : await AddAsync(End, cancellationToken);
        _free = await AddAsync(Free, cancellationToken);
    }

    /// <summary>Takes the stops away; sites stay as they are.</summary>
    public async ValueTask DisarmAsync(CancellationToken cancellationToken)
    {
        foreach (var address in ((ulong?[])[_begin, _end, _free, _return?.Address]).OfType<ulong>())
        {
            await machine.Sites.RemoveAsync(BreakpointSite.Code(address), this, cancellationToken);
        }

        (_begin, _end, _free, _return) = (null, null, null, null);
    }

    /// <summary>Whether a stop at this address may mean an event.</summary>
    public bool IsMine(ulong address) => address == _begin || address == _end || address == _free || address == _return?.Address;

    /// <returns>Null when the stop means nothing here.</returns>
    public async ValueTask<HandOverEvent?> OnStopAsync(RegisterSet registers, CancellationToken cancellationToken)
    {
        var pc = registers.ProgramCounter;
        if (pc == _begin)
        {
            // An interrupt taken at the function's first instruction comes back to it, and stops there again.
            var isNew = !_isOpen;
            _isOpen = true;
            Times += isNew ? 1 : 0;
            await sites.RestoreAsync(s => s.IsTracers, cancellationToken);
            return isNew ? new HandOverEvent.Restored() : null;
        }

        if (pc == _end)
        {
            if (await machine.Memory.TryReadWordAsync(registers.StackPointer, cancellationToken) is { } caller)
            {
                await machine.Sites.AddAsync(BreakpointSite.Code(caller), this, cancellationToken);
                _return = (caller, registers.StackPointer + (ulong)map.Image.Architecture.WordSize);
            }

            return null;
        }

        if (pc == _free)
        {
            await machine.Sites.RemoveAsync(BreakpointSite.Code(pc), this, cancellationToken);
            _free = null;
            await sites.ForgetAsync(site => site is { IsInit: true, Module: null }, cancellationToken);
            return new HandOverEvent.InitFreed();
        }

        if (_return is { } back && pc == back.Address && registers.StackPointer == back.StackPointer)
        {
            await machine.Sites.RemoveAsync(BreakpointSite.Code(pc), this, cancellationToken);
            (_return, _isOpen) = (null, false);
            LeftToKernel = await sites.RearmAsync(s => s.IsTracers, cancellationToken);
            return new HandOverEvent.Rearmed(LeftToKernel);
        }

        return null;
    }

    private async ValueTask<ulong?> AddAsync(string function, CancellationToken cancellationToken)
    {
        if (!map.Image.TryFindSymbol(function, out var symbol))
        {
            return null;
        }

        var address = map.ToRunTime(symbol.Value);
        await machine.Sites.AddAsync(BreakpointSite.Code(address), this, cancellationToken);
        return address;
    }
}
