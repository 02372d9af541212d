// What a function was entered with. Sources, the surest first: the CPU's own registers where it stands at the function's first instruction; registers that every function
// gives back as it found them, in its caller's frame; what the call's debug information says, evaluated in the caller's frame, which may itself need to know what it was
// entered with, and so up the stack; what the machine code shows.
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Values;

/// <summary>Who entered a function.</summary>
/// <param name="Caller">In whose frame the site's expressions hold.</param>
/// <param name="Site">The call's debug information; null when there is none.</param>
internal sealed record EntryLink(Activation Caller, CallSiteParameters? Site);

/// <summary>A function at its entry, as expressions see it. Memory is as it was then only where it was passed.</summary>
internal sealed class EntryRegisters : LocationContext
{
    // The longest chain of callers that one value was seen to come through is five; each takes some of our own stack.
    private const int MaximumChain = 48;

    // More functions than these that left by tail calls between two frames were never seen.
    private const int MaximumTails = 8;

    private readonly StackReading _reading;
    private readonly Activation _activation;
    private readonly Known[] _registers;
    private ulong _asked;

    public EntryRegisters(StackReading reading, Activation activation)
    {
        (_reading, _activation) = (reading, activation);
        _registers = new Known[reading.Architecture.DwarfRegisterCount];
    }

    public override ref int Budget => ref _reading.Budget;

    public void Forget() => _asked = 0;

    public ExpressionOutcome Register(int register, int size, ref ValueSources sources, out ulong value)
    {
        value = 0;
        if ((uint)register >= (uint)_registers.Length)
        {
            return ExpressionOutcome.Unusable;
        }

        ref var known = ref _registers[register];
        if ((_asked & (1UL << register)) == 0)
        {
            // Whoever asks for this register again while it is being looked for, finds nothing.
            _asked |= 1UL << register;
            known = new Known(ExpressionOutcome.Unusable, 0, 8, ValueSources.None);
            known = Find(register);
        }

        value = known.Value;
        sources |= known.Sources;
        return known.Outcome == ExpressionOutcome.Value && size > known.Size ? ExpressionOutcome.Unusable : known.Outcome;
    }

    /// <summary>What a register pointed to: only where the call says so, as memory may have changed.</summary>
    public ExpressionOutcome BehindRegister(int register, ref ValueSources sources, out ulong value)
    {
        value = 0;
        return _activation.Link is { Site: { } site } link && site.ValueOfRegister(register, data: true) is { IsNone: false } expression
            ? Passed(link, site, in expression, ref sources, out value)
            : ExpressionOutcome.Unusable;
    }

    /// <summary>What stood on the stack, in bytes from the CFA.</summary>
    public ExpressionOutcome Slot(long offset, int size, ref ValueSources sources, out ulong value)
    {
        value = 0;
        if (_activation.Place.IsAtEntry && !_activation.IsTail)
        {
            return _activation.CallFrameAddress(out var cfa) == ExpressionOutcome.Value ? _reading.ReadNumber(cfa + (ulong)offset, size, ref sources, out value) : ExpressionOutcome.Unusable;
        }

        if (_activation.Link is { Site: { } site } link && site.ValueOfSlot(offset) is { IsNone: false } expression
            && Passed(link, site, in expression, ref sources, out value) == ExpressionOutcome.Value)
        {
            return ExpressionOutcome.Value;
        }

        return !_activation.IsTail && _reading.TryRecoverSlot(_activation.Frame, offset, size, out value, ref sources) ? ExpressionOutcome.Value : ExpressionOutcome.Unusable;
    }

    public override bool TryRegister(int register, out ulong value, ref ValueSources sources) =>
        Register(register, _reading.Architecture.WordSize, ref sources, out value) == ExpressionOutcome.Value;

    public override ExpressionOutcome FrameBase(out ulong value) =>
        PassingPlace.IsCfa(_activation.Place.FrameBase) ? _activation.FrameBase(out value) : Nothing(out value);

    public override ExpressionOutcome CallFrameAddress(out ulong value) => _activation.CallFrameAddress(out value);

    public override MemoryReadResult Read(ulong address, Span<byte> destination) => MemoryReadResult.Unreadable;

