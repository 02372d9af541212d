using System.Collections.Immutable;

namespace KTrace.Symbols.Recovery;

/// <summary>A place in a function at which a frame can stand, and what of the frame's state can still be seen there.</summary>
/// <param name="Instruction">Index of the instruction that runs next, or of the call that is under way.</param>
/// <param name="State">Before it.</param>
/// <param name="Visible">Registers that hold what they held then; a bit each.</param>
/// <param name="IsCall">The call is under way.</param>
internal sealed record FlowPlace(int Instruction, FlowState State, uint Visible, bool IsCall);

/// <summary>Where values can be found.</summary>
internal sealed class RecipeFinder(ValueFlow flow)
{
    // No function of the kernel takes more words on the stack than these.
    private const int ArgumentWords = 12;

    // One value is hardly ever passed more often, and each costs a look into the callee.
    private const int MaximumPassed = 2;

    // A function has some dozens of calls; a guest that stops at every instruction of a large one has more.
    private const int MaximumKept = 1 << 9;

    private readonly Dictionary<(ulong Pc, bool IsCall), ImmutableArray<FlowPlace>> _places = [];
    private readonly Dictionary<(FlowValue Value, int Instruction, bool IsCall, uint Visible), ImmutableArray<ValueRecipe>> _recipes = [];
    private readonly Dictionary<int, FlowState?> _states = [];
    private SlotLiveness? _liveness;

    public ValueFlow Flow => flow;

    /// <summary>The state just before an instruction, to be read and not changed.</summary>
    public FlowState? StateBefore(int instruction) => _states.TryGetValue(instruction, out var state) ? state : Keep(_states, instruction, flow.Before(instruction));

    /// <summary>The places at which a frame with this pc may stand: one; two where an alternative call ends at the same byte; none when the code is not understood.</summary>
    public ImmutableArray<FlowPlace> PlacesAt(ulong pc, bool isCall) =>
        _places.TryGetValue((pc, isCall), out var places) ? places : Keep(_places, (pc, isCall), FindPlaces(pc, isCall));

    private ImmutableArray<FlowPlace> FindPlaces(ulong pc, bool isCall)
    {
        var function = flow.Flow;
        var places = ImmutableArray.CreateBuilder<FlowPlace>(1);
        if (!isCall)
        {
            // In the middle of what may have been replaced, nobody knows what the pc means.
            if (function.Find(pc) is >= 0 and var index && !function.Alternatives.Exists(a => pc > a.Address && pc < a.Address + (ulong)a.Length) && flow.Before(index) is { } state)
            {
                places.Add(new FlowPlace(index, state, (1u << flow.Registers.Count) - 1, false));
            }

            return places.DrainToImmutable();
        }

        AddCall(places, pc);
        foreach (var alternative in function.Alternatives)
        {
            var offset = pc - alternative.Address;
            if (offset > 0 && offset <= (ulong)alternative.ReplacementLength)
            {
                AddCall(places, alternative.Replacement + offset);
            }
        }

        return places.DrainToImmutable();
    }

    /// <summary>Ways to a value, the best first.</summary>
    public ImmutableArray<ValueRecipe> Find(FlowValue value, FlowPlace place)
    {
        var key = (value, place.Instruction, place.IsCall, place.Visible);
        return _recipes.TryGetValue(key, out var recipes) ? recipes : Keep(_recipes, key, FindRecipes(value, place));
    }

    private static TValue Keep<TKey, TValue>(Dictionary<TKey, TValue> kept, TKey key, TValue value)
        where TKey : notnull
    {
        if (kept.Count >= MaximumKept)
        {
            kept.Clear();
        }

        return kept[key] = value;
    }

    private ImmutableArray<ValueRecipe> FindRecipes(FlowValue value, FlowPlace place)
    {
        var values = flow.Values;
        var word = flow.Registers.Word * 8;
        switch (values.BaseOf(value))
        {
            case FlowBase.Unknown:
                return [];
            case FlowBase.Zero:
                return [new ValueRecipe.Constant(Unsigned(value.Addend), false) { Bits = word }];
            case FlowBase.Image:
                return [new ValueRecipe.Constant(Unsigned(value.Addend), true) { Bits = word }];
            case FlowBase.Cfa:
                return [new ValueRecipe.StackAddress(value.Addend) { Bits = word }];
        }

        var found = ImmutableArray.CreateBuilder<ValueRecipe>();
        for (var register = 0; register < flow.Registers.Count; register++)
        {
            if ((place.Visible & (1u << register)) != 0 && Match(value, place.State[register], out var addend, out var bits))
            {
                found.Add(new ValueRecipe.Register(register, addend) { Bits = bits });
            }
        }

        var stack = place.State[flow.Registers.StackPointer];
        for (var slotPlace = flow.Places.Registers; slotPlace < place.State.Length && stack.IsCfa; slotPlace++)
        {
            var slot = flow.Places.Slot(slotPlace);
            if (Match(value, place.State[slotPlace], out var addend, out var bits) && IsIntact(slotPlace, slot, stack.Addend, place))
            {
                found.Add(new ValueRecipe.StackSlot(slot.Offset, slot.Size, addend) { Bits = Math.Min(bits, slot.Size * 8) });
            }
        }

        for (var (inner, bits) = (value, word); ;)
        {
            var (a, b) = values.PartsOf(inner);
            if (values.BaseOf(inner) == FlowBase.EntryRegister)
            {
                found.Add(new ValueRecipe.EntryRegister((int)a, inner.Addend) { Bits = bits });
            }
            else if (values.BaseOf(inner) == FlowBase.EntrySlot)
            {
                found.Add(new ValueRecipe.EntrySlot(a, b, inner.Addend) { Bits = Math.Min(bits, b * 8) });
            }
            else if (values.BaseOf(inner) == FlowBase.Cfa)
            {
                found.Add(new ValueRecipe.StackAddress(inner.Addend) { Bits = bits });
            }
            else if (values.BaseOf(inner) == FlowBase.Image)
            {
                found.Add(new ValueRecipe.Constant(Unsigned(inner.Addend), true) { Bits = bits });
            }

            if (!values.TryUnwrap(inner, out var next, out var low))
            {
                break;
            }

            (inner, bits) = (values.Add(next, inner.Addend), Math.Min(bits, low));
        }

        if (place.IsCall)
        {
            AddPassed(found, value, place);
        }

        return [.. found.OrderByDescending(r => r.Bits)];
    }

