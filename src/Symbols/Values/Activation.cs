// One function that is running: a physical frame, or a function that left by a tail call and of which only what was passed to it and from it is still known.
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Values;

/// <summary>A running function, as its expressions see it. Used again for stop after stop.</summary>
internal sealed class Activation : LocationContext
{
    private readonly StackReading _reading;
    private readonly EntryRegisters _entry;
    private (ExpressionOutcome Outcome, ulong Value)? _cfa, _frameBase;

    public Activation(StackReading reading)
    {
        _reading = reading;
        _entry = new EntryRegisters(reading, this);
    }

    public VariablePlace Place { get; private set; } = null!;

    /// <summary>Of a physical frame its index; of a function that left by a tail call that of the frame that it led to.</summary>
    public int Frame { get; private set; }

    public bool IsTail { get; private set; }

    /// <summary>Who entered this function, and with what; null when that is not sure.</summary>
    public EntryLink? Link { get; set; }

    /// <summary>The function that this one surely entered with the call at its pc; null when that is not sure, and for the innermost.</summary>
    public Activation? Callee { get; set; }

    /// <summary>The function as it was when it was entered.</summary>
    public EntryRegisters AsEntered => _entry;

    public override ref int Budget => ref _reading.Budget;

    public void Set(VariablePlace place, int frame, bool isTail)
    {
        (Place, Frame, IsTail) = (place, frame, isTail);
        Link = null;
        Callee = null;
        _cfa = _frameBase = null;
        _entry.Forget();
    }

    public override bool TryRegister(int register, out ulong value, ref ValueSources sources)
    {
        var frames = _reading.Stack.Frames;
        var architecture = _reading.Architecture;
        value = 0;
        if (register >= architecture.DwarfRegisterCount)
        {
            return false;
        }

        if (!IsTail)
        {
            var registers = frames[Frame].Registers;
            value = registers[register];
            sources |= ValueSources.Register;
            return registers.IsKnown(register) || _reading.TryRecoverRegister(Frame, register, out value, ref sources);
        }

        // It jumped with what its caller will find again in the registers that a function keeps, and with what the next function was entered with.
        if (register == architecture.StackPointer)
        {
            var known = CallFrameAddress(out var cfa) == ExpressionOutcome.Value;
            value = cfa - (ulong)architecture.WordSize;
            return known;
        }

        if (Frame == 0 && _reading.Activations[0].Place.IsAtEntry && ReferenceEquals(_reading.Activations[0].Link?.Caller, this) && frames[0].Registers.IsKnown(register))
        {
            value = frames[0].Registers[register];
            sources |= ValueSources.Register;
            return true;
        }

        return _reading.TryKept(Frame, register, out value, ref sources);
    }

    public override ExpressionOutcome CallFrameAddress(out ulong value)
    {
        _cfa ??= (_reading.FrameAddress(Frame, out value), value);
        value = _cfa.Value.Value;
        return _cfa.Value.Outcome;
    }

    public override ExpressionOutcome FrameBase(out ulong value)
    {
        value = 0;
        if (_frameBase is not { } known)
        {
            // A frame base that leads back to itself finds none.
            _frameBase = (ExpressionOutcome.Unusable, 0);
            var sources = ValueSources.None;
            if (Place.Unit is { } unit && !Place.FrameBase.IsNone)
            {
                _frameBase = (LocationExpression.Compute(this, unit, Place.FrameBase, ref sources, out value), value);
            }

            known = _frameBase.Value;
        }

        value = known.Value;
        return known.Outcome;
    }

    public override MemoryReadResult Read(ulong address, Span<byte> destination)
    {
        // The frame of a function that left by a tail call is gone; others write there now.
        if (IsTail && CallFrameAddress(out var cfa) == ExpressionOutcome.Value && address < cfa && cfa - address < StackReading.LargestStack)
        {
            return MemoryReadResult.Unreadable;
        }

        return _reading.Read(address, destination);
    }

    public override ExpressionOutcome EntryValue(Unit unit, ExpressionBytes expression, ref ValueSources sources, out ulong value)
    {
        var place = PassingPlace.Of(in expression, _reading.Architecture.StackPointer, PassingPlace.IsCfa(Place.FrameBase));
        sources |= ValueSources.Entry;
        switch (place.Kind)
        {
            case PassingPlaceKind.Register:
                return _entry.Register(place.Register, _reading.Architecture.WordSize, ref sources, out value);
            case PassingPlaceKind.BehindRegister:
                return _entry.BehindRegister(place.Register, ref sources, out value);
            case PassingPlaceKind.Stack:
                return _entry.Slot(place.Offset, place.Size == 0 ? _reading.Architecture.WordSize : place.Size, ref sources, out value);
            default:
                return LocationExpression.Compute(_entry, unit, in expression, ref sources, out value);
        }
    }

    public override ExpressionOutcome ParameterAtEntry(long entry, ref ValueSources sources, out ulong value) => _entry.ParameterAtEntry(entry, ref sources, out value);

    public override ulong ToRunTime(ulong address) => Place.Part.ToRunTime(address);

    public override bool TryLocationOf(Unit unit, long entry, out Unit owner, out ExpressionBytes expression)
    {
        (owner, expression) = (unit, default);
        if (VariableDie.Read(unit, entry) is not { } die)
        {
            return false;
        }

        (owner, expression) = (die.Unit, die.At(Place.Address));
        return true;
    }
}
