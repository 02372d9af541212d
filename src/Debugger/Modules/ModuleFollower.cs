// A module's life, told by two functions of kernel/module/main.c (kernel/module.c to 5.18):
//   do_init_module(mod)   entered when the module is relocated and nothing of it has run; returns 0 when its init function has, and its init text is about to be
//                         freed; an error when that failed, after free_module
//   free_module(mod)      entered when a module goes: after its exit function, or when its init failed
// Both take struct module * as the first argument. The freeing itself (do_free_init) is done later by a work item; nothing runs there any more by then.
using KTrace.Debugger.Breakpoints;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Modules;

/// <summary>Something happened to a module. The map has been changed accordingly.</summary>
public abstract record ModuleEvent
{
    private ModuleEvent()
    {
    }

    /// <summary>Relocated, and about to run its init function.</summary>
    public sealed record Loading(LoadedModule Loaded) : ModuleEvent;

    /// <summary>Its init function has returned 0; its init text is gone.</summary>
    public sealed record Live(string Name) : ModuleEvent;

    /// <summary>It is being unloaded; its addresses mean nothing any more.</summary>
    public sealed record Unloaded(KernelModule Module) : ModuleEvent;

    /// <summary>A module is being loaded, and the guest's memory does not tell which.</summary>
    public sealed record Unreadable : ModuleEvent;
}

/// <summary>Stops at what the kernel does with modules, and keeps the map true.</summary>
internal sealed class ModuleFollower(Machine machine, KernelMap map, ModuleFiles files)
{
    private const string FreeFunction = "free_module";

    // More modules cannot be under way at once than tasks load them.
    private const int MaximumWaiting = 256;

    private readonly ModuleTracker _tracker = new(map, machine.Memory, files);
    private readonly List<(ulong Address, ulong StackPointer, string Name)> _initReturns = [];
    private ulong? _init;
    private ulong? _free;

    /// <summary>Sets the stops.</summary>
    /// <returns>What a person should know about what cannot be followed, or null.</returns>
    public async ValueTask<string?> ArmAsync(CancellationToken cancellationToken)
    {
        if (!map.Image.TryFindSymbol(ModuleTracker.InitFunction, out var init))
        {
            // A kernel without modules.
            return null;
        }

        if (!_tracker.CanRead)
        {
            return "this kernel's types (BTF or DWARF) do not tell how struct module looks: frames in modules will have no names";
        }

        _init = map.ToRunTime(init.Value);
        await machine.Sites.AddAsync(BreakpointSite.Code(_init.Value), this, cancellationToken);
        if (map.Image.TryFindSymbol(FreeFunction, out var free))
        {
            _free = map.ToRunTime(free.Value);
            await machine.Sites.AddAsync(BreakpointSite.Code(_free.Value), this, cancellationToken);
        }

        return null;
    }

    /// <summary>Takes the stops away.</summary>
    public async ValueTask DisarmAsync(CancellationToken cancellationToken)
    {
        foreach (var address in _initReturns.Select(r => r.Address).Concat(((ulong?[])[_init, _free]).OfType<ulong>()))
        {
            await machine.Sites.RemoveAsync(BreakpointSite.Code(address), this, cancellationToken);
        }

        _initReturns.Clear();
        (_init, _free) = (null, null);
    }

    /// <summary>Whether a stop at this address may mean an event.</summary>
    public bool IsMine(ulong address) => address == _init || address == _free || _initReturns.Exists(r => r.Address == address);

    /// <returns>Null when the stop means nothing here.</returns>
    public async ValueTask<ModuleEvent?> OnStopAsync(RegisterSet registers, CancellationToken cancellationToken)
    {
        var pc = registers.ProgramCounter;
        if (pc == _init)
        {
            return await OnLoadingAsync(registers, cancellationToken);
        }

        if (pc == _free)
        {
            return await _tracker.ReadNameAsync(registers, cancellationToken) is { } name && map.Unload(name) is { } gone ? new ModuleEvent.Unloaded(gone) : null;
        }

        return _initReturns.FindIndex(r => r.Address == pc && r.StackPointer == registers.StackPointer) is var index and >= 0
            ? await OnInitReturnedAsync(index, registers, cancellationToken)
            : null;
    }

    private async ValueTask<ModuleEvent> OnLoadingAsync(RegisterSet registers, CancellationToken cancellationToken)
    {
        if (await _tracker.ReadAsync(registers, cancellationToken) is not { } loaded)
        {
            return new ModuleEvent.Unreadable();
        }

        map.Load(loaded.Module);
        var word = map.Image.Architecture.WordSize;
        if (!loaded.Module.InitText.IsEmpty && _initReturns.Count < MaximumWaiting
            && await machine.Memory.TryReadWordAsync(registers.StackPointer, cancellationToken) is { } caller)
        {
            await machine.Sites.AddAsync(BreakpointSite.Code(caller), this, cancellationToken);
            _initReturns.Add((caller, registers.StackPointer + (ulong)word, loaded.Module.Name));
        }

        return new ModuleEvent.Loading(loaded);
    }

    private async ValueTask<ModuleEvent?> OnInitReturnedAsync(int index, RegisterSet registers, CancellationToken cancellationToken)
    {
        var (address, _, name) = _initReturns[index];
        _initReturns.RemoveAt(index);
        if (!_initReturns.Exists(r => r.Address == address))
        {
            await machine.Sites.RemoveAsync(BreakpointSite.Code(address), this, cancellationToken);
        }

        var result = (int)registers[map.Image.Architecture.ReturnRegister];
        if (result < 0)
        {
            // free_module has told already, where it is a function of its own.
            return map.Unload(name) is { } gone ? new ModuleEvent.Unloaded(gone) : null;
        }

        map.FreeInit(name);
        return new ModuleEvent.Live(name);
    }
}
