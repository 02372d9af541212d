using System.Collections.Immutable;
using KTrace.Rsp.Commands;
using KTrace.Symbols;
using KTrace.Symbols.Lookup;
using KTrace.Tracing;

namespace KTrace.Debugger.Tracepoints;

/// <summary>
/// What is traced, and where it is right now: one place for most functions; several for one that the compiler copied or inlined, and then a hit at any
/// of them is a hit of this tracepoint.
/// </summary>
public sealed class Tracepoint(int id, TracepointRequest request, string symbol, string? module, ImmutableArray<CodePlace> places, string? note)
{
    // Most of twenty thousand wait for their module, or have one place: each has its own dictionary only once it is armed.
    private Dictionary<ulong, Armed>? _armed;

    private readonly record struct Armed(CodePlaceKind Kind, string? Module);

    /// <summary>Of a note: the place waits for its module.</summary>
    internal const string ArmedWhenLoaded = "; armed when it is loaded";

    /// <summary>One place in the kernel, or (with a module) none yet.</summary>
    public Tracepoint(int id, TracepointRequest request, string symbol, string? module, ulong linkAddress, string? note)
        : this(id, request, symbol, module, module is null ? [new CodePlace(linkAddress, CodePlaceKind.Entry, symbol, symbol, null)] : [], note)
    {
    }

    /// <summary>1-based; hits refer to it.</summary>
    public int Id { get; } = id;

    public TracepointRequest Request { get; } = request;

    /// <summary>The symbol that is armed; it may be the successor of the one that was asked for. Of an inlined function its name.</summary>
    public string Symbol { get; } = symbol;

    /// <summary>The module whose symbol it is (with underscores), or null for the kernel.</summary>
    public string? Module { get; } = module;

    /// <summary>Places in the kernel, at link-time addresses, ascending. Empty for a module's function: its places are found when the module comes.</summary>
    public ImmutableArray<CodePlace> Places { get; } = places;

    /// <summary>The first place in the kernel; 0 when there is none.</summary>
    public ulong LinkAddress => Places.IsEmpty ? 0 : Places[0].Address;

    /// <summary>Of several functions with this symbol which one, in the order of the symbol table (a set's function of a module).</summary>
    public int Ordinal { get; init; }

    /// <summary>The words for this one place: what was written, and of a pattern's or set's function its name.</summary>
    public string Title => !Request.IsGroup ? Request.Text : Module is null ? Symbol : $"{Module}:{Symbol}";

    /// <summary>Where the function is written, or null when that is not known.</summary>
    public SourceLine? Declaration { get; init; }

    /// <summary>The function is inlined, and modules that come may have inlined it too.</summary>
    public bool IsInlined => Module is null && Places.Any(p => p.Kind == CodePlaceKind.Inline);

    /// <summary>How it is set: as software breakpoints unless asked otherwise.</summary>
    public BreakpointKind Kind { get; init; } = BreakpointKind.Software;

    /// <summary>What a person should know about it, or null.</summary>
    public string? Note { get; } = note;

    /// <summary>What of it holds still: a module that was waited for is there once it is armed.</summary>
    public string? NoteNow => Address is null ? Note : Note?.Replace(ArmedWhenLoaded, "", StringComparison.Ordinal);

    /// <summary>One of <see cref="TracepointWay"/>; null while nobody has said.</summary>
    public string? Way { get; private set; }

    /// <summary>Why that way, in words for people.</summary>
    public string? WayReason { get; private set; }

    /// <summary>Run-time addresses of its breakpoints; empty while it waits.</summary>
    public IReadOnlyCollection<ulong> Addresses => _armed is { } armed ? armed.Keys : [];

    /// <summary>The first run-time address of its breakpoints; null while it waits.</summary>
    public ulong? Address { get; private set; }

    /// <summary>It was armed at some time, and could have been hit.</summary>
    public bool WasArmed { get; private set; }

    /// <summary>Bytes past the symbol, 0 at a function's entry.</summary>
    public ulong Offset => Request.Symbol is null ? 0 : Request.Offset;

    /// <summary>The body of an inlined call begins at this run-time address, and that is why it is armed there: the function is being entered.</summary>
    public bool IsInlineAt(ulong address) => _armed is not null && _armed.TryGetValue(address, out var armed) && armed.Kind == CodePlaceKind.Inline;

    /// <summary>A function's own first instruction is at this run-time address (not a copy's, which may take other parameters), and that is why it is armed there.</summary>
    public bool IsEntryAt(ulong address) => Offset == 0 && _armed is not null && _armed.TryGetValue(address, out var armed) && armed.Kind == CodePlaceKind.Entry;

    public TraceTracepoint ToRecord() => new(
        Id, Request.Text, Symbol, Address is null ? TracepointState.Pending : TracepointState.Armed, Note, Address) { Way = Way, WayReason = WayReason };

    /// <summary>The same place, set in another way and nowhere yet.</summary>
    public Tracepoint WithKind(BreakpointKind kind) => new(Id, Request, Symbol, Module, Places, Note) { Declaration = Declaration, Ordinal = Ordinal, Kind = kind };

    /// <summary>The same with another number, and nowhere yet.</summary>
    internal Tracepoint WithId(int number) => new(number, Request, Symbol, Module, Places, Note) { Declaration = Declaration, Ordinal = Ordinal, Kind = Kind };

    /// <summary>How one of its places is traced; places may differ.</summary>
    /// <param name="way">One of <see cref="TracepointWay"/>.</param>
    /// <param name="reason">In words for people.</param>
    internal void AddWay(string way, string reason)
    {
        if (Way is null || Way == way)
        {
            (Way, WayReason) = (way, WayReason ?? reason);
        }
        else if (Way != TracepointWay.Both)
        {
            (Way, WayReason) = (TracepointWay.Both, $"{Way}: {WayReason}; {way}: {reason}");
        }
    }

    /// <summary>What was said by <see cref="AddWay"/> was not to be.</summary>
    internal void ForgetWay() => (Way, WayReason) = (null, null);

    /// <param name="inModule">The module that the address belongs to, or null for the kernel.</param>
    internal void SetArmed(ulong address, CodePlaceKind kind, string? inModule)
    {
        (_armed ??= [])[address] = new Armed(kind, inModule);
        WasArmed = true;
        Address = _armed.Keys.Min();
    }

    internal void SetDisarmed(ulong address)
    {
        _armed?.Remove(address);
        Address = _armed is not { Count: > 0 } ? null : _armed.Keys.Min();
    }

    /// <summary>Where it is armed in an earlier load of a module.</summary>
    internal IReadOnlyList<ulong> AddressesIn(string loaded) => _armed is null ? [] : [.. _armed.Where(a => a.Value.Module == loaded).Select(a => a.Key)];
}
