using System.Collections.Immutable;
using System.Globalization;
using KTrace.Debugger.Memory;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Tracepoints;
using KTrace.Rsp;
using KTrace.Rsp.Commands;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Breakpoints;

/// <summary>What a breakpoint may be besides a place.</summary>
/// <param name="Kind">Software or Hardware; Hardware for code that is not in memory yet where software breakpoints change memory (KVM).</param>
/// <param name="IgnoreCount">So many hits are counted and do not stop.</param>
/// <param name="IsTracepoint">Hits are kept and the guest goes on.</param>
public sealed record BreakpointOptions(
    BreakpointKind Kind = BreakpointKind.Software, bool IsTemporary = false, long IgnoreCount = 0, int? Cpu = null, bool IsTracepoint = false);

/// <summary>
/// A person's breakpoints and watchpoints: found by name, set, waiting for their module or for the kernel itself, switched off and on, counted.
/// </summary>
public sealed class BreakpointList
{
    // The stub has no use for more, and TCG crawls long before: see TracepointResolver.MaximumPlaces.
    private const int Maximum = 512;

    // A watched range: QEMU under TCG watches any length; a debug register watches 8 bytes.
    private const int MaximumWatched = 1 << 20;

    private readonly Machine _machine;
    private readonly SortedDictionary<int, Breakpoint> _all = [];
    private readonly Dictionary<Tracepoint, Breakpoint> _byPlace = [];
    private TracepointResolver? _resolver;
    private ArmedTracepoints? _armed;
    private int _last;

    internal BreakpointList(Machine machine) => _machine = machine;

    /// <summary>In the order in which they were made.</summary>
    public IReadOnlyCollection<Breakpoint> All => _all.Values;

    public Breakpoint? Find(int number) => _all.GetValueOrDefault(number);

    /// <summary>
    /// Sets a breakpoint at a place, in the words of <c>-b</c> (<see cref="TracepointRequest"/>), or at a run-time address (<c>*0xffffffff81000000</c>). A pattern makes one for each
    /// function. Names of modules that are not loaded wait for them; all names wait where the kernel is not known yet.
    /// </summary>
    /// <exception cref="TargetException">No such place; the message says what is near.</exception>
    /// <exception cref="RspException">The stub refuses it.</exception>
    public async ValueTask<IReadOnlyList<Breakpoint>> AddAsync(string text, BreakpointOptions options, CancellationToken cancellationToken)
    {
        if (_all.Count >= Maximum)
        {
            throw new TargetException($"there are {Maximum} breakpoints already", "delete some");
        }

        text = text.Trim();
        if (text.StartsWith('*'))
        {
            var breakpoint = AtAddress(text, options);
            await _machine.Sites.AddAsync(SiteOf(breakpoint), breakpoint, cancellationToken);
            return [breakpoint];
        }

        var request = TracepointRequest.Parse(text);
        if (request.Actions is not { Sample: 1, First: null })
        {
            throw new TargetException($"{text}: sample and first are for recordings, which do not stop for a person", "ignore N COUNT passes over so many hits, and tbreak stops once");
        }

        if (_resolver is null)
        {
            return [Make(text, request.Actions, options)];
        }

        var made = new List<Breakpoint>();
        foreach (var place in _resolver.Resolve([text]))
        {
            var breakpoint = Make(place.Title, request.Actions, options);
            made.Add(breakpoint);
            await PlaceAsync(breakpoint, place, cancellationToken);
        }

        return made;
    }

    /// <summary>Watches memory.</summary>
    /// <param name="kind">One of the three watchpoint kinds.</param>
    /// <param name="address">Run-time address.</param>
    /// <param name="length">Bytes.</param>
    /// <exception cref="TargetException">The length is not one that can be watched.</exception>
    /// <exception cref="RspException">The stub refuses it: no debug register is left, or the length is not 1, 2, 4 or 8.</exception>
    public async ValueTask<Breakpoint> WatchAsync(
        string text, BreakpointKind kind, ulong address, int length, TracepointActions actions, BreakpointOptions options, CancellationToken cancellationToken) =>
        await WatchAsync(text, kind, address, length, actions, options, null, cancellationToken);

