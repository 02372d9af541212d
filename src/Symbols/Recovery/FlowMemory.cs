using KTrace.Symbols.Disassembly;

namespace KTrace.Symbols.Recovery;

/// <summary>The memory of a function's frame while its instructions run over symbolic values: what is loaded and stored there, and which of its addresses get out.</summary>
internal sealed class FlowMemory(CodeObject code, RegisterNumbers registers, FlowValues values, FlowPlaces places, StackEscapes escapes)
{
    private const int WideStore = 64;

    /// <summary>A slot of the caller's was met that the state at entry does not have yet.</summary>
    public bool MetEntrySlot { get; set; }

    /// <summary>Told of every slot that is loaded (true) or wholly stored (false); a word that a pop takes off the stack into a scratch register does not count.</summary>
    public Action<int, bool>? Observer { get; set; }

    /// <summary>Where the instruction stands that runs.</summary>
    public ulong At { get; set; }

    public FlowValue NumberOrAddress(long number)
    {
        var address = registers.Is64Bit ? (ulong)number : (uint)number;
        return code.IsImageAddress(address) ? values.Image(address) : values.Constant(number);
    }

    public FlowValue Load(FlowState state, FlowValue address, int size)
    {
        if (!address.IsCfa)
        {
            return FlowValues.Unknown;
        }

        var place = places.Find(address.Addend, size);
        if (place < 0 && address.Addend >= 0 && escapes.IsFollowed(address.Addend, registers.Word) && address.Addend % registers.Word == 0)
        {
            place = places.Find(address.Addend, registers.Word);
            if (place < 0)
            {
                places.FindOrAdd(address.Addend, registers.Word);
                MetEntrySlot = true;
                return FlowValues.Unknown;
            }
        }

        if (place >= 0)
        {
            Observer?.Invoke(place, true);
            if (!state[place].IsUnknown)
            {
                return state[place];
            }
        }

        // The low bytes of a wider slot.
        for (var wider = size * 2; wider <= registers.Word; wider *= 2)
        {
            if (places.Find(address.Addend, wider) is >= 0 and var whole && !state[whole].IsUnknown)
            {
                Observer?.Invoke(whole, true);
                return values.Extend(state[whole], size * 8, isSigned: false);
            }
        }

        return FlowValues.Unknown;
    }

    /// <summary>The address that a memory operand names; unknown when more than one register goes into it.</summary>
    public FlowValue Address(FlowState state, in MachineOperand memory)
    {
        if (memory.Register == MachineOperand.ProgramCounterBase)
        {
            return values.Image((ulong)memory.Number);
        }

        var based = memory.Register >= 0 ? state[memory.Register] : values.Constant(0);
        if (memory.IndexRegister < 0)
        {
            return memory.Register >= 0 ? values.Add(based, memory.Number) : NumberOrAddress(memory.Number);
        }

        var index = state[memory.IndexRegister];
        if (index.IsConstant)
        {
            return values.Add(based, memory.Number + (index.Addend * memory.Scale));
        }

        if (based.IsConstant && memory.Scale == 1)
        {
            return values.Add(index, memory.Number + based.Addend);
        }

        // An element of an array on the stack.
        if (based.IsCfa)
        {
            escapes.AddIndexed(based.Addend + memory.Number, At);
        }
        else
        {
            Note(based, memory.Number);
        }

        Note(index, 0);
        return FlowValues.Unknown;
    }

    public void Note(FlowValue value, long addend)
    {
        if (values.IsStackAddress(value, out var offset))
        {
            escapes.Add(offset + addend);
        }
    }

    /// <summary>The value itself goes where others can take it.</summary>
    public void NotePointer(FlowValue value)
    {
        if (value.IsCfa)
        {
            escapes.AddPointer(value.Addend, At);
        }
        else
        {
            Note(value, 0);
        }
    }

    public void Store(FlowState state, FlowValue address, int size, FlowValue value, bool isStack)
    {
        if (!address.IsCfa)
        {
            NotePointer(value);
            if (isStack && !values.IsStackAddress(state[registers.StackPointer], out _))
            {
                // The stack pointer is lost: what it leads to may be anything.
                Forget(state, long.MinValue, long.MaxValue);
            }

            return;
        }

        if (size is 0 or > WideStore)
        {
            // xsave and its kind: they write as much as the processor has.
            escapes.Add(address.Addend);
            size = WideStore;
        }

        for (var slot = address.Addend & -registers.Word; slot >= 0 && slot < address.Addend + size; slot += registers.Word)
        {
            // An argument on the caller's side is there from the beginning, so somebody must notice that it goes.
            MetEntrySlot |= places.Find(slot, registers.Word) < 0 && places.FindOrAdd(slot, registers.Word) >= 0;
        }

        Forget(state, address.Addend, address.Addend + size);
        if (size > registers.Word || (size & (size - 1)) != 0)
        {
            NotePointer(value);
            return;
        }

        if (!escapes.IsFollowed(address.Addend, size))
        {
            NotePointer(value);
            return;
        }

        var place = places.FindOrAdd(address.Addend, size);
        if (place < 0)
        {
            NotePointer(value);
            return;
        }

        Observer?.Invoke(place, false);
        state[place] = size < registers.Word ? values.Extend(value, size * 8, isSigned: false) : value;
    }

    public void Forget(FlowState state, long from, long to)
    {
        for (var place = places.Registers; place < state.Length; place++)
        {
            var slot = places.Slot(place);
            if (slot.Offset < to && from < slot.Offset + slot.Size)
            {
                state[place] = FlowValues.Unknown;
            }
        }
    }
}
