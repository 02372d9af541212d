// A value that some place held when the function last came to an instruction, followed to another one. Its name alone is not enough: between the two the code may have come by where
// the name is given anew (a loop's head, an instruction in the loop). So the value goes along every way from the one place to the other; where its
// name would be given anew it takes the name of a place that holds it just then, or is lost.
namespace KTrace.Symbols.Recovery;

/// <summary>Follows one value through a function. Used once.</summary>
internal sealed class ValueTracker
{
    private readonly ValueFlow _flow;
    private readonly int _start;
    private readonly FlowValue _value;
    private readonly Tracked[] _in;
    private readonly Tracked[] _out;

    private ValueTracker(ValueFlow flow, int start, FlowValue value)
    {
        _flow = flow;
        _start = start;
        _value = value;
        _in = new Tracked[flow.Flow.Blocks.Length];
        _out = new Tracked[flow.Flow.Blocks.Length];
    }

    private enum Standing : byte
    {
        /// <summary>No way from the start comes here.</summary>
        NotReached,
        Known,
        Lost,
    }

    private readonly record struct Tracked(Standing Standing, FlowValue Value);

    /// <summary>
    /// What the value is called before instruction <paramref name="end"/>, if the function came by instruction <paramref name="start"/>, before which it was called
    /// <paramref name="value"/>. Unknown when it is lost.
    /// </summary>
    public static FlowValue Follow(ValueFlow flow, int start, FlowValue value, int end)
    {
        if (value.IsUnknown || IsForever(flow.Values, value))
        {
            return value;
        }

        var tracker = new ValueTracker(flow, start, value);
        return tracker.Run() && tracker.Before(end) is { Standing: Standing.Known } tracked ? tracked.Value : FlowValues.Unknown;
    }

    /// <summary>Names that are given at entry are never given anew.</summary>
    private static bool IsForever(FlowValues values, FlowValue value)
    {
        while (values.TryUnwrap(value, out var inner, out _))
        {
            value = inner;
        }

        return values.BaseOf(value) is not (FlowBase.Result or FlowBase.Join);
    }

    private bool Run()
    {
        var blocks = _flow.Flow.Blocks;
        for (var round = 0; round < 2 * blocks.Length + 8; round++)
        {
            var changed = false;
            foreach (var block in blocks)
            {
                var before = Merge(block);
                var behind = Through(block, before, block.First + block.Count);
                changed |= before != _in[block.Index] || behind != _out[block.Index];
                (_in[block.Index], _out[block.Index]) = (before, behind);
            }

            if (!changed)
            {
                return true;
            }
        }

        return false;
    }

    private Tracked Before(int instruction)
    {
        var block = _flow.Flow.BlockOf(instruction);
        return Through(block, _in[block.Index], instruction) is var tracked && instruction == _start ? new Tracked(Standing.Known, _value) : tracked;
    }

    /// <summary>From a block's beginning to just before an instruction of it (or its end).</summary>
    private Tracked Through(FlowBlock block, Tracked tracked, int end)
    {
        for (var i = block.First; i < end; i++)
        {
            if (i == _start)
            {
                tracked = new Tracked(Standing.Known, _value);
            }

            if (tracked.Standing == Standing.Known && _flow.Values.ComesFrom(tracked.Value, FlowBase.Result, (long)_flow.Flow.Instruction(i).Address))
            {
                tracked = new Tracked(Standing.Lost, default);
            }
        }

        return tracked;
    }

    private Tracked Over(FlowEdge edge) => edge.Kind == FlowEdgeKind.After
        ? _out[edge.From]
        : _flow.Flow.Blocks[edge.From].First == _start
            ? new Tracked(Standing.Known, _value)
            : _in[edge.From];

    private Tracked Merge(FlowBlock block)
    {
        var first = default(Tracked);
        var same = true;
        foreach (var edge in block.Predecessors)
        {
            var tracked = Over(edge);
            if (tracked.Standing == Standing.Known && edge.Kind == FlowEdgeKind.Fault
                && _flow.Values.ComesFrom(tracked.Value, FlowBase.Result, (long)_flow.Flow.Instruction(_flow.Flow.Blocks[edge.From].First).Address))
            {
                tracked = new Tracked(Standing.Lost, default);
            }

            switch (tracked.Standing)
            {
                case Standing.NotReached:
                    continue;
                case Standing.Lost:
                    return tracked;
            }

            if (first.Standing == Standing.NotReached)
            {
                first = tracked;
            }

            same &= tracked == first;
        }

        if (first.Standing == Standing.NotReached || (same && !_flow.Values.ComesFrom(first.Value, FlowBase.Join, block.Index)))
        {
            return first;
        }

        return Renamed(block);
    }

    /// <summary>A place that holds the value on every way into the block holds it there.</summary>
    private Tracked Renamed(FlowBlock block)
    {
        if (_flow.Before(block) is not { } merged)
        {
            return new Tracked(Standing.Lost, default);
        }

        for (var place = 0; place < merged.Length; place++)
        {
            if (merged[place].IsUnknown)
            {
                continue;
            }

            long? difference = null;
            var holds = true;
            foreach (var edge in block.Predecessors)
            {
                var tracked = Over(edge);
                if (tracked.Standing == Standing.NotReached)
                {
                    continue;
                }

                if (_flow.Over(edge) is not { } state || state[place].IsUnknown || state[place].Node != tracked.Value.Node
                    || (difference is { } known && known != tracked.Value.Addend - state[place].Addend))
                {
                    holds = false;
                    break;
                }

                difference = tracked.Value.Addend - state[place].Addend;
            }

            if (holds && difference is { } addend)
            {
                return new Tracked(Standing.Known, _flow.Values.Add(merged[place], addend));
            }
        }

        return new Tracked(Standing.Lost, default);
    }
}