    /// <summary>What the call that is under way passes on, its callee may still know.</summary>
    private void AddPassed(ImmutableArray<ValueRecipe>.Builder found, FlowValue value, FlowPlace place)
    {
        var left = MaximumPassed;
        for (var register = 0; register < flow.Registers.Count && left > 0; register++)
        {
            if ((flow.Registers.CallerSaved & (1u << register)) != 0 && Match(value, place.State[register], out var addend, out var bits))
            {
                found.Add(new ValueRecipe.Passed(register, addend) { Bits = bits });
                left--;
            }
        }

        var stack = place.State[flow.Registers.StackPointer];
        for (var slotPlace = flow.Places.Registers; slotPlace < place.State.Length && stack.IsCfa && left > 0; slotPlace++)
        {
            var slot = flow.Places.Slot(slotPlace);
            var offset = slot.Offset - stack.Addend;
            if (offset >= 0 && offset < ArgumentWords * flow.Registers.Word && offset % flow.Registers.Word == 0 && slot.Size == flow.Registers.Word
                && Match(value, place.State[slotPlace], out var addend, out var bits))
            {
                found.Add(new ValueRecipe.PassedSlot(offset, slot.Size, addend) { Bits = bits });
                left--;
            }
        }
    }

    /// <summary>A word of the caller's stack that the function may never have touched.</summary>
    public ImmutableArray<ValueRecipe> FindEntrySlot(long offset, FlowPlace place)
    {
        var word = flow.Registers.Word;
        if (!flow.IsFollowed(offset, word))
        {
            return [];
        }

        return flow.Places.Find(offset, word) >= 0
            ? Find(flow.Values.EntrySlot(offset, word), place)
            : [new ValueRecipe.StackSlot(offset, word, 0) { Bits = word * 8 }, new ValueRecipe.EntrySlot(offset, word, 0) { Bits = word * 8 }];
    }

    private void AddCall(ImmutableArray<FlowPlace>.Builder places, ulong returnAddress)
    {
        var function = flow.Flow;
        var index = function.FindHolding(returnAddress - 1);
        if (index < 0)
        {
            return;
        }

        ref readonly var call = ref function.Instruction(index);
        if (call.Id != Gee.External.Capstone.X86.X86InstructionId.X86_INS_CALL)
        {
            return;
        }

        // Calls through a pointer become shorter when the kernel patches them.
        var isThrough = !call.First.IsImmediate || flow.Code.Special(call.Address, call.Length, (ulong)call.First.Number) == SpecialFunction.IndirectThunk;
        if ((returnAddress != call.End && !isThrough) || flow.Before(index) is not { } state)
        {
            return;
        }

        places.Add(new FlowPlace(index, state, flow.Registers.CalleeSaved & ~flow.CallClobbers(in call), true));
    }

    /// <summary>Is what the function put into the slot still there?</summary>
    private bool IsIntact(int slotPlace, StackSlotPlace slot, long stack, FlowPlace place)
    {
        if (slot.Offset < stack)
        {
            return false;
        }

        if (!place.IsCall || slot.Offset >= 0 || slot.Offset - stack >= ArgumentWords * flow.Registers.Word)
        {
            return true;
        }

        // It may be an argument of the call, which belongs to the callee.
        return (_liveness ??= new SlotLiveness(flow)).IsLiveBehind(place.Instruction, slotPlace);
    }

    /// <summary>value = held + addend, in the low bits.</summary>
    private bool Match(FlowValue value, FlowValue held, out long addend, out int bits)
    {
        var values = flow.Values;
        addend = 0;
        bits = 0;
        if (held.IsUnknown || value.IsUnknown)
        {
            return false;
        }

        var width = flow.Registers.Word * 8;
        for (var (mine, mineBits) = (value, width); ;)
        {
            for (var (theirs, theirBits) = (held, width); ;)
            {
                if (mine.Node == theirs.Node && Math.Min(mineBits, theirBits) > bits)
                {
                    bits = Math.Min(mineBits, theirBits);
                    addend = mine.Addend - theirs.Addend;
                }

                if (!values.TryUnwrap(theirs, out var next, out var low))
                {
                    break;
                }

                (theirs, theirBits) = (values.Add(next, theirs.Addend), Math.Min(theirBits, low));
            }

            if (!values.TryUnwrap(mine, out var inner, out var mineLow))
            {
                break;
            }

            (mine, mineBits) = (values.Add(inner, mine.Addend), Math.Min(mineBits, mineLow));
        }

        return bits > 0;
    }

    private ulong Unsigned(long value) => flow.Registers.Is64Bit ? (ulong)value : (uint)value;
}
