// Stacks that were written before. Hits repeat: the innermost frame's id is found by the return addresses of the whole stack at once; a stack that is new shares its outer frames with others, and only the
// frames that differ are named and written. Ids are given out until there are no more; then all begins anew, and they mean something else. So memory stays what it is, however long a recording lasts.
using System.Collections.Immutable;
using System.Runtime.InteropServices;
using KTrace.Debugger.NonStop.Sites;
using KTrace.Debugger.Recording;
using KTrace.Debugger.Tracepoints;
using KTrace.Symbols.Unwind;
using KTrace.Tracing;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>What is kept of a stack whose hits repeat.</summary>
internal sealed class KnownStack
{
    public required NonStopSite Site { get; init; }

    public required TraceContext Context { get; init; }

    public required ulong[] Counters { get; init; }

    /// <summary>For each of the site's tracepoints, the id of the innermost frame.</summary>
    public required int[] Ids { get; init; }

    /// <summary>Names on the whole path.</summary>
    public required int FrameCount { get; init; }
}

/// <summary>Finds and writes stacks.</summary>
internal sealed class KnownStacks(HitRecords names, CompactWriter trace)
{
    private readonly Dictionary<ulong, KnownStack> _stacks = [];
    private readonly Dictionary<NodeKey, (int Id, int FrameCount)> _nodes = [];
    private int _lastId;

    /// <summary>One frame on top of another. The address with which names are looked up tells a return address from an interrupted instruction.</summary>
    private readonly record struct NodeKey(int Caller, ulong Counter, ulong Lookup, UnwindRule Rule);

    /// <summary>Code was loaded or freed: what lies at other addresses may have other names now.</summary>
    /// <param name="isSame">Whether nothing has changed at an address.</param>
    public void Forget(Func<ulong, bool> isSame)
    {
        foreach (var (hash, stack) in _stacks)
        {
            if (!Array.TrueForAll(stack.Counters, c => isSame(c)))
            {
                _stacks.Remove(hash);
            }
        }

        // What stood on a frame that goes is not found any more either, as its id does not come again.
        foreach (var key in _nodes.Keys)
        {
            if (!isSame(key.Counter))
            {
                _nodes.Remove(key);
            }
        }
    }

    /// <summary>A stack that was written before; null when it was not.</summary>
    public KnownStack? Find(ulong hash, NonStopSite site, TraceContext context, ReadOnlySpan<ulong> counters) =>
        _stacks.TryGetValue(hash, out var known) && ReferenceEquals(known.Site, site) && ReferenceEquals(known.Context, context) && counters.SequenceEqual(known.Counters) ? known : null;

    /// <summary>Names a stack, and writes what of it was not written before.</summary>
    /// <param name="hash">Under which it is found again; null: it is not kept.</param>
    /// <param name="counters">Program counters, innermost first.</param>
    public KnownStack Add(
        ulong? hash, NonStopSite site, TraceContext context, ReadOnlySpan<ulong> counters, ReadOnlySpan<ulong> lookups, ReadOnlySpan<UnwindRule> rules)
    {
        if (_lastId + counters.Length + site.Tracepoints.Length > TraceFormat.MaxStacks)
        {
            _stacks.Clear();
            _nodes.Clear();
            _lastId = 0;
        }

        (int Id, int FrameCount) caller = default;
        for (var i = counters.Length - 1; i > 0; i--)
        {
            var key = new NodeKey(caller.Id, counters[i], lookups[i], rules[i]);
            ref var known = ref CollectionsMarshal.GetValueRefOrAddDefault(_nodes, key, out var exists);
            if (!exists)
            {
                known = Write(i, caller, counters, lookups, rules, null, null, context);
            }

            caller = known;
        }

        var ids = new int[site.Tracepoints.Length];
        var count = 0;
        for (var i = 0; i < ids.Length; i++)
        {
            var tracepoint = site.Tracepoints[i];
            (ids[i], count) = Write(0, caller, counters, lookups, rules, tracepoint, tracepoint.IsInlineAt(site.Entry) ? tracepoint.Symbol : null, context);
        }

        var stack = new KnownStack { Site = site, Context = context, Counters = hash is null ? [] : counters.ToArray(), Ids = ids, FrameCount = count };
        if (hash is { } place)
        {
            _stacks[place] = stack;
        }

        return stack;
    }

    private (int Id, int FrameCount) Write(
        int index, (int Id, int FrameCount) caller, ReadOnlySpan<ulong> counters, ReadOnlySpan<ulong> lookups, ReadOnlySpan<UnwindRule> rules,
        Tracepoint? tracepoint, string? entered, TraceContext context)
    {
        var frames = ImmutableArray.CreateBuilder<TraceFrame>(2);
        var tailPcs = ImmutableArray.CreateBuilder<ulong>(0);
        frames.AddRange(names.FramesOf(lookups[index], rules[index], entered));
        if (index + 1 < counters.Length && lookups[index + 1] != counters[index + 1])
        {
            names.AddTailCalls(lookups[index], counters[index + 1], frames, tailPcs);
        }

        var count = caller.FrameCount + frames.Count;
        trace.Stack(new TraceStack(++_lastId, caller.Id, counters[index], frames.DrainToImmutable(), tailPcs.DrainToImmutable())
        {
            Tracepoint = tracepoint?.Id,
            Context = tracepoint is null ? null : context,
        });
        return (_lastId, count);
    }
}