    /// <param name="scope">Where it is to be deleted; null: a person does it.</param>
    internal async ValueTask<Breakpoint> WatchAsync(
        string text, BreakpointKind kind, ulong address, int length, TracepointActions actions, BreakpointOptions options, WatchScope? scope, CancellationToken cancellationToken)
    {
        if (length is < 1 or > MaximumWatched)
        {
            throw new TargetException($"{text} has {length} bytes: 1 to {MaximumWatched} can be watched", "watch a member of it");
        }

        var breakpoint = new Breakpoint(++_last, kind, text, actions)
        {
            IsTemporary = options.IsTemporary,
            IgnoreCount = options.IgnoreCount,
            Cpu = options.Cpu,
            Watched = new BreakpointSite(kind, address, length),
            Scope = scope,
            IsHeldBack = scope is { IsOnStack: false },
            Value = await ReadAsync(address, length, cancellationToken),
        };
        if (!breakpoint.IsHeldBack)
        {
            await _machine.Sites.AddAsync(SiteOf(breakpoint), breakpoint, cancellationToken);
        }

        _all.Add(breakpoint.Number, breakpoint);
        if (scope is not null)
        {
            foreach (var end in EndsOf(scope))
            {
                await _machine.Sites.AddAsync(BreakpointSite.Code(end), breakpoint, cancellationToken);
            }
        }

        return breakpoint;
    }

    /// <summary>Run-time addresses of a place, in the words of <see cref="AddAsync"/>, and the function whose begin it is; nothing is set.</summary>
    /// <exception cref="TargetException">No such place, or it lies in a module that is not loaded.</exception>
    public (IReadOnlyList<ulong> Addresses, string? Function) Resolve(string text)
    {
        text = text.Trim();
        if (text.StartsWith('*'))
        {
            return ([ParseAddress(text, out _)], null);
        }

        if (_resolver is null || _armed is null)
        {
            throw new TargetException("the kernel is not up yet: its names have no addresses", "give an address: *0x100000");
        }

        var places = _resolver.Resolve([text]);
        var addresses = places.SelectMany(_armed.AddressesOf).ToList();
        return addresses.Count > 0 ? (addresses, places.FirstOrDefault(p => p.Request.Symbol is not null && p.Offset == 0)?.Symbol) : throw new TargetException($"'{text}' lies in a module that is not loaded", "tbreak waits for it");
    }

    /// <summary>Takes it out of the stub, or back in; it keeps its number and its counts.</summary>
    public async ValueTask EnableAsync(Breakpoint breakpoint, bool isEnabled, CancellationToken cancellationToken)
    {
        if (breakpoint.IsEnabled == isEnabled)
        {
            return;
        }

        breakpoint.IsEnabled = isEnabled;
        if (breakpoint.Place is { } place)
        {
            await (isEnabled ? _armed!.ArmAsync(place, cancellationToken) : _armed!.DisarmAsync(place, cancellationToken));
        }
        else if (breakpoint is { IsPending: false, IsHeldBack: false })
        {
            await SetSiteAsync(breakpoint, isEnabled, cancellationToken);
        }
    }

    public async ValueTask DeleteAsync(Breakpoint breakpoint, CancellationToken cancellationToken)
    {
        await EnableAsync(breakpoint, false, cancellationToken);
        _all.Remove(breakpoint.Number);
        if (breakpoint.Scope is { } scope)
        {
            foreach (var end in EndsOf(scope))
            {
                await _machine.Sites.RemoveAsync(BreakpointSite.Code(end), breakpoint, cancellationToken);
            }
        }

        if (breakpoint.Place is { } place)
        {
            _byPlace.Remove(place);
        }
    }

