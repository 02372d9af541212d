using System.Collections.Immutable;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>What happens at the entry of the functions of one kind of tracepoint: who counts, what is copied. The functions share its code.</summary>
/// <param name="Index">0 to <see cref="Ring.ControlBlock.MaximumPrograms"/> − 1.</param>
/// <param name="StackBytes">Bytes of stack that are copied at most, over all windows; a multiple of 8.</param>
public sealed record TrampolineProgram(int Index, int StackBytes)
{
    /// <summary>A call counts when this is true; null: always.</summary>
    public CompiledCondition? Condition { get; init; }

    /// <summary>Of the calls that count one in so many is recorded: the first, then every Nth. 1: all.</summary>
    public long Sample { get; init; } = 1;

    /// <summary>Only so many are recorded; null: all.</summary>
    public long? First { get; init; }

    /// <summary>The program whose counters tell how many there were: its own, unless several count together.</summary>
    public int CountsAt { get; init; } = Index;

    /// <summary>The return address is replaced, and the return recorded.</summary>
    public bool Returns { get; init; }
}

/// <summary>
/// A condition that a trampoline can ask: a small program over 64-bit numbers (32-bit on i386) without jumps backwards. It is made by the condition compiler, for one function's parameters: programs are
/// shared only by functions with equal conditions.
/// </summary>
/// <param name="Text">As written, for people.</param>
public sealed record CompiledCondition(string Text, ImmutableArray<ConditionStep> Steps)
{
    /// <summary>
    /// It looks at memory that could be anywhere, or knows an address of the kernel: there must be a <see cref="GuestView"/>. Otherwise registers and the current task are all that it asks for, at any time of a boot.
    /// </summary>
    public bool NeedsView => Steps.Any(s => s is ConditionStep.Load { IsOwnTask: false } or ConditionStep.TextEquals { IsOwnTask: false } or ConditionStep.Constant { IsKernelAddress: true });
}

/// <summary>Code for the guest, at the address for which it was made.</summary>
/// <param name="Address">Virtual.</param>
public sealed record CodeBlock(ulong Address, ImmutableArray<byte> Bytes)
{
    public ulong End => Address + (ulong)Bytes.Length;

    /// <summary>From each offset on: how far above the stack pointer the frame address lies (behind the return address into the traced function), in bytes. Ascending by offset.</summary>
    public ImmutableArray<(int Offset, int FrameDistance)> Frames { get; init; } = [];

    /// <summary>Offset of the instruction with which a trampoline begins to put everything back: its record is complete there, and interrupts are off yet. 0: the code writes no records.</summary>
    public int Done { get; init; }

    public bool Contains(ulong address) => address >= Address && address < End;

    /// <summary>How far above the stack pointer the frame address lies before the instruction at an address; null: that is not known.</summary>
    public int? FrameDistanceAt(ulong address)
    {
        int? found = null;
        foreach (var (offset, distance) in Contains(address) ? Frames : [])
        {
            found = (ulong)offset <= address - Address ? distance : found;
        }

        return found;
    }

    /// <summary>
    /// Whether who stands there may have room in the ring for a record that is not complete. Registers are saved then and not given back yet; whoever waits for room stands so too, and has none.
    /// </summary>
    public bool MayHoldRecord(ulong address) => Done > 0 && address - Address != (ulong)Done && FrameDistanceAt(address) >= FrameDistanceAt(Address + (ulong)Done);
}