    public override ExpressionOutcome EntryValue(Unit unit, ExpressionBytes expression, ref ValueSources sources, out ulong value) =>
        _activation.EntryValue(unit, expression, ref sources, out value);

    public override ExpressionOutcome ParameterAtEntry(long entry, ref ValueSources sources, out ulong value)
    {
        value = 0;
        return _activation.Link is { Site: { } site } link && site.ValueOfParameter(entry) is { IsNone: false } expression
            ? Passed(link, site, in expression, ref sources, out value)
            : ExpressionOutcome.Unusable;
    }

    public override ulong ToRunTime(ulong address) => _activation.ToRunTime(address);

    public override bool TryLocationOf(Unit unit, long entry, out Unit owner, out ExpressionBytes expression)
    {
        (owner, expression) = (unit, default);
        return false;
    }

    private Known Find(int register)
    {
        var sources = ValueSources.None;
        var architecture = _reading.Architecture;
        if (_activation.Place.IsAtEntry && !_activation.IsTail)
        {
            return _activation.TryRegister(register, out var now, ref sources) ? new Known(ExpressionOutcome.Value, now, 8, sources) : default;
        }

        if (register == architecture.StackPointer)
        {
            var framed = _activation.CallFrameAddress(out var cfa);
            return new Known(framed, cfa - (ulong)architecture.WordSize, 8, ValueSources.Register);
        }

        if (_reading.TryKept(_activation.Frame, register, out var kept, ref sources))
        {
            return new Known(ExpressionOutcome.Value, kept, 8, sources);
        }

        var missing = ExpressionOutcome.Unusable;
        ulong value = 0;
        if (_activation.Link is { Site: { } site } link && site.ValueOfRegister(register, data: false) is { IsNone: false } expression)
        {
            var passed = Passed(link, site, in expression, ref sources, out value);
            if (passed == ExpressionOutcome.Value)
            {
                return new Known(passed, value, 8, sources);
            }

            missing = passed;
        }

        sources = ValueSources.None;
        return (_activation.IsTail ? TryPassedOn(register, out var recovered, out var size, ref sources) : _reading.TryRecoverAtEntry(_activation.Frame, register, out recovered, out size, ref sources))
            ? new Known(ExpressionOutcome.Value, recovered, size, sources)
            : new Known(missing, value, 8, ValueSources.None);
    }

    /// <summary>The functions inwards, to the one that has a frame, may still have what they were passed.</summary>
    private bool TryPassedOn(int register, out ulong value, out int size, ref ValueSources sources)
    {
        (value, size) = (0, 0);
        Span<ulong> jumps = stackalloc ulong[MaximumTails];
        var count = 0;
        for (var activation = _activation; activation.IsTail; activation = activation.Callee)
        {
            if (count == MaximumTails || activation.Callee is null)
            {
                return false;
            }

            jumps[count++] = activation.Place.RunTimeAddress;
        }

        // Innermost first.
        jumps[..count].Reverse();
        return _reading.TryRecoverPassedOn(_activation.Frame, jumps[..count], register, out value, out size, ref sources);
    }

    private ExpressionOutcome Passed(EntryLink link, CallSiteParameters site, in ExpressionBytes expression, ref ValueSources sources, out ulong value)
    {
        value = 0;
        if (_reading.Chain >= MaximumChain)
        {
            return ExpressionOutcome.Unusable;
        }

        _reading.Chain++;
        sources |= ValueSources.Entry;
        var outcome = LocationExpression.Compute(link.Caller, site.Unit, in expression, ref sources, out value);
        _reading.Chain--;
        return outcome;
    }

    private static ExpressionOutcome Nothing(out ulong value)
    {
        value = 0;
        return ExpressionOutcome.Unusable;
    }

    /// <param name="Size">How many low bytes of the value are sure.</param>
    private readonly record struct Known(ExpressionOutcome Outcome, ulong Value, int Size, ValueSources Sources)
    {
        // default(Known) must not pass for a value of 0.
        public ExpressionOutcome Outcome { get; } = Size == 0 ? ExpressionOutcome.Unusable : Outcome;
    }
}
