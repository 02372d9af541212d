// Optimistic global value numbering over states (a forward analysis in the manner of Kildall, 1973): at a join a place keeps its value when all ways that were gone so far
// agree; else it gets a name of the join's own, and places that agree on every way share the name. Rounds go on until nothing changes. Why older results are never
// mistaken for newer ones: see FlowValue.cs; it holds at the fixed point only, so without one there is no answer.
using System.Collections.Immutable;
using KTrace.Symbols.Disassembly;

namespace KTrace.Symbols.Recovery;

/// <summary>What every place of a function holds, everywhere in it.</summary>
internal sealed class ValueFlow
{
    private const int MaximumRounds = 60;
    private const int PatientRounds = 12;
    private const int MaximumPasses = 8;

    private readonly FlowTransfer _transfer;
    private readonly RegisterNumbers _registers;
    private readonly StackEscapes _escapes;
    private readonly FlowState?[] _in;
    private readonly FlowState?[] _out;
    private readonly int[]?[] _joined;
    private bool _isSticky;
    private bool _isTrusting = true;

    private ValueFlow(FunctionFlow flow, CodeObject code, RegisterNumbers registers, Func<ulong, ImmutableArray<FrameObject>>? objectsAt)
    {
        Flow = flow;
        Code = code;
        _registers = registers;
        Values = new FlowValues(!registers.Is64Bit);
        Places = new FlowPlaces(registers.Count);
        _escapes = new StackEscapes(registers.Word, objectsAt);
        _transfer = new FlowTransfer(code, registers, Values, Places, _escapes);
        _in = new FlowState?[flow.Blocks.Length];
        _out = new FlowState?[flow.Blocks.Length];
        _joined = new int[]?[flow.Blocks.Length];
    }

    public FunctionFlow Flow { get; }

    public CodeObject Code { get; }

    public FlowValues Values { get; }

    public FlowPlaces Places { get; }

    public RegisterNumbers Registers => _registers;

    /// <summary>True when nobody but the function's own plain stores writes to that part of the frame.</summary>
    public bool IsFollowed(long offset, int size) => _escapes.IsFollowed(offset, size);

    /// <summary>Reports the slots that instructions load and store.</summary>
    public void Observe(Action<int, bool>? observer) => _transfer.Memory.Observer = observer;

    /// <summary>Null when there is no end to it.</summary>
    /// <param name="objectsAt">The variables in the frame that are in scope at an address; null when nobody knows.</param>
    public static ValueFlow? TryRun(FunctionFlow flow, CodeObject code, RegisterNumbers registers, Func<ulong, ImmutableArray<FrameObject>>? objectsAt = null)
    {
        var run = new ValueFlow(flow, code, registers, objectsAt);
        for (var pass = 0; pass < MaximumPasses; pass++)
        {
            if (!run.Iterate())
            {
                return null;
            }

            if (run._transfer.Memory.MetEntrySlot)
            {
                continue;
            }

            if (!run.CollectEscapes())
            {
                if (!run._isTrusting)
                {
                    return null;
                }

                run._isTrusting = false;
                continue;
            }

            if (!run._escapes.HasChanged && !run._transfer.Memory.MetEntrySlot)
            {
                return run.LeavesOnlyByTailCalls() ? run : null;
            }
        }

        return null;
    }

    /// <summary>
    /// A jump through a register may lead anywhere in the function itself (a switch, a computed goto), and then edges are missing. It is a tail call when nothing of a frame is
    /// left and the address is one that was passed in, returned, or loaded from a place that no index chose.
    /// </summary>
    private bool LeavesOnlyByTailCalls()
    {
        foreach (var exit in Flow.Exits)
        {
            var index = Flow.Find(exit.Address);
            ref readonly var jump = ref Flow.Instruction(index);
            var isThunk = jump.First.IsImmediate && Code.Special(jump.Address, jump.Length, exit.Target) == SpecialFunction.IndirectThunk;
            if (jump.First.IsImmediate && !isThunk)
            {
                continue;
            }

            if (Before(index) is not { } state)
            {
                continue;
            }

            if (state[_registers.StackPointer] != FlowValues.Cfa(-_registers.Word))
            {
                return false;
            }

            for (var register = 0; register < _registers.Count; register++)
            {
                if ((_registers.CalleeSaved & (1u << register)) != 0 && state[register] != Values.EntryRegister(register))
                {
                    return false;
                }
            }

            var through = isThunk ? Code.ThunkRegister(in jump) : jump.First.IsRegister ? jump.First.Register : -1;
            if (through < 0 ? isThunk || !jump.First.IsMemory || jump.First.IndexRegister >= 0 : !IsPassedAddress(state[through]))
            {
                return false;
            }
        }

        return true;
    }

