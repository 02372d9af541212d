// Calls as the compiler describes them: DWARF 5, section 3.4 (DW_TAG_call_site), and GNU's form of it before DWARF 5 (DW_TAG_GNU_call_site,
// whose DW_AT_low_pc is the return address and whose DW_AT_abstract_origin the callee). GCC writes one DIE a call that is left, at any depth of
// lexical blocks and inlined calls, and DW_AT_call_all_calls (or …_all_tail_calls) on a function whose calls are all there. clang gives a tail
// call DW_AT_call_pc, the address of its jump, instead of DW_AT_call_return_pc. Assembly code has no call sites.
// What is called: a function's DIE with code; a declaration, which the linker resolves by name; an abstract instance (a function that is inlined
// elsewhere too), whose code is in another DIE; a bare address (GCC, for a clone that has no DIE yet); nothing for a call through a pointer.
using System.Collections.Immutable;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Dwarf;

/// <summary>A function with code.</summary>
/// <param name="Unit">Its unit, bytes from the start of .debug_info.</param>
/// <param name="Entry">Its DIE, bytes from the start of .debug_info.</param>
/// <param name="Start">Where it is entered.</param>
internal readonly record struct DwarfFunction(int Unit, int Entry, ulong Start);

/// <summary>One call.</summary>
/// <param name="ReturnAddress">The address behind the call or jump; of a tail call by clang the jump itself.</param>
/// <param name="LookupAddress">An address inside the call instruction.</param>
/// <param name="IsTailCall">A jump: the caller's stack frame is gone when the callee runs.</param>
/// <param name="TargetEntry">The DIE of what is called, or -1.</param>
/// <param name="TargetAddress">Where it calls, when that stands in the DIE; else 0.</param>
/// <param name="Entry">The call's own DIE, bytes from the start of .debug_info.</param>
internal readonly record struct CallSite(ulong ReturnAddress, ulong LookupAddress, bool IsTailCall, long TargetEntry, ulong TargetAddress, int Entry);

/// <summary>What is called: at an address of the same object, or by a name that the linker resolved.</summary>
internal readonly record struct CallTarget(ulong Address, string? Name);

/// <summary>The calls of one function.</summary>
/// <param name="Sites">In DIE order.</param>
/// <param name="HasAllTailCalls">The compiler says that no tail call is missing.</param>
internal sealed record FunctionCalls(ImmutableArray<CallSite> Sites, bool HasAllTailCalls);

/// <summary>The calls of one object. Nothing is read before it is asked for. Not thread-safe.</summary>
internal sealed class CallSites
{
    private const int KeptUnits = 48;
    private const int MaximumCached = 1 << 14;
    private const int MaximumDepth = 256;

    private const ushort TagCallSite = 0x48, TagGnuCallSite = 0x4109, TagTryBlock = 0x32, TagCatchBlock = 0x25;
    private const ushort CallReturnPc = 0x7d, CallOrigin = 0x7f, CallPc = 0x81, CallTailCall = 0x82, GnuTailCall = 0x2115;
    private const ushort AllCalls = 0x7a, AllSourceCalls = 0x7b, AllTailCalls = 0x7c;
    private const ushort GnuAllTailCallSites = 0x2116, GnuAllCallSites = 0x2117, GnuAllSourceCallSites = 0x2118;

    private readonly Symbolizer _symbolizer;
    private readonly UnitFinder _finder;
    private readonly LinkedList<LoadedUnit> _units = new();
    private readonly Dictionary<int, FunctionCalls> _calls = [];
    private readonly Dictionary<long, CallTarget?> _targets = [];

    public CallSites(Symbolizer symbolizer)
    {
        _symbolizer = symbolizer;
        _finder = new UnitFinder(symbolizer.Sections, symbolizer.Units);
    }

