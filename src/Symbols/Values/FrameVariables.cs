using System.Collections.Immutable;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Unwind;
using AddressRange = KTrace.Symbols.Unwind.AddressRange;

namespace KTrace.Symbols.Values;

/// <summary>
/// Arguments and locals of the frames of a stack. What depends on the code alone is worked out once for each place and kept; for each stop only registers
/// and memory are read. For one thread at a time, like the map.
/// </summary>
public sealed class FrameVariables
{
    // Places and ways repeat endlessly; the bound only guards against a guest that walks through everything.
    private const int MaximumKept = 1 << 13;

    private readonly KernelMap _map;
    private readonly Func<Symbolizer, DwarfTypes> _typesOf;
    private readonly Dictionary<Symbolizer, DwarfTypes> _types = [];
    private readonly Dictionary<(ulong Address, int NotEntered), VariablePlace> _places = [];
    private readonly Dictionary<(ulong Callee, ulong Return), EntryWay> _ways = [];
    private readonly StackReading _reading;
    private readonly VariableReader _reader;
    private ImmutableArray<KernelModule> _modules;

    /// <param name="map">Names, unwind rows and debug information of all that is loaded.</param>
    /// <param name="typesOf">The types of one object's debug information; null to read them here, where structures that a unit only declares stay incomplete.</param>
    public FrameVariables(KernelMap map, Func<Symbolizer, DwarfTypes>? typesOf = null)
    {
        _map = map;
        _modules = map.Modules;
        _typesOf = typesOf ?? OwnTypes;
        _reading = new StackReading(map);
        _reader = new VariableReader(_reading);
    }

    /// <summary>Asked where the debug information ends; null for debug information alone.</summary>
    public IValueRecovery? Recovery { get; set; }

    /// <summary>
    /// The arguments of all frames, in the order of their names: for each physical frame the functions that left by a tail call from it, then what was inlined there,
    /// innermost first, then the function itself. A frame without debug information has an empty list.
    /// </summary>
    /// <param name="missing">Takes what was not fetched and is needed: fetch it and ask again. The values that depend on it are missing.</param>
    /// <param name="notEntered">
    /// Of the functions that are inlined at the innermost frame's pc, how many begin right there and count as not entered yet; null: all that do. Their lists are left out.
    /// </param>
    public ImmutableArray<ImmutableArray<FrameVariable>> ArgumentsOf(
        UnwindResult stack, IMemoryReader memory, ICollection<AddressRange>? missing = null, int? notEntered = null)
    {
        Begin(stack, memory, missing, notEntered);
        var lists = ImmutableArray.CreateBuilder<ImmutableArray<FrameVariable>>(_reading.Activations.Count * 2);

        // In the order of the names: the functions that left by tail calls stand before the frame that called the first of them, and so do they here.
        foreach (var activation in _reading.Activations)
        {
            foreach (var scope in activation.Place.Scopes)
            {
                lists.Add(scope is null ? [] : ReadAll(activation, scope, scope.Parameters));
            }
        }

        return lists.DrainToImmutable();
    }

    /// <summary>The local variables of one frame that are in scope at its pc, those of the innermost block first; of equal names only the innermost.</summary>
    /// <param name="frame">Index into <see cref="UnwindResult.Frames"/>.</param>
    /// <param name="inlineDepth">0 for the innermost function that was inlined at the pc and entered, counted up to the function that has the stack frame.</param>
    /// <param name="notEntered">As for <see cref="ArgumentsOf"/>.</param>
    public ImmutableArray<FrameVariable> LocalsOf(
        UnwindResult stack, int frame, int inlineDepth, IMemoryReader memory, ICollection<AddressRange>? missing = null, int? notEntered = null)
    {
        Begin(stack, memory, missing, notEntered);
        var activation = _reading.Activations.Find(a => a.Frame == frame && !a.IsTail);
        return activation is not null && (uint)inlineDepth < (uint)activation.Place.Scopes.Length && activation.Place.Scopes[inlineDepth] is { } scope
            ? ReadAll(activation, scope, scope.Locals.Value)
            : [];
    }

