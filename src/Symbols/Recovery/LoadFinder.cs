// Debug information says that a variable's value at some point is what memory holds there (adapter->msix_entries[0].vector), and the code has loaded just that, into a register.
// Memory may be something else by now; the register, or where it was saved, or what was passed on, is not. That the load and the point see the same memory is sure
// where nothing between them can store and nothing but straight code lies between them. Stores to slots of the frame whose address nobody has do not count.
using KTrace.Symbols.Disassembly;

namespace KTrace.Symbols.Recovery;

/// <summary>Finds the load that a value in memory came by.</summary>
internal sealed class LoadFinder
{
    private const int MaximumInstructions = 64;

    private readonly ValueFlow _flow;
    private readonly int _point;
    private readonly List<int> _region = [];
    private readonly int _pointInRegion;

    private LoadFinder(ValueFlow flow, int point)
    {
        _flow = flow;
        _point = point;
        Backwards();
        _region.Reverse();
        _pointInRegion = _region.Count;
        Forwards();
    }

    /// <summary>What the value is called that a term has before an instruction. Unknown when the code does not load it close to there.</summary>
    /// <param name="from">The instruction before which the value surely has that name, when the code comes there from <paramref name="point"/>.</param>
    public static FlowValue Find(ValueFlow flow, int point, LoadedTerm term, int place, out int from)
    {
        from = point;
        return flow.Before(point) is { } state ? new LoadFinder(flow, point).Find(state, term, place, ref from) : FlowValues.Unknown;
    }

    private FlowValue Find(FlowState state, LoadedTerm term, int place, ref int from)
    {
        var values = _flow.Values;
        if (term.Register >= _flow.Registers.Count)
        {
            return FlowValues.Unknown;
        }

        var address = term.Register >= 0 ? values.Add(state[term.Register], term.Offsets[0]) : values.Image((ulong)term.Offsets[0]);
        var earliest = -1;
        for (var load = 0; load < term.Offsets.Length; load++)
        {
            var isLast = load == term.Offsets.Length - 1;
            if (load > 0)
            {
                address = values.Add(address, term.Offsets[load]);
            }

            // What lies on the function's own stack is not for here: slots have their own names.
            if (address.IsUnknown || values.IsStackAddress(address, out _)
                || FindLoad(address, isLast ? term.Size : _flow.Registers.Word, earliest) is not (>= 0 and var found))
            {
                return FlowValues.Unknown;
            }

            ref readonly var instruction = ref _flow.Flow.Instruction(_region[found]);
            var behind = _flow.Before(_region[found])!.Clone();
            _flow.Apply(behind, _region[found]);
            address = behind[instruction.First.Register];
            earliest = found;
        }

        if (earliest >= _pointInRegion)
        {
            // The function has to be past the load.
            if (_region.IndexOf(place) is >= 0 and var standing && standing <= earliest && standing >= _pointInRegion)
            {
                return FlowValues.Unknown;
            }

            from = earliest + 1 < _region.Count ? _region[earliest + 1] : -1;
            if (from < 0)
            {
                return FlowValues.Unknown;
            }
        }

        return values.Add(address, term.Addend);
    }

    /// <summary>The load of that size from that address; its position, or -1.</summary>
    /// <param name="given">The load that gave the address its name; -1 when it had it at the point.</param>
    private int FindLoad(FlowValue address, int size, int given)
    {
        for (var i = _region.Count - 1; i > given; i--)
        {
            ref readonly var instruction = ref _flow.Flow.Instruction(_region[i]);
            if (InstructionEffects.Of(instruction.Id) is EffectKind.Mov or EffectKind.MovZeroExtend or EffectKind.MovSignExtend
                && instruction is { First.IsRegister: true, Second: { IsMemory: true, HasSegment: false } } && instruction.Second.Size == size
                && instruction.First.Size >= Math.Min(size, 4) && _flow.Code.External(instruction.Address, instruction.Length) is null
                && _flow.Before(_region[i]) is { } state && _flow.AddressOf(state, instruction.Second) == address
                && (given >= 0 || IsSameName(address, Math.Min(i, _pointInRegion), Math.Max(i, _pointInRegion))))
            {
                return i;
            }
        }

        return -1;
    }

    /// <summary>A name means the same at both ends of a stretch when it is not given anew there.</summary>
    private bool IsSameName(FlowValue value, int first, int end)
    {
        for (var i = first; i <= end; i++)
        {
            var (index, block) = (_region[i], _flow.Flow.BlockOf(_region[i]));
            if ((i < end && _flow.Values.ComesFrom(value, FlowBase.Result, (long)_flow.Flow.Instruction(index).Address))
                || (i > first && index == block.First && _flow.Values.ComesFrom(value, FlowBase.Join, block.Index)))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Up to the point, as long as there is one way only and nothing stores.</summary>
    private void Backwards()
    {
        var block = _flow.Flow.BlockOf(_point);
        for (var i = _point - 1; _region.Count < MaximumInstructions; i--)
        {
            if (i < block.First)
            {
                if (block.Predecessors is not [{ Kind: FlowEdgeKind.After, From: var previous }] || previous == block.Index || block.Index == 0)
                {
                    return;
                }

                block = _flow.Flow.Blocks[previous];
                i = block.First + block.Count;
                continue;
            }

            if (MayStore(i) || _region.Contains(i))
            {
                return;
            }

            _region.Add(i);
        }
    }

    /// <summary>From the point to the end of its block, as long as nothing stores.</summary>
    private void Forwards()
    {
        var block = _flow.Flow.BlockOf(_point);
        for (var i = _point; i < block.First + block.Count && _region.Count < 2 * MaximumInstructions && !_region.Contains(i); i++)
        {
            _region.Add(i);
            if (MayStore(i))
            {
                return;
            }
        }
    }

    private bool MayStore(int index)
    {
        ref readonly var instruction = ref _flow.Flow.Instruction(index);
        switch (InstructionEffects.Of(instruction.Id))
        {
            case EffectKind.WritesNothing or EffectKind.Compare or EffectKind.Lea or EffectKind.SignExtendAx or EffectKind.Push or EffectKind.WritesImplicit:
                return false;
            case EffectKind.Mov or EffectKind.MovZeroExtend or EffectKind.MovSignExtend or EffectKind.Add or EffectKind.Subtract or EffectKind.Increment or EffectKind.Decrement
                or EffectKind.And or EffectKind.Or or EffectKind.Xor or EffectKind.Pop or EffectKind.WritesFirst:
                return instruction.First.IsMemory && !IsOwnSlot(index, in instruction);
            default:
                return true;
        }
    }

    private bool IsOwnSlot(int index, in MachineInstruction instruction) =>
        !instruction.First.HasSegment && _flow.Before(index) is { } state && _flow.AddressOf(state, instruction.First) is { IsCfa: true } address
        && _flow.IsFollowed(address.Addend, instruction.First.Size);
}