    /// <summary>The function that holds an address, not what was inlined there. False where DWARF knows none, or is damaged.</summary>
    public bool TryFindFunction(ulong address, out DwarfFunction function)
    {
        function = default;
        try
        {
            var offset = _symbolizer.HasDwarf ? _symbolizer.Units.Find(address) : -1;
            if (offset < 0 || !Load(offset).Functions.TryFind(address, out var piece))
            {
                return false;
            }

            function = new DwarfFunction(offset, piece.Entry, piece.FunctionLow);
            return true;
        }
        catch (MalformedFileException)
        {
            return false;
        }
    }

    /// <summary>The unit at an offset of .debug_info; of the last few the same object.</summary>
    /// <exception cref="MalformedFileException">Its header or abbreviations are damaged.</exception>
    public Unit UnitAt(int offset) => Load(offset).Unit;

    /// <summary>The calls of a function; none, and not all, where its DIEs are damaged.</summary>
    public FunctionCalls Of(in DwarfFunction function)
    {
        if (_calls.TryGetValue(function.Entry, out var calls))
        {
            return calls;
        }

        try
        {
            calls = Read(Load(function.Unit).Unit, function.Entry, out var origin);
            calls = origin < 0 ? calls : WithThoseOf(calls, in function, origin);
        }
        catch (MalformedFileException)
        {
            calls = new FunctionCalls([], false);
        }

        if (_calls.Count >= MaximumCached)
        {
            _calls.Clear();
        }

        return _calls[function.Entry] = calls;
    }

    /// <summary>What a call calls, or null when DWARF does not say (a call through a pointer).</summary>
    public CallTarget? TargetOf(in CallSite site)
    {
        if (site.TargetEntry < 0)
        {
            return site.TargetAddress == 0 ? null : new CallTarget(site.TargetAddress, null);
        }

        if (_targets.TryGetValue(site.TargetEntry, out var target))
        {
            return target;
        }

        try
        {
            target = ReadTarget(site.TargetEntry);
        }
        catch (MalformedFileException)
        {
            target = null;
        }

        if (_targets.Count >= MaximumCached)
        {
            _targets.Clear();
        }

        return _targets[site.TargetEntry] = target;
    }

    private LoadedUnit Load(int offset)
    {
        for (var node = _units.First; node is not null; node = node.Next)
        {
            if (node.Value.Unit.Header.Offset == offset)
            {
                _units.Remove(node);
                _units.AddFirst(node);
                return node.Value;
            }
        }

        var loaded = new LoadedUnit(new Unit(_symbolizer.Sections, _finder.Find));
        loaded.Unit.Load(offset);
        loaded.Functions.Load(loaded.Unit, deep: false);
        if (_units.Count == KeptUnits)
        {
            _units.RemoveLast();
        }

        _units.AddFirst(loaded);
        return loaded;
    }

    /// <summary>
    /// With the calls that stand under the function's abstract instance. Those have no business there, as an abstract instance has no code; GCC 12 puts one there now and then
    /// (in e1000e one of 2861). An address in this function says whose they are.
    /// </summary>
    private FunctionCalls WithThoseOf(FunctionCalls own, in DwarfFunction function, long origin)
    {
        var loaded = Load(function.Unit);
        if (origin < loaded.Unit.Header.Offset || origin >= loaded.Unit.Header.End)
        {
            return own;
        }

        var sites = own.Sites;
        foreach (var site in Read(loaded.Unit, (int)origin, out _).Sites)
        {
            if (loaded.Functions.TryFind(site.LookupAddress, out var piece) && piece.Entry == function.Entry && !sites.Any(other => other.ReturnAddress == site.ReturnAddress))
            {
                sites = sites.Add(site);
            }
        }

        return sites == own.Sites ? own : own with { Sites = sites };
    }

    private static unsafe FunctionCalls Read(Unit unit, int entry, out long origin)
    {
        var sites = ImmutableArray.CreateBuilder<CallSite>();
        var hasAll = false;
        origin = -1;
        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, entry);
            if (!reader.ReadEntry())
            {
                throw unit.Malformed(entry, "a null entry where a function is expected");
            }

