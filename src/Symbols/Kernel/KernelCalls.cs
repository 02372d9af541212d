// Who called whom across the kernel and its modules. A module calls the kernel by name: its debug file has a declaration, and the kernel's loader
// resolved it (kernel/module/main.c: simplify_symbols) to a global symbol of the kernel or of another module. A static call's trampoline
// (__SCT__name) is such a symbol and no function that DWARF describes, so where it leads stays unknown.
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Kernel;

/// <summary>Calls at run-time addresses, for one thread at a time.</summary>
internal sealed class KernelCalls(KernelMap map)
{
    private const int MaximumCached = 1 << 16;

    // Each function on the way may cost the reading of a unit.
    private const int MaximumReach = 64;

    private readonly CallSites _kernel = new(map.Image.Symbolizer);
    private readonly Dictionary<Symbolizer, CallSites> _modules = [];
    private readonly Dictionary<ElfSymbolTable, Dictionary<string, ulong>> _globals = [];
    private readonly Dictionary<ulong, ulong?> _called = [];
    private readonly Dictionary<(ulong Called, ulong Entered), IReadOnlyList<TailCall>> _chains = [];
    private readonly Dictionary<ulong, bool> _repeaters = [];

    /// <summary>Code was loaded or freed.</summary>
    public void Forget()
    {
        _modules.Clear();
        foreach (var table in _globals.Keys.Where(table => table != map.Image.Symbols).ToArray())
        {
            _globals.Remove(table);
        }

        _called.Clear();
        _chains.Clear();
        _repeaters.Clear();
    }

    /// <summary>The tail calls between a call and the function that runs because of it, the caller's side first. Empty when none is certain.</summary>
    /// <param name="returnAddress">Behind the call.</param>
    /// <param name="address">Somewhere in the function that runs.</param>
    public IReadOnlyList<TailCall> Between(ulong returnAddress, ulong address)
    {
        if (!_called.TryGetValue(returnAddress, out var called))
        {
            Bound(_called)[returnAddress] = called = CalledBefore(returnAddress);
        }

        if (called is not { } start || EntryOf(address) is not { } entered || entered == start)
        {
            return [];
        }

        if (!_chains.TryGetValue((start, entered), out var chain))
        {
            Bound(_chains)[(start, entered)] = chain = TailCallChains.Find(start, entered, TailCallsOf);
        }

        return chain;
    }

    /// <summary>
    /// True when a function may have been entered again by tail calls that start at itself, so that what its caller passed need not be what it was last entered with. Also true
    /// where that cannot be excluded, as a tail call on the way leads through a pointer. Like gdb this takes the debug information's word for it that it lists all tail calls:
    /// GCC gives a function DW_AT_call_all_calls only where it looked for them (not at -O1), and assembly, which has no list, does not jump to C functions that called it.
    /// </summary>
    public bool MayEnterItself(ulong function)
    {
        if (_repeaters.TryGetValue(function, out var may))
        {
            return may;
        }

        may = false;
        var seen = new HashSet<ulong>();
        for (var todo = new Stack<ulong>([function]); !may && todo.TryPop(out var at);)
        {
            if (TailCallsOf(at, mustBeAll: false) is not { } jumps || seen.Count == MaximumReach)
            {
                may = true;
                break;
            }

            foreach (var jump in jumps)
            {
                may |= jump.Target == function;
                if (seen.Add(jump.Target))
                {
                    todo.Push(jump.Target);
                }
            }
        }

        return Bound(_repeaters)[function] = may;
    }

    /// <summary>A global symbol of the kernel or else of any module, at its run-time address.</summary>
    public ulong? FindGlobal(string name) =>
        GlobalIn(map.Image.Symbols, name) ?? map.Modules.Select(module => module.Symbols is null ? null : GlobalIn(module.Symbols, name)).FirstOrDefault(at => at is not null);

    private ulong? CalledBefore(ulong returnAddress)
    {
        var part = At(returnAddress - 1);
        if (part.Calls is null || !part.Calls.TryFindFunction(part.ToObject(returnAddress - 1), out var caller))
        {
            return null;
        }

        var wanted = part.ToObject(returnAddress);
        ulong? called = null;
        foreach (var site in part.Calls.Of(in caller).Sites)
        {
            if (site.ReturnAddress == wanted && !site.IsTailCall)
            {
                var target = Resolve(in part, in site);
                if (target is null || (called is not null && called != target))
                {
                    return null;
                }

                called = target;
            }
        }

        return called;
    }