    private bool IsPassedAddress(FlowValue value)
    {
        switch (Values.BaseOf(value))
        {
            case FlowBase.EntryRegister or FlowBase.EntrySlot:
                return true;
            case FlowBase.Result when value.Addend == 0:
                var index = Flow.Find((ulong)Values.PartsOf(value).A);
                if (index < 0)
                {
                    return false;
                }

                ref readonly var source = ref Flow.Instruction(index);
                return InstructionEffects.Of(source.Id) switch
                {
                    EffectKind.Call => true,
                    EffectKind.Mov => source.Second.IsMemory && source.Second.IndexRegister < 0,
                    _ => false,
                };
            default:
                return false;
        }
    }

    /// <summary>The state before a block's first instruction; null when nothing leads there.</summary>
    public FlowState? Before(FlowBlock block) => _in[block.Index];

    public FlowState? Behind(FlowBlock block) => _out[block.Index];

    /// <summary>The state just before an instruction.</summary>
    public FlowState? Before(int instruction)
    {
        var block = Flow.BlockOf(instruction);
        if (_in[block.Index] is not { } start)
        {
            return null;
        }

        var state = start.Clone();
        for (var i = block.First; i < instruction; i++)
        {
            _transfer.Apply(state, in Flow.Instruction(i));
        }

        return state;
    }

    /// <summary>Changes a state that held before an instruction to the one behind it.</summary>
    public void Apply(FlowState state, int instruction) => _transfer.Apply(state, in Flow.Instruction(instruction));

    /// <summary>The address that a memory operand names in a state.</summary>
    public FlowValue AddressOf(FlowState state, in MachineOperand operand) => _transfer.Memory.Address(state, in operand);

    public uint CallClobbers(in MachineInstruction call) => _transfer.CallClobbers(in call);

    /// <summary>What comes over an edge.</summary>
    public FlowState? Over(FlowEdge edge)
    {
        switch (edge.Kind)
        {
            case FlowEdgeKind.After:
                return _out[edge.From];
            case FlowEdgeKind.Instead:
                return _in[edge.From];
            default:
                if (_in[edge.From] is not { } before)
                {
                    return null;
                }

                var state = before.Clone();
                _transfer.Fault(state, in Flow.Instruction(Flow.Blocks[edge.From].First), edge.FixupKind);
                return state;
        }
    }

    /// <summary>The state at the function's entry.</summary>
    public FlowState AtEntry()
    {
        var state = new FlowState(Places.Count);
        for (var register = 0; register < _registers.Count; register++)
        {
            state[register] = Values.EntryRegister(register);
        }

        state[_registers.StackPointer] = FlowValues.Cfa(-_registers.Word);
        for (var place = _registers.Count; place < Places.Count; place++)
        {
            var slot = Places.Slot(place);
            state[place] = slot.Offset >= 0 && _escapes.IsFollowed(slot.Offset, slot.Size) ? Values.EntrySlot(slot.Offset, slot.Size) : FlowValues.Unknown;
        }

        return state;
    }

    private bool Iterate()
    {
        Array.Clear(_in);
        Array.Clear(_out);
        Array.Clear(_joined);
        _isSticky = false;
        _transfer.Memory.MetEntrySlot = false;
        _escapes.HasChanged = false;
        _escapes.IsCollecting = false;
        for (var round = 0; round < MaximumRounds; round++)
        {
            _isSticky = round >= PatientRounds;
            var changed = false;
            foreach (var block in Flow.Blocks)
            {
                changed |= Visit(block);
            }

            if (!changed || _transfer.Memory.MetEntrySlot)
            {
                return true;
            }
        }

        return false;
    }

