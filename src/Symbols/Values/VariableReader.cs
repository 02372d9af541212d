using System.Buffers.Binary;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Values;

/// <summary>Reads one variable of one activation: what it holds now, or else what it was entered with.</summary>
internal sealed class VariableReader(StackReading reading)
{
    // Larger structures are read when somebody looks into them.
    private const int ReadAtOnce = 16;

    // The largest that is put together from pieces.
    private const int LargestComposite = 4096;
    private const int MaximumPointers = 4;

    private readonly LocationResult _result = new();

    public FrameVariable Read(Activation activation, VariablePlan plan, bool isInline)
    {
        reading.BeginVariable();
        if (plan.Constant is { } constant)
        {
            return Known(plan, new TypedValue { Type = plan.Type, Bytes = constant, Provenance = Provenance.Constant });
        }

        if (activation.Place.IsAtEntry && !activation.IsTail && plan.Die.IsParameter && plan.AtEntry.IsNone && plan.Passed.Kind != ArgumentPlaceKind.Unknown
            && AsPassed(activation, plan) is { } atEntry)
        {
            return Known(plan, atEntry);
        }

        var now = Now(activation, plan);
        if (now is { Provenance: not Provenance.Unreadable } || !plan.Die.IsParameter)
        {
            return Known(plan, now);
        }

        var entered = isInline ? WhenBlockBegan(activation, plan) : WhenEntered(activation, plan);
        return entered is null ? Known(plan, now) : Known(plan, entered, isAtEntry: true);
    }

    private TypedValue? Now(Activation activation, VariablePlan plan)
    {
        var now = plan.Now.IsNone ? null : Evaluate(activation, plan, plan.Now, 0);
        return now ?? (plan.LostRegister >= 0 ? BeforeCall(activation, plan) : plan.LostTerm is { } lost ? Loaded(activation, plan, plan.CallInstruction, lost) : null);
    }

    private static FrameVariable Known(VariablePlan plan, TypedValue? value, bool isAtEntry = false) => new(plan.Name, plan.Type, plan.Die.IsParameter, value, isAtEntry);

    /// <summary>From the register that the call may have changed: the callee was entered with it.</summary>
    private TypedValue? BeforeCall(Activation activation, VariablePlan plan)
    {
        var sources = ValueSources.None;
        if (activation.IsTail || plan.Size is < 1 or > 8 || plan.Size > reading.Architecture.WordSize)
        {
            return null;
        }

        return (activation.Callee is { } callee && callee.AsEntered.Register(plan.LostRegister, plan.Size, ref sources, out var value) == ExpressionOutcome.Value)
            || reading.TryRecoverAt(activation.Frame, plan.CallInstruction, plan.LostRegister, plan.Size, out value, ref sources)
            ? OfNumber(plan, value, sources)
            : null;
    }

    /// <summary>From memory, by way of the code that loaded it.</summary>
    private TypedValue? Loaded(Activation activation, VariablePlan plan, ulong at, LoadedTerm term)
    {
        var sources = ValueSources.None;
        return !activation.IsTail && reading.TryRecoverLoaded(activation.Frame, at, term, plan.Size, out var value, ref sources) ? OfNumber(plan, value, sources) : null;
    }

    private TypedValue? WhenEntered(Activation activation, VariablePlan plan)
    {
        if (!plan.AtEntry.IsNone)
        {
            var place = PassingPlace.Of(plan.AtEntry, reading.Architecture.StackPointer, PassingPlace.IsCfa(activation.Place.FrameBase));
            return place.Kind == PassingPlaceKind.Stack ? FromSlots(activation, plan, place.Offset) : Evaluate(activation.AsEntered, plan, plan.AtEntry, 0);
        }

        return AsPassed(activation, plan);
    }

