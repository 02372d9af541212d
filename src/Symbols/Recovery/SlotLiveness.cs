// A slot that is loaded later, with no store in between, is one that the compiler means to find unchanged: a callee cannot have been given it as its own argument.
namespace KTrace.Symbols.Recovery;

/// <summary>Which slots of a frame are loaded again (live variables, backwards).</summary>
internal sealed class SlotLiveness
{
    private readonly ValueFlow _flow;
    private readonly UInt128[] _behind;

    public SlotLiveness(ValueFlow flow)
    {
        _flow = flow;
        var blocks = flow.Flow.Blocks;
        _behind = new UInt128[blocks.Length];
        var (loaded, stored) = (new UInt128[blocks.Length], new UInt128[blocks.Length]);
        foreach (var block in blocks)
        {
            (loaded[block.Index], stored[block.Index]) = Walk(block, block.First);
        }

        for (var changed = true; changed;)
        {
            changed = false;
            for (var i = blocks.Length - 1; i >= 0; i--)
            {
                var behind = UInt128.Zero;
                foreach (var next in blocks[i].Successors)
                {
                    behind |= loaded[next] | (_behind[next] & ~stored[next]);
                }

                changed |= behind != _behind[i];
                _behind[i] = behind;
            }
        }
    }

    /// <summary>Is a slot loaded behind an instruction before it is stored to again?</summary>
    public bool IsLiveBehind(int instruction, int place)
    {
        var block = _flow.Flow.BlockOf(instruction);
        var (loaded, stored) = Walk(block, instruction + 1);
        return ((loaded | (_behind[block.Index] & ~stored)) & Bit(place)) != 0;
    }

    private UInt128 Bit(int place) => UInt128.One << (place - _flow.Places.Registers);

    /// <summary>The slots that are loaded first, and those that are stored to first, from an instruction to the end of its block.</summary>
    private (UInt128 Loaded, UInt128 Stored) Walk(FlowBlock block, int from)
    {
        var (loaded, stored) = (UInt128.Zero, UInt128.Zero);
        if (_flow.Before(block) is not { } start)
        {
            return (loaded, stored);
        }

        var state = start.Clone();
        for (var i = block.First; i < block.First + block.Count; i++)
        {
            if (i == from)
            {
                _flow.Observe((place, isLoad) =>
                {
                    if (isLoad)
                    {
                        loaded |= Bit(place) & ~stored;
                    }
                    else
                    {
                        stored |= Bit(place) & ~loaded;
                    }
                });
            }

            _flow.Apply(state, i);
        }

        _flow.Observe(null);
        return (loaded, stored);
    }
}