            var hasChildren = reader.Entry.HasChildren;
            for (var i = 0; i < reader.AttributeCount; i++)
            {
                ref readonly var attribute = ref reader.Attribute(i);
                if (attribute.Name is AllCalls or AllSourceCalls or AllTailCalls or GnuAllTailCallSites or GnuAllCallSites or GnuAllSourceCallSites)
                {
                    hasAll |= reader.ReadNumber(in attribute) != 0;
                }
                else if (attribute.Name == DwAt.AbstractOrigin)
                {
                    origin = reader.ReadReference(in attribute);
                }
                else
                {
                    reader.Skip(in attribute);
                }
            }

            for (var depth = hasChildren ? 1 : 0; depth > 0;)
            {
                if (!reader.ReadEntry())
                {
                    depth--;
                    continue;
                }

                ref readonly var child = ref reader.Entry;
                var childHasChildren = child.HasChildren;
                switch (child.Tag)
                {
                    case TagCallSite or TagGnuCallSite:
                        // A site without an address could be a tail call like any other.
                        hasAll &= ReadSite(ref reader, child.Tag == TagGnuCallSite, sites);
                        if (childHasChildren)
                        {
                            reader.SkipChildren();
                        }

                        break;
                    case DwTag.LexicalBlock or DwTag.InlinedSubroutine or TagTryBlock or TagCatchBlock when childHasChildren && depth < MaximumDepth:
                        reader.SkipAttributes();
                        depth++;
                        break;
                    default:
                        hasAll &= depth < MaximumDepth;
                        reader.SkipTree();
                        break;
                }
            }
        }

        return new FunctionCalls(sites.DrainToImmutable(), hasAll);
    }

    private static bool ReadSite(ref DieReader reader, bool isGnu, ImmutableArray<CallSite>.Builder into)
    {
        ulong returnPc = 0, callPc = 0, address = 0;
        var entry = reader.EntryOffset;
        var isTailCall = false;
        long origin = -1;
        for (var i = 0; i < reader.AttributeCount; i++)
        {
            ref readonly var attribute = ref reader.Attribute(i);
            switch (attribute.Name)
            {
                case CallReturnPc:
                case DwAt.LowPc when isGnu:
                    returnPc = reader.ReadNumber(in attribute);
                    break;
                case CallPc:
                    callPc = reader.ReadNumber(in attribute);
                    break;
                case CallTailCall or GnuTailCall:
                    isTailCall = reader.ReadNumber(in attribute) != 0;
                    break;
                case CallOrigin or DwAt.AbstractOrigin when AttributeForm.IsAddress(attribute.Form):
                    address = reader.ReadNumber(in attribute);
                    break;
                case CallOrigin or DwAt.AbstractOrigin:
                    origin = reader.ReadReference(in attribute);
                    break;
                default:
                    reader.Skip(in attribute);
                    break;
            }
        }

        if (returnPc == 0 && callPc == 0)
        {
            return false;
        }

        into.Add(new CallSite(returnPc != 0 ? returnPc : callPc, returnPc != 0 ? returnPc - 1 : callPc, isTailCall, origin, address, entry));
        return true;
    }

    private unsafe CallTarget? ReadTarget(long entry)
    {
        if (entry > int.MaxValue || _symbolizer.Units.Holding((int)entry) is not (>= 0 and var offset))
        {
            return null;
        }

        var loaded = Load(offset);
        var unit = loaded.Unit;
        StringReference name = default, linkageName = default;
        ulong? start = null;
        var (isDeclaration, isExternal) = (false, false);
        fixed (byte* bytes = unit.Sections.Info.Span)
        {
            var reader = new DieReader(unit, bytes, (int)entry);
            if (!reader.ReadEntry() || reader.Entry.Tag != DwTag.Subprogram)
            {
                return null;
            }

            var ranges = new GrowingArray<AddressRange>(4);
            for (var i = 0; i < reader.AttributeCount; i++)
            {
                ref readonly var attribute = ref reader.Attribute(i);
                switch (attribute.Name)
                {
                    case DwAt.Name:
                        name = reader.ReadString(in attribute);
                        break;
                    case DwAt.LinkageName or DwAt.MipsLinkageName:
                        linkageName = reader.ReadString(in attribute);
                        break;
                    case DwAt.LowPc:
                        start = reader.ReadNumber(in attribute);
                        break;
                    case DwAt.Ranges:
                        unit.ReadRanges(ref reader, in attribute, ranges);
                        break;
                    case DwAt.Declaration:
                        isDeclaration = reader.ReadNumber(in attribute) != 0;
                        break;
                    case DwAt.External:
                        isExternal = reader.ReadNumber(in attribute) != 0;
                        break;
                    default:
                        reader.Skip(in attribute);
                        break;
                }
            }

            if (start is null or 0 && ranges.Count > 0)
            {
                start = ranges[0].Low;
            }
        }

        // A builtin is called __builtin_memcpy in DWARF and memcpy by the linker.
        var text = linkageName.IsNone ? name.IsNone ? _symbolizer.Sections.Text(unit.FunctionName(entry)) : _symbolizer.Sections.Text(name)
            : _symbolizer.Sections.Text(linkageName);
        if (start is > 0 and { } known)
        {
            // A weak function that lost to a strong one keeps its code and its DIE, but no symbol: calls go to the one that won.
            return HasSymbolAt(known, out _) || !isExternal ? new CallTarget(known, null) : Named(text);
        }

        if (isDeclaration)
        {
            return Named(text);
        }

        return loaded.OutOfLine(entry, at => HasSymbolAt(at, out var symbol) && !symbol.StartsWith(text + ".", StringComparison.Ordinal)) is { } concrete
            ? new CallTarget(concrete, null)
            : isExternal ? Named(text) : null;
    }

    private static CallTarget? Named(string name) => name.Length == 0 ? null : new CallTarget(0, name);

    private bool HasSymbolAt(ulong address, out string name)
    {
        var found = _symbolizer.Symbols.TryFindNearest(address, out ElfSymbol symbol) && symbol.Value == address;
        name = found ? symbol.Name : "";
        return found;
    }

    private sealed class LoadedUnit(Unit unit)
    {
        private Dictionary<long, List<ulong>>? _outOfLine;

        public Unit Unit { get; } = unit;

        public FunctionIndex Functions { get; } = new();

        /// <summary>
        /// Where the code of an abstract instance is. Its clones (foo.part.0, foo.constprop.0) name the same origin, and are no answer: who calls a
        /// clone refers to the clone.
        /// </summary>
        public ulong? OutOfLine(long origin, Predicate<ulong> isItself)
        {
            _outOfLine ??= ReadOrigins();
            return _outOfLine.TryGetValue(origin, out var starts) && starts.FindAll(isItself) is [var start] ? start : null;
        }

        private unsafe Dictionary<long, List<ulong>> ReadOrigins()
        {
            var origins = new Dictionary<long, List<ulong>>();
            fixed (byte* bytes = Unit.Sections.Info.Span)
            {
                var last = -1;
                for (var index = 0; index < Functions.Count; index++)
                {
                    ref readonly var piece = ref Functions[index];
                    // The pieces of one function follow each other.
                    if (piece.Entry == last)
                    {
                        continue;
                    }

                    last = piece.Entry;
                    var reader = new DieReader(Unit, bytes, piece.Entry);
                    reader.ReadEntry();
                    for (var i = 0; i < reader.AttributeCount; i++)
                    {
                        ref readonly var attribute = ref reader.Attribute(i);
                        if (attribute.Name != DwAt.AbstractOrigin)
                        {
                            reader.Skip(in attribute);
                            continue;
                        }

                        var origin = reader.ReadReference(in attribute);
                        if (!origins.TryGetValue(origin, out var starts))
                        {
                            origins.Add(origin, starts = []);
                        }

                        starts.Add(piece.FunctionLow);
                        break;
                    }
                }
            }

            return origins;
        }
    }
}