    /// <summary>From where the ABI has it.</summary>
    private TypedValue? AsPassed(Activation activation, VariablePlan plan)
    {
        var sources = ValueSources.None;
        var entry = activation.AsEntered;
        var word = reading.Architecture.WordSize;
        switch (plan.Passed.Kind)
        {
            case ArgumentPlaceKind.Register:
                return entry.Register(plan.Passed.Register, Math.Min(plan.Size, word), ref sources, out var value) == ExpressionOutcome.Value ? OfNumber(plan, value, sources) : null;
            case ArgumentPlaceKind.TwoRegisters:
                if (entry.Register(plan.Passed.Register, word, ref sources, out var low) != ExpressionOutcome.Value
                    || entry.Register(plan.Passed.Second, plan.Size - word, ref sources, out var high) != ExpressionOutcome.Value)
                {
                    return null;
                }

                var bytes = new byte[16];
                BinaryPrimitives.WriteUInt64LittleEndian(bytes, low);
                BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(word), high);
                return new TypedValue { Type = plan.Type, Bytes = bytes.AsMemory(0, plan.Size), Provenance = ProvenanceOf(sources) };
            case ArgumentPlaceKind.Stack:
                return FromSlots(activation, plan, plan.Passed.Offset);
            default:
                return null;
        }
    }

    private TypedValue? FromSlots(Activation activation, VariablePlan plan, long offset)
    {
        var sources = ValueSources.None;
        var word = reading.Architecture.WordSize;
        if (plan.Size is < 1 or > 64)
        {
            return null;
        }

        var bytes = new byte[plan.Size + 8];
        for (var at = 0; at < plan.Size; at += word)
        {
            if (activation.AsEntered.Slot(offset + at, word, ref sources, out var value) != ExpressionOutcome.Value)
            {
                return null;
            }

            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(at), value);
        }

        return new TypedValue { Type = plan.Type, Bytes = bytes.AsMemory(0, plan.Size), Provenance = ProvenanceOf(sources) };
    }

    /// <summary>
    /// What an inlined call's parameter began with. Between the block's begin and now only the inlined function ran, so that the variables around it are what they were; its
    /// registers are not.
    /// </summary>
    private TypedValue? WhenBlockBegan(Activation activation, VariablePlan plan)
    {
        if (plan.Whole is { } whole)
        {
            // The part may have changed it, and then nothing says what it is now; the whole function's variable stays what it was when the part began.
            return Now(activation, whole) is { Provenance: not Provenance.Unreadable } same ? same : null;
        }

        if (activation.IsTail || !reading.MustHavePassed(activation.Frame, plan.BlockEntry))
        {
            return null;
        }

        if (plan.AtEntryIsLasting && Evaluate(activation, plan, plan.AtEntry, 0) is { Address: null } lasting)
        {
            return lasting;
        }

        foreach (var twin in plan.Twins)
        {
            if (Evaluate(activation, twin, twin.Now, 0) is { Provenance: not Provenance.Unreadable } value)
            {
                return value with { Type = plan.Type };
            }
        }

        if (!plan.AtEntry.IsNone && plan.Size is > 0 and <= 8
            && PassingPlace.Of(plan.AtEntry, reading.Architecture.StackPointer) is { Kind: PassingPlaceKind.Register } place)
        {
            var sources = ValueSources.None;
            if (reading.TryRecoverAt(activation.Frame, plan.BlockEntry, place.Register, plan.Size, out var value, ref sources))
            {
                return OfNumber(plan, value, sources);
            }
        }

        return plan.TermAtEntry is { } term ? Loaded(activation, plan, plan.BlockEntry, term) : null;
    }

    private TypedValue? Evaluate(LocationContext context, VariablePlan plan, in ExpressionBytes expression, int depth)
    {
        var outcome = LocationExpression.Locate(context, plan.Unit, in expression, _result);
        if (outcome != ExpressionOutcome.Value)
        {
            return outcome == ExpressionOutcome.Unreadable ? Unreadable(plan, _result.FailedAddress) : null;
        }

        return _result is { Count: 1 } && _result.Pieces[0] is { Bits: 0 } single
            ? Whole(context, plan, in single, depth)
            : Composite(context, plan);
    }

    private TypedValue? Whole(LocationContext context, VariablePlan plan, in LocationPiece piece, int depth)
    {
        var sources = _result.Sources;
        switch (piece.Kind)
        {
            case LocationKind.Memory:
                return InMemory(context, plan, piece.Value, sources);
            case LocationKind.Register when plan.Size is > 0 and <= 8 && plan.Size <= reading.Architecture.WordSize:
                // Entry registers may be known in part: a 4-byte argument needs no more.
                if (context is EntryRegisters entry)
                {
                    return entry.Register((int)piece.Value, plan.Size, ref sources, out var entered) == ExpressionOutcome.Value ? OfNumber(plan, entered, sources) : null;
                }

                return context.TryRegister((int)piece.Value, out var value, ref sources) ? OfNumber(plan, value, sources) : null;
            case LocationKind.Value when plan.Size is > 0 and <= 8:
                return OfNumber(plan, piece.Value, sources);
            case LocationKind.Bytes when plan.Size > 0 && piece.Bytes.Length >= plan.Size:
                return new TypedValue { Type = plan.Type, Bytes = piece.Bytes.Span[..plan.Size].ToArray(), Provenance = Provenance.Constant };
            case LocationKind.ImplicitPointer:
                return Pointer(context, plan, in piece, depth);
            default:
                return null;
        }
    }

    private TypedValue? InMemory(LocationContext context, VariablePlan plan, ulong address, ValueSources sources)
    {
        // Memory as it was at entry is not to be had.
        if (context is EntryRegisters)
        {
            return null;
        }

        sources |= ValueSources.Memory;
        if (plan.Size is 0 or > ReadAtOnce)
        {
            return new TypedValue { Type = plan.Type, Address = address, Provenance = ProvenanceOf(sources) };
        }

        var bytes = new byte[plan.Size];
        return context.Read(address, bytes) switch
        {
            MemoryReadResult.Ok => new TypedValue { Type = plan.Type, Address = address, Bytes = bytes, Provenance = ProvenanceOf(sources) },
            MemoryReadResult.Unreadable when context is not Activation { IsTail: true } => Unreadable(plan, address),
            _ => null,
        };
    }

    /// <summary>A pointer that the compiler did away with: where what it points to lies in memory, it has a value after all.</summary>
    private TypedValue? Pointer(LocationContext context, VariablePlan plan, in LocationPiece piece, int depth)
    {
        if (depth >= MaximumPointers || VariableDie.Read(plan.Unit, (long)Math.Min(piece.Value, long.MaxValue)) is not { } target
            || context is not Activation activation)
        {
            return null;
        }

        var offset = piece.Offset;
        var type = plan.Type.Resolved is PointerType pointer ? pointer.Target : VoidType.Instance;
        if (target.Constant is { } constant)
        {
            return new TypedValue { Type = plan.Type, Target = new TypedValue { Type = type, Bytes = constant }, Provenance = Provenance.Constant };
        }

        var location = target.At(activation.Place.Address);
        if (location.IsNone || LocationExpression.Locate(context, target.Unit, in location, _result) != ExpressionOutcome.Value)
        {
            // That there is no such pointer is all that can be said.
            return new TypedValue { Type = plan.Type, Target = new TypedValue { Type = type }, Provenance = Provenance.Constant };
        }

        if (_result is { Count: 1 } && _result.Pieces[0] is { Kind: LocationKind.Memory, Bits: 0 } memory)
        {
            return OfNumber(plan, memory.Value + (ulong)offset, _result.Sources);
        }

        var size = (int)Math.Clamp(type.Size, 0, LargestComposite);
        var pointed = new VariablePlan { Die = target, Type = type, Size = size };
        var value = offset == 0 && size > 0 ? Evaluate(context, pointed, in location, depth + 1) : null;

        // That there is no such pointer is all that can be said when what it would point to is not known either.
        return new TypedValue { Type = plan.Type, Target = value ?? new TypedValue { Type = type }, Provenance = value?.Provenance ?? Provenance.Constant };
    }

    private TypedValue? Composite(LocationContext context, VariablePlan plan)
    {
        if (plan.Size is 0 or > LargestComposite)
        {
            return null;
        }

        var sources = _result.Sources;
        var bytes = new byte[plan.Size];
        var unknown = new List<(long From, long To)>();
        var at = 0L;
        foreach (ref readonly var piece in _result.Pieces)
        {
            var bits = Math.Min(piece.Bits, (plan.Size * 8L) - at);
            if (bits <= 0)
            {
                break;
            }

            if (piece.Kind == LocationKind.Empty)
            {
                unknown.Add((at, at + bits));
            }
            else if (!CopyPiece(context, in piece, bytes, at, bits, ref sources))
            {
                return null;
            }

            at += bits;
        }

        if (at < plan.Size * 8L)
        {
            unknown.Add((at, plan.Size * 8L));
        }

        // clang writes no pieces for a structure's padding, and empty ones for members that it dropped.
        return unknown.Exists(gap => HasMemberIn(plan.Type, 0, gap.From, gap.To, 0)) ? null : new TypedValue { Type = plan.Type, Bytes = bytes, Provenance = ProvenanceOf(sources) };
    }

    private static bool HasMemberIn(CType type, long start, long from, long to, int depth)
    {
        if (start >= to || start + (type.Size * 8) <= from)
        {
            return false;
        }

        return type.Resolved is not StructType { Kind: not StructKind.Union } composite || depth > MaximumPointers
            || composite.Members.Any(m => m.IsBitField
                ? start + m.BitOffset < to && start + m.BitOffset + m.BitSize > from
                : HasMemberIn(m.Type, start + m.BitOffset, from, to, depth + 1));
    }

    private static bool CopyPiece(LocationContext context, in LocationPiece piece, byte[] into, long at, long bits, ref ValueSources sources)
    {
        var from = new byte[(int)((piece.BitOffset + bits + 7) / 8) is var length && length <= LargestComposite ? Math.Max(length, 8) : 8];
        switch (piece.Kind)
        {
            case LocationKind.Memory when context is Activation && (piece.BitOffset + bits + 7) / 8 <= from.Length:
                sources |= ValueSources.Memory;
                if (context.Read(piece.Value, from.AsSpan(0, (int)((piece.BitOffset + bits + 7) / 8))) != MemoryReadResult.Ok)
                {
                    return false;
                }

                break;
            case LocationKind.Register when piece.BitOffset + bits <= 64:
                if (!context.TryRegister((int)piece.Value, out var register, ref sources))
                {
                    return false;
                }

                BinaryPrimitives.WriteUInt64LittleEndian(from, register);
                break;
            case LocationKind.Value when piece.BitOffset + bits <= 64:
                BinaryPrimitives.WriteUInt64LittleEndian(from, piece.Value);
                break;
            case LocationKind.Bytes when (piece.BitOffset + bits + 7) / 8 <= piece.Bytes.Length:
                piece.Bytes.Span[..(int)((piece.BitOffset + bits + 7) / 8)].CopyTo(from);
                break;
            default:
                return false;
        }

        for (var i = 0L; i < bits; i++)
        {
            var bit = (from[(piece.BitOffset + i) / 8] >> (int)((piece.BitOffset + i) % 8)) & 1;
            into[(at + i) / 8] |= (byte)(bit << (int)((at + i) % 8));
        }

        return true;
    }

    private static TypedValue OfNumber(VariablePlan plan, ulong value, ValueSources sources)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return new TypedValue { Type = plan.Type, Bytes = bytes.AsMemory(0, Math.Clamp(plan.Size, 1, 8)), Provenance = ProvenanceOf(sources) };
    }

    private static TypedValue Unreadable(VariablePlan plan, ulong address) => new() { Type = plan.Type, Address = address, Provenance = Provenance.Unreadable };

    /// <summary>The weakest of what was looked at.</summary>
    private static Provenance ProvenanceOf(ValueSources sources) =>
        (sources & ValueSources.Recovered) != 0 ? Provenance.Recovered
        : (sources & ValueSources.Entry) != 0 ? Provenance.EntryValue
        : (sources & ValueSources.Memory) != 0 ? Provenance.Memory
        : (sources & ValueSources.Register) != 0 ? Provenance.Register
        : Provenance.Constant;
}
