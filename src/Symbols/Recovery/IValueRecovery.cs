using System.Collections.Immutable;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Recovery;

/// <summary>
/// What the machine code still knows about values that debug information has given up. Registers are indexes of
/// <see cref="Arch.Architecture.RegisterNames"/> (DWARF numbers); frames are an unwound stack, innermost first; addresses are run-time ones. Every answer holds by proof
/// over all ways through the code, or is not given.
/// </summary>
public interface IValueRecovery
{
    /// <summary>What a register held when the function of a frame was entered.</summary>
    RecoveredValue EntryRegister(ImmutableArray<UnwoundFrame> frames, int frame, int register, IMemoryReader memory);

    /// <summary>What stood on the stack when the function of a frame was entered, <paramref name="cfaOffset"/> bytes above the return address's end (0: the first pushed argument).</summary>
    /// <param name="size">Bytes: 4 or 8.</param>
    RecoveredValue EntrySlot(ImmutableArray<UnwoundFrame> frames, int frame, long cfaOffset, int size, IMemoryReader memory);

    /// <summary>
    /// For a function that left by a tail call: what it was entered with in a register, from what it passed on unchanged (or plus a number) and what is known of that.
    /// </summary>
    /// <param name="jumps">The jumps from its own to the one by which the function of the frame was entered; any address inside each.</param>
    RecoveredValue PassedOn(ImmutableArray<UnwoundFrame> frames, int frame, ReadOnlySpan<ulong> jumps, int register, IMemoryReader memory);

    /// <summary>
    /// What a register held just before the instruction at <paramref name="at"/>, the last time that the frame's activation came there. The caller knows that it did come there.
    /// </summary>
    /// <param name="at">An address of the frame's own function: where an inlined function begins, or where a location list covered the value.</param>
    RecoveredValue RegisterAt(ImmutableArray<UnwoundFrame> frames, int frame, ulong at, int register, IMemoryReader memory);

    /// <summary>The same for what memory held, where the code loaded it close to there. The term's addresses are the object's.</summary>
    RecoveredValue LoadedAt(ImmutableArray<UnwoundFrame> frames, int frame, ulong at, LoadedTerm term, IMemoryReader memory);

    /// <summary>The same for a stack slot, in bytes from the frame's CFA.</summary>
    RecoveredValue SlotAt(ImmutableArray<UnwoundFrame> frames, int frame, ulong at, long cfaOffset, int size, IMemoryReader memory);

    /// <summary>
    /// A register of a frame as it stands, where the unwinder does not know it: a callee-saved one that the frames below saved (ORC alone does not say where).
    /// </summary>
    RecoveredValue Register(ImmutableArray<UnwoundFrame> frames, int frame, int register, IMemoryReader memory);

    /// <summary>
    /// Every way from the entry of a frame's function to its pc leads through an address. The compiler merges equal ends of different inlined calls: what debug information says about the begin of
    /// such a call then holds for some of the ways only.
    /// </summary>
    bool MustHavePassed(ImmutableArray<UnwoundFrame> frames, int frame, ulong at);
}