    private ImmutableArray<FrameVariable> ReadAll(Activation activation, FrameScope scope, ImmutableArray<VariablePlan> plans)
    {
        var variables = ImmutableArray.CreateBuilder<FrameVariable>(plans.Length);
        foreach (var plan in plans)
        {
            variables.Add(_reader.Read(activation, plan, scope.IsInline));
        }

        return variables.MoveToImmutable();
    }

    private void Begin(UnwindResult stack, IMemoryReader memory, ICollection<AddressRange>? missing, int? notEntered)
    {
        if (_modules != _map.Modules)
        {
            // Code was loaded or freed: addresses may mean something else now.
            _places.Clear();
            _ways.Clear();
            foreach (var module in _types.Keys.Where(s => s != _map.Image.Symbolizer).ToList())
            {
                _types.Remove(module);
            }

            _modules = _map.Modules;
        }

        _reading.Begin(stack, memory, Recovery, missing);
        Activation? callee = null;
        for (var i = 0; i < stack.Frames.Length; i++)
        {
            var frame = stack.Frames[i];
            if (callee is null || !frame.IsCall)
            {
                callee = _reading.Add(PlaceAt(frame.LookupAddress, frame.Rule != UnwindRule.Registers ? VariablePlace.Running : notEntered ?? VariablePlace.AllAtTheirBegin), i, isTail: false);
                continue;
            }

            var way = WayBetween(callee.Place, stack.Frames[i - 1].LookupAddress, frame.ProgramCounter);
            foreach (var step in way.Tails)
            {
                var tail = _reading.Add(step.Place, i - 1, isTail: true);
                Link(callee, tail, step.LeadsOn ? step.Site : null, way);
                callee = tail;
            }

            var caller = _reading.Add(PlaceAt(frame.LookupAddress, VariablePlace.Running), i, isTail: false);
            Link(callee, caller, Calls(way, caller) ? way.Site : null, way);
            callee = caller;
        }
    }

    private static void Link(Activation callee, Activation caller, Dwarf.Locations.CallSiteParameters? site, EntryWay way)
    {
        if (site is not null && !way.IsRepeated)
        {
            callee.Link = new EntryLink(caller, site);
            caller.Callee = callee;
        }
    }

    /// <summary>True when the call at the end of a way surely called the way's first function.</summary>
    private static bool Calls(EntryWay way, Activation caller)
    {
        if (way.Target is { } target)
        {
            return target == way.First;
        }

        if (way.Site is not { Target.IsNone: false } site)
        {
            return false;
        }

        var sources = Dwarf.Locations.ValueSources.None;
        return Dwarf.Locations.LocationExpression.Compute(caller, site.Unit, site.Target, ref sources, out var called) == ExpressionOutcome.Value && called == way.First;
    }

    private VariablePlace PlaceAt(ulong address, int notEntered)
    {
        if (!_places.TryGetValue((address, notEntered), out var place))
        {
            if (_places.Count >= MaximumKept)
            {
                _places.Clear();
                _ways.Clear();
            }

            _places[(address, notEntered)] = place = VariablePlace.Read(_map, _typesOf, address, notEntered);
        }

        return place;
    }

    private EntryWay WayBetween(VariablePlace callee, ulong calleeAddress, ulong returnAddress)
    {
        var key = (calleeAddress, returnAddress);
        if (!_ways.TryGetValue(key, out var way))
        {
            if (_ways.Count >= MaximumKept)
            {
                _ways.Clear();
            }

            _ways[key] = way = EntryWay.Find(_map, address => PlaceAt(address, VariablePlace.Running), callee, calleeAddress, returnAddress);
        }

        return way;
    }

    private DwarfTypes OwnTypes(Symbolizer symbolizer)
    {
        if (!_types.TryGetValue(symbolizer, out var types))
        {
            _types.Add(symbolizer, types = new DwarfTypes(symbolizer));
        }

        return types;
    }
}
