using System.Collections.Immutable;
using KTrace.Symbols.Dwarf;
using KTrace.Symbols.Dwarf.Locations;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values;

/// <summary>How one variable is found at one place of the code. Holds for every activation that stands there.</summary>
internal sealed class VariablePlan
{
    public required VariableDie Die { get; init; }

    public required CType Type { get; init; }

    /// <summary>Bytes; 0 where the type does not tell.</summary>
    public required int Size { get; init; }

    public string Name => Die.Name;

    public Unit Unit => Die.Unit;

    /// <summary>Its value where the compiler wrote it down.</summary>
    public byte[]? Constant { get; init; }

    /// <summary>Its location at the pc.</summary>
    public ExpressionBytes Now { get; init; }

    /// <summary>
    /// Of a variable that has no location while a call runs, only because the call may change the register that it is in: that register, or -1. Nobody can change the variable
    /// meanwhile, so it still has the value that the register had.
    /// </summary>
    public int LostRegister { get; init; } = -1;

    /// <summary>Of a variable that has no location while a call runs, only because the call may change the memory that it is in: what it was loaded from, or null.</summary>
    public LoadedTerm? LostTerm { get; init; }

    /// <summary>Where the call instruction of the place begins, at run time; 0 when that is not sure.</summary>
    public ulong CallInstruction { get; init; }

    /// <summary>A parameter's location when its function was entered.</summary>
    public ExpressionBytes AtEntry { get; init; }

    /// <summary><see cref="AtEntry"/> needs nothing that can have changed since: no register, no memory.</summary>
    public bool AtEntryIsLasting { get; init; }

    /// <summary>Of an inlined call's parameter: <see cref="AtEntry"/>, where that is memory.</summary>
    public LoadedTerm? TermAtEntry { get; init; }

    /// <summary>Where the ABI has it on entry, where the function is called as the ABI says.</summary>
    public ArgumentPlace Passed { get; init; }

    /// <summary>Of an inlined call's parameter: variables around it that had the same location when it began, and so the same value.</summary>
    public ImmutableArray<VariablePlan> Twins { get; init; } = [];

    /// <summary>Of a part of a function that was split off and put back: the whole function's parameter, which is the same variable.</summary>
    public VariablePlan? Whole { get; init; }

    /// <summary>Of an inlined call's parameter: where its block begins, at run time.</summary>
    public ulong BlockEntry { get; init; }
}

/// <summary>One function of a place: inlined there, or the one that has the stack frame.</summary>
internal sealed record FrameScope(ImmutableArray<VariablePlan> Parameters, Lazy<ImmutableArray<VariablePlan>> Locals, bool IsInline);