    /// <summary>Replaces the condition; null removes it.</summary>
    /// <exception cref="TargetException">The text is no expression.</exception>
    public static void SetCondition(Breakpoint breakpoint, string? condition) =>
        breakpoint.Actions = breakpoint.Actions with
        {
            Condition = string.IsNullOrWhiteSpace(condition) ? null : TracepointActions.Parse("if " + condition, 0).Condition,
        };

    /// <summary>The kernel is known: what waited for it is found and set.</summary>
    /// <returns>What could not be, with the reason.</returns>
    internal async ValueTask<IReadOnlyList<string>> OnKernelAsync(KernelMap map, ModuleFiles modules, CancellationToken cancellationToken)
    {
        _resolver = new TracepointResolver(map.Image, modules);
        _armed = new ArmedTracepoints(_machine.Sites, map);
        var failures = new List<string>();
        foreach (var waiting in _all.Values.Where(b => b is { Watched: null, Address: null }).ToList())
        {
            try
            {
                var places = _resolver.Resolve([waiting.Text]);
                await PlaceAsync(waiting, places[0], cancellationToken);
                foreach (var more in places.Skip(1))
                {
                    await PlaceAsync(Make(more.Title, waiting.Actions, OptionsOf(waiting)), more, cancellationToken);
                }
            }
            catch (TargetException e)
            {
                failures.Add($"breakpoint {waiting.Number}: {e.Message}");
            }
        }

        return failures;
    }

    /// <summary>A module is about to run its init function: what waited for it is set.</summary>
    internal async ValueTask<IReadOnlyList<Breakpoint>> OnModuleAsync(KernelModule module, CancellationToken cancellationToken)
    {
        await _armed!.DisarmWithinAsync(module, cancellationToken);
        var enabled = _byPlace.Where(p => p.Value.IsEnabled).Select(p => p.Key).ToList();
        var (armed, _) = await _armed.ArmInModuleAsync(module, enabled, cancellationToken);
        return [.. armed.Select(place => _byPlace[place])];
    }

    internal ValueTask<IReadOnlyList<Tracepoint>> OnModuleGoneAsync(KernelModule module, CancellationToken cancellationToken) =>
        _armed!.DisarmInModuleAsync(module.Name, [.. _byPlace.Keys], cancellationToken);

    /// <summary>The guest has rebooted: the stub keeps what was set, and no address of the old kernel means anything.</summary>
    internal async ValueTask OnRebootAsync(CancellationToken cancellationToken)
    {
        foreach (var place in _byPlace.Keys.ToList())
        {
            await _armed!.DisarmAsync(place, cancellationToken);
            _byPlace[place].Place = null;
        }

        _byPlace.Clear();
        (_resolver, _armed) = (null, null);
    }

    /// <summary>Enabled breakpoints at a run-time address.</summary>
    internal ImmutableArray<Breakpoint> At(ulong address)
    {
        var here = ImmutableArray.CreateBuilder<Breakpoint>();
        foreach (var place in _armed?.At(address) ?? [])
        {
            if (_byPlace.TryGetValue(place, out var breakpoint) && breakpoint.IsEnabled)
            {
                here.Add(breakpoint);
            }
        }

        here.AddRange(_all.Values.Where(b => b.IsEnabled && b.Address == address));
        return here.ToImmutable();
    }

    /// <summary>The enabled watchpoint whose memory was touched.</summary>
    internal Breakpoint? Watching(ulong address) =>
        _all.Values.FirstOrDefault(b => b is { IsEnabled: true, Watched: { } watched } && address - watched.Address < (ulong)watched.Length);

    /// <summary>A CPU has arrived where its function puts watched variables on the stack, or takes them off it: their memory is watched in between.</summary>
    internal async ValueTask OnFrameEdgeAsync(ulong pc, RegisterSet registers, CancellationToken cancellationToken)
    {
        foreach (var watchpoint in _all.Values)
        {
            if (watchpoint.Scope?.Edges.FirstOrDefault(e => e.IsAt(pc, registers)) is not { } edge || watchpoint.IsHeldBack != edge.IsBegin)
            {
                continue;
            }

            watchpoint.IsHeldBack = !edge.IsBegin;
            watchpoint.Value = await ReadAsync(watchpoint.Watched!.Value.Address, watchpoint.Watched.Value.Length, cancellationToken);
            if (watchpoint.IsEnabled)
            {
                await SetSiteAsync(watchpoint, edge.IsBegin, cancellationToken);
            }
        }
    }