    private bool Visit(FlowBlock block)
    {
        var merged = Merge(block);
        if (merged is null || (_in[block.Index] is { } before && before.SameAs(merged)))
        {
            return false;
        }

        _in[block.Index] = merged;
        var state = merged.Clone();
        for (var i = block.First; i < block.First + block.Count; i++)
        {
            _transfer.Apply(state, in Flow.Instruction(i));
        }

        var changed = _out[block.Index] is not { } old || !old.SameAs(state);
        _out[block.Index] = state;
        // Edges that leave from before the block carry its first state.
        return changed || block.Successors.Count > 0;
    }

    private FlowState? Merge(FlowBlock block)
    {
        var incoming = new List<FlowState>(block.Predecessors.Count + 1);
        if (block.Index == 0)
        {
            incoming.Add(AtEntry());
        }

        foreach (var edge in block.Predecessors)
        {
            if (Over(edge) is { } state)
            {
                incoming.Add(state);
            }
        }

        if (incoming.Count == 0)
        {
            return null;
        }

        if (incoming.Count == 1 && _joined[block.Index] is null)
        {
            return incoming[0].Clone();
        }

        return Join(block, incoming);
    }

    private FlowState Join(FlowBlock block, List<FlowState> incoming)
    {
        var count = incoming.Max(s => s.Length);
        var merged = new FlowState(count);
        var joined = _joined[block.Index];
        if (joined is null || joined.Length < count)
        {
            var grown = new int[count];
            Array.Fill(grown, -1);
            joined?.CopyTo(grown, 0);
            _joined[block.Index] = joined = grown;
        }

        for (var place = 0; place < count; place++)
        {
            var first = incoming[0][place];
            var (same, known) = (true, !first.IsUnknown);
            // A name that was given here in an earlier round and came round a loop unchanged says nothing new: the place keeps what it came with. That this was right is checked in
            // the end, when such a name may no longer be needed.
            var own = _isTrusting && !_isSticky && !_escapes.IsCollecting && joined[place] == place ? Values.Join(block.Index, place) : FlowValues.Unknown;
            first = first == own && known ? incoming.Find(s => s[place] != own)?[place] ?? first : first;
            known = !first.IsUnknown;
            for (var i = 0; i < incoming.Count; i++)
            {
                var other = incoming[i][place];
                same &= other == first || (other == own && known);
                known &= !other.IsUnknown;
            }

            if (!known)
            {
                joined[place] = _isSticky ? place : -1;
                NoteMixed(incoming, place);
                continue;
            }

            if (same && !(_isSticky && joined[place] >= 0))
            {
                merged[place] = first;
                joined[place] = -1;
                continue;
            }

            if (!same)
            {
                NoteMixed(incoming, place);
            }

            var representative = place;
            var previous = joined[place];
            for (var earlier = 0; earlier < place; earlier++)
            {
                // A place may leave its class, but in the end none comes back to one.
                if (joined[earlier] == earlier && !merged[earlier].IsUnknown && (!_isSticky || previous == earlier || previous < 0)
                    && incoming.TrueForAll(state => state[earlier] == state[place]))
                {
                    representative = earlier;
                    break;
                }
            }

            joined[place] = representative;
            merged[place] = Values.Join(block.Index, representative);
        }

        return merged;
    }

    /// <summary>An address on the stack that is one of several goes out of sight.</summary>
    private void NoteMixed(List<FlowState> incoming, int place)
    {
        if (!_escapes.IsCollecting)
        {
            return;
        }

        foreach (var state in incoming)
        {
            if (Values.IsStackAddress(state[place], out var offset))
            {
                _escapes.Add(offset);
            }
        }
    }

    private bool CollectEscapes()
    {
        _escapes.IsCollecting = true;
        foreach (var block in Flow.Blocks)
        {
            if (_in[block.Index] is not { } start)
            {
                continue;
            }

            if (Merge(block) is { } merged && !merged.SameAs(start))
            {
                return false;
            }

            var state = start.Clone();
            for (var i = block.First; i < block.First + block.Count; i++)
            {
                _transfer.Apply(state, in Flow.Instruction(i));
            }
        }

        _escapes.IsCollecting = false;
        return true;
    }
}