    private IReadOnlyList<TailCall>? TailCallsOf(ulong function) => TailCallsOf(function, mustBeAll: true);

    private IReadOnlyList<TailCall>? TailCallsOf(ulong function, bool mustBeAll)
    {
        var part = At(function);
        if (part.Calls is null || !part.Calls.TryFindFunction(part.ToObject(function), out var found) || part.ToRunTime(found.Start) != function)
        {
            return mustBeAll ? null : [];
        }

        var calls = part.Calls.Of(in found);
        if (mustBeAll && !calls.HasAllTailCalls)
        {
            return null;
        }

        var jumps = new List<TailCall>();
        foreach (var site in calls.Sites)
        {
            if (!site.IsTailCall)
            {
                continue;
            }

            if (Resolve(in part, in site) is not { } target)
            {
                return null;
            }

            var jump = new TailCall(function, part.ToRunTime(site.ReturnAddress), part.ToRunTime(site.LookupAddress), target);
            if (!jumps.Contains(jump))
            {
                jumps.Add(jump);
            }
        }

        return jumps;
    }

    private ulong? EntryOf(ulong address)
    {
        var part = At(address);
        if (part.Calls is not null && part.Calls.TryFindFunction(part.ToObject(address), out var function))
        {
            return part.ToRunTime(function.Start);
        }

        return part.Symbols is not null && part.Symbols.TryFindNearest(part.ToObject(address), out ElfSymbol symbol) ? part.ToRunTime(symbol.Value) : null;
    }

    /// <summary>Where a call goes, at run time; null when the debug information does not say.</summary>
    public ulong? Resolve(in Part part, in CallSite site) => part.Calls!.TargetOf(in site) switch
    {
        null => null,
        { Name: { } name } => FindGlobal(part.Symbols!, name),
        { Address: var address } => part.ToRunTime(address),
    };

    private ulong? FindGlobal(ElfSymbolTable own, string name)
    {
        if (GlobalIn(own, name) is { } found)
        {
            return found;
        }

        return own == map.Image.Symbols
            ? null
            : GlobalIn(map.Image.Symbols, name)
                ?? map.Modules.Select(module => module.Symbols is null ? null : GlobalIn(module.Symbols, name)).FirstOrDefault(at => at is not null);
    }

    private ulong? GlobalIn(ElfSymbolTable symbols, string name)
    {
        if (!_globals.TryGetValue(symbols, out var globals))
        {
            // One function may jump to hundreds (x64_sys_call: to every system call), and each look-up would read the whole table.
            _globals.Add(symbols, globals = new Dictionary<string, ulong>(StringComparer.Ordinal));
            for (var i = 1; i < symbols.Count; i++)
            {
                if (symbols.At(i) is var raw && raw.Binding != ElfSymbol.BindingLocal && symbols.IsCandidate(in raw))
                {
                    globals.TryAdd(symbols.NameOf(raw.NameOffset), raw.Value);
                }
            }
        }

        return !globals.TryGetValue(name, out var value) ? null : symbols == map.Image.Symbols ? map.ToRunTime(value) : value;
    }

    /// <summary>The kernel or the module that holds a run-time address.</summary>
    public Part At(ulong address)
    {
        if (map.ModuleAt(address) is not { } module)
        {
            return new Part(_kernel, map.Image.Symbols, map, map.Image.Symbolizer);
        }

        if (module.Symbolizer is not { } symbolizer)
        {
            return new Part(null, module.Symbols, null, null);
        }

        if (!_modules.TryGetValue(symbolizer, out var calls))
        {
            _modules.Add(symbolizer, calls = new CallSites(symbolizer));
        }

        return new Part(calls, module.Symbols, null, symbolizer);
    }

    // Names of call sites repeat endlessly; the bound only guards against a guest that walks through everything.
    private static Dictionary<TKey, TValue> Bound<TKey, TValue>(Dictionary<TKey, TValue> cache)
        where TKey : notnull
    {
        if (cache.Count >= MaximumCached)
        {
            cache.Clear();
        }

        return cache;
    }

    /// <summary>The kernel, or one module. Modules have their run-time addresses already.</summary>
    internal readonly record struct Part(CallSites? Calls, ElfSymbolTable? Symbols, KernelMap? Slid, Symbolizer? Symbolizer)
    {
        public ulong ToObject(ulong runTime) => Slid?.ToLinkTime(runTime) ?? runTime;

        public ulong ToRunTime(ulong inObject) => Slid?.ToRunTime(inObject) ?? inObject;
    }
}