    /// <summary>Watchpoints whose variables are gone where a CPU has arrived.</summary>
    internal IReadOnlyList<Breakpoint> EndingAt(ulong pc, RegisterSet registers) =>
        [.. _all.Values.Where(b => b.Scope is { } scope && scope.Address == pc && scope.Caller.Matches(registers))];

    private ValueTask SetSiteAsync(Breakpoint breakpoint, bool isSet, CancellationToken cancellationToken) => isSet
        ? _machine.Sites.AddAsync(SiteOf(breakpoint), breakpoint, cancellationToken)
        : _machine.Sites.RemoveAsync(SiteOf(breakpoint), breakpoint, cancellationToken);

    private static IEnumerable<ulong> EndsOf(WatchScope scope) => scope.Edges.Select(e => e.Address).Append(scope.Address);

    /// <summary>What is in watched memory now; null where it cannot be read, and of more than 8 bytes their first 8.</summary>
    internal async ValueTask<ulong?> ReadAsync(ulong address, int length, CancellationToken cancellationToken)
    {
        var bytes = new byte[8];
        return await _machine.Memory.TryReadAsync(address, bytes.AsMemory(0, Math.Min(length, 8)), cancellationToken) ? BitConverter.ToUInt64(bytes) : null;
    }

    private static BreakpointOptions OptionsOf(Breakpoint breakpoint) =>
        new(breakpoint.Kind, breakpoint.IsTemporary, breakpoint.IgnoreCount, breakpoint.Cpu, breakpoint.IsTracepoint);

    private static BreakpointSite SiteOf(Breakpoint breakpoint) => breakpoint.Watched ?? new BreakpointSite(breakpoint.Kind, breakpoint.Address!.Value);

    private static ulong ParseAddress(string text, out int end)
    {
        end = text.IndexOf(' ', StringComparison.Ordinal);
        var number = end < 0 ? text[1..] : text[1..end];
        var isHex = number.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
        return ulong.TryParse(isHex ? number[2..] : number, isHex ? NumberStyles.AllowHexSpecifier : NumberStyles.None, CultureInfo.InvariantCulture, out var address)
            ? address
            : throw new TargetException($"'{text}': behind * stands an address, such as *0xffffffff81000000", "a name needs no *");
    }

    private Breakpoint AtAddress(string text, BreakpointOptions options)
    {
        var address = ParseAddress(text, out var end);
        var actions = end < 0 ? TracepointActions.None : TracepointActions.Parse(text, end);
        var breakpoint = new Breakpoint(++_last, options.Kind, text, actions)
        {
            IsTemporary = options.IsTemporary, IgnoreCount = options.IgnoreCount, Cpu = options.Cpu, IsTracepoint = options.IsTracepoint, Address = address,
        };
        _all.Add(breakpoint.Number, breakpoint);
        return breakpoint;
    }

    private Breakpoint Make(string text, TracepointActions actions, BreakpointOptions options)
    {
        var breakpoint = new Breakpoint(++_last, options.Kind, text, actions)
        {
            IsTemporary = options.IsTemporary, IgnoreCount = options.IgnoreCount, Cpu = options.Cpu, IsTracepoint = options.IsTracepoint,
        };
        _all.Add(breakpoint.Number, breakpoint);
        return breakpoint;
    }

    private async ValueTask PlaceAsync(Breakpoint breakpoint, Tracepoint place, CancellationToken cancellationToken)
    {
        var own = place.WithKind(breakpoint.Kind);
        breakpoint.Place = own;
        _byPlace[own] = breakpoint;
        if (breakpoint.IsEnabled)
        {
            await _armed!.ArmAsync(own, cancellationToken);
        }
    }
}
