// Up a stack with recipes: a frame's own code says where a value is kept, or that it is the one with which the function was entered; then the caller's code says what it
// passed. That holds only if the caller's call did enter this function. A direct call proves it, or a chain of tail calls that DWARF knows to be the only one. Behind a call
// through a pointer another function may have run first and left by a tail call, having changed the arguments (irq_chip_mask_parent does just
// that): so the pointer is asked for too, and must be this function's address.
using System.Collections.Immutable;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Recovery;

/// <summary>Recovers values over a whole stack of the kernel and its modules. For one thread at a time, like the map.</summary>
public sealed class FrameRecovery : IValueRecovery, IDisposable
{
    private const int MaximumDepth = 64;

    // A callee may have more than one place to look at, so that not many of them can be asked one behind the other.
    private const int CostInwards = 12;

    private readonly CodeLibraries _libraries;
    private readonly CallProof _calls;
    private readonly Architecture _architecture;

    public FrameRecovery(KernelMap map)
    {
        Map = map;
        _architecture = map.Image.Architecture;
        _libraries = new CodeLibraries(map);
        _calls = new CallProof(map, _libraries, this);
    }

    public KernelMap Map { get; }

    public void Dispose() => _libraries.Dispose();

    /// <inheritdoc/>
    public RecoveredValue EntryRegister(ImmutableArray<UnwoundFrame> frames, int frame, int register, IMemoryReader memory) =>
        IsFrame(frames, frame) && IsGeneral(register) ? AtEntry(frames, frame, register, 0, memory, 0) : RecoveredValue.Unknown;

    /// <inheritdoc/>
    public RecoveredValue EntrySlot(ImmutableArray<UnwoundFrame> frames, int frame, long cfaOffset, int size, IMemoryReader memory) =>
        IsFrame(frames, frame) && cfaOffset >= 0 && size is > 0 and <= 8 ? AtEntry(frames, frame, -1, cfaOffset, memory, 0) : RecoveredValue.Unknown;

    /// <inheritdoc/>
    public RecoveredValue RegisterAt(ImmutableArray<UnwoundFrame> frames, int frame, ulong at, int register, IMemoryReader memory) =>
        IsFrame(frames, frame) && IsGeneral(register) ? Earlier(frames, frame, at, register, 0, 0, memory) : RecoveredValue.Unknown;

    /// <inheritdoc/>
    public RecoveredValue SlotAt(ImmutableArray<UnwoundFrame> frames, int frame, ulong at, long cfaOffset, int size, IMemoryReader memory) =>
        IsFrame(frames, frame) ? Earlier(frames, frame, at, -1, cfaOffset, size, memory) : RecoveredValue.Unknown;

    /// <inheritdoc/>
    public RecoveredValue LoadedAt(ImmutableArray<UnwoundFrame> frames, int frame, ulong at, LoadedTerm term, IMemoryReader memory)
    {
        if (!IsFrame(frames, frame) || _libraries.At(frames[frame].LookupAddress) is not { IsKnown: true } library)
        {
            return RecoveredValue.Unknown;
        }

        var own = frames[frame];
        var answer = library.Ask(new FlowQuestion(library.ToObject(own.ProgramCounter), own.IsCall, library.ToObject(at), -1, Loaded: term));
        return Evaluate(answer, new Asked(frames, frame, library, memory, FromCaller: true, IntoCallee: true), 0);
    }

    /// <inheritdoc/>
    public RecoveredValue Register(ImmutableArray<UnwoundFrame> frames, int frame, int register, IMemoryReader memory) =>
        IsFrame(frames, frame) && IsGeneral(register) ? Now(frames, frame, register, memory, 0) : RecoveredValue.Unknown;

    /// <inheritdoc/>
    public bool MustHavePassed(ImmutableArray<UnwoundFrame> frames, int frame, ulong at) =>
        IsFrame(frames, frame) && _libraries.At(frames[frame].LookupAddress) is { IsKnown: true } library
        && library.Library!.MustPass(library.ToObject(frames[frame].ProgramCounter), frames[frame].IsCall, library.ToObject(at));

    /// <summary>Follows the recipes of one frame until one leads to a value.</summary>
    internal RecoveredValue Evaluate(FlowAnswer answer, in Asked asked, int depth)
    {
        var best = RecoveredValue.Unknown;
        foreach (var recipe in answer.Recipes)
        {
            if (best.IsKnown && recipe.Bits <= best.Bits)
            {
                break;
            }

            var value = Evaluate(recipe, answer, in asked, depth);
            if (value.IsKnown ? value.Bits > best.Bits || !best.IsKnown : best.Outcome == RecoveryOutcome.Unknown)
            {
                best = value;
            }
        }

        return best;
    }

    internal RecoveredValue Evaluate(FlowAnswer answer, ImmutableArray<UnwoundFrame> frames, int frame, FlowLibraryAt library, IMemoryReader memory, int depth) =>
        Evaluate(answer, new Asked(frames, frame, library, memory, FromCaller: true, IntoCallee: false), depth);

    /// <summary>The frame that is asked, and what may be asked on its behalf.</summary>
    /// <param name="FromCaller">Its caller may be asked for what it was entered with.</param>
    /// <param name="IntoCallee">The function that it called may be asked for what that was entered with.</param>
    internal readonly record struct Asked(ImmutableArray<UnwoundFrame> Frames, int Frame, FlowLibraryAt Library, IMemoryReader Memory, bool FromCaller, bool IntoCallee);

    private RecoveredValue Evaluate(ValueRecipe recipe, FlowAnswer answer, in Asked asked, int depth)
    {
        if (depth > MaximumDepth)
        {
            return RecoveredValue.Unknown;
        }

        switch (recipe)
        {
            case ValueRecipe.Constant constant:
                return Known(constant.IsAddress ? asked.Library.ToRunTime(constant.Value) : constant.Value, recipe.Bits);
            case ValueRecipe.Register register:
                return Plus(Now(asked.Frames, asked.Frame, register.Index, asked.Memory, depth + 1), register.Addend, recipe.Bits);
            case ValueRecipe.StackAddress address when FrameAddress(answer, in asked) is { } cfa:
                return Known(cfa + (ulong)address.CfaOffset, recipe.Bits);
            case ValueRecipe.StackSlot slot when FrameAddress(answer, in asked) is { } cfa:
                return Plus(Read(Truncate(cfa + (ulong)slot.CfaOffset), slot.Size, asked.Memory), slot.Addend, recipe.Bits);
            case ValueRecipe.EntryRegister entry when asked.FromCaller:
                return Plus(FromCaller(asked.Frames, asked.Frame, entry.Index, 0, asked.Memory, depth + 1), entry.Addend, recipe.Bits);
            case ValueRecipe.EntrySlot entry when asked.FromCaller:
                return Plus(FromCaller(asked.Frames, asked.Frame, -1, entry.CfaOffset, asked.Memory, depth + 1), entry.Addend, recipe.Bits);
            case ValueRecipe.Passed passed:
                return Plus(ToldByCallee(in asked, passed.Index, 0, depth), passed.Addend, recipe.Bits);
            case ValueRecipe.PassedSlot passed:
                return Plus(ToldByCallee(in asked, -1, passed.CfaOffset, depth), passed.Addend, recipe.Bits);
            default:
                return RecoveredValue.Unknown;
        }
    }

    /// <summary>What the call that is under way passed in a register (or, with -1, on the stack), as the function knows it that was called.</summary>
    private RecoveredValue ToldByCallee(in Asked asked, int register, long offset, int depth)
    {
        if (!asked.IntoCallee || asked.Frame == 0 || depth + CostInwards > MaximumDepth)
        {
            return RecoveredValue.Unknown;
        }

        var missing = RecoveredValue.Unknown;
        return _calls.TryProve(asked.Frames, asked.Frame - 1, asked.Memory, depth, out var tailCalls, ref missing)
            ? Inwards(asked.Frames, asked.Frame - 1, tailCalls.AsSpan(), register, offset, asked.Memory, depth + CostInwards)
            : missing;
    }

    /// <summary>What a register (or, with -1, a word above the return address) was when the frame's function was entered.</summary>
    private RecoveredValue AtEntry(ImmutableArray<UnwoundFrame> frames, int frame, int register, long offset, IMemoryReader memory, int depth)
    {
        var own = frames[frame];
        var library = _libraries.At(own.LookupAddress);
        if (library.IsKnown)
        {
            var answer = library.Ask(new FlowQuestion(library.ToObject(own.ProgramCounter), own.IsCall, FlowQuestion.Entry, register, offset, _architecture.WordSize));
            if (!answer.Recipes.IsEmpty)
            {
                return Evaluate(answer, new Asked(frames, frame, library, memory, FromCaller: true, IntoCallee: true), depth);
            }
        }

        return depth > MaximumDepth ? RecoveredValue.Unknown : FromCaller(frames, frame, register, offset, memory, depth + 1);
    }

    private RecoveredValue FromCaller(ImmutableArray<UnwoundFrame> frames, int frame, int register, long offset, IMemoryReader memory, int depth)
    {
        if (depth > MaximumDepth || frame + 1 >= frames.Length || !frames[frame + 1].IsCall)
        {
            return RecoveredValue.Unknown;
        }

        var missing = RecoveredValue.Unknown;
        if (!_calls.TryProve(frames, frame, memory, depth, out var tailCalls, ref missing))
        {
            return missing;
        }

        // Innermost first: what did each function that left by a jump put there, in terms of what it was entered with?
        long addend = 0;
        var bits = _architecture.WordSize * 8;
        foreach (var jump in tailCalls)
        {
            var library = _libraries.At(jump);
            switch (Single(library.AskAtJump(library.ToObject(jump), register, offset)))
            {
                case ValueRecipe.Constant constant:
                    return Plus(Known(constant.IsAddress ? library.ToRunTime(constant.Value) : constant.Value, constant.Bits), addend, bits);
                case ValueRecipe.EntryRegister entry:
                    (register, offset, addend, bits) = (entry.Index, 0, addend + entry.Addend, Math.Min(bits, entry.Bits));
                    break;
                case ValueRecipe.EntrySlot entry:
                    (register, offset, addend, bits) = (-1, entry.CfaOffset, addend + entry.Addend, Math.Min(bits, entry.Bits));
                    break;
                default:
                    return RecoveredValue.Unknown;
            }
        }

        var caller = frames[frame + 1];
        var above = _libraries.At(caller.LookupAddress);
        if (!above.IsKnown)
        {
            return RecoveredValue.Unknown;
        }

        var answer = above.Ask(new FlowQuestion(above.ToObject(caller.ProgramCounter), true, FlowQuestion.Call, register, offset, _architecture.WordSize));
        return Plus(Evaluate(answer, new Asked(frames, frame + 1, above, memory, FromCaller: true, IntoCallee: true), depth), addend, bits);
    }

    /// <inheritdoc/>
    public RecoveredValue PassedOn(ImmutableArray<UnwoundFrame> frames, int frame, ReadOnlySpan<ulong> jumps, int register, IMemoryReader memory) =>
        IsFrame(frames, frame) && IsGeneral(register) ? Inwards(frames, frame, jumps, register, 0, memory, 0) : RecoveredValue.Unknown;

    /// <summary>What the first function of a way was entered with, as far as the frame of its last one knows it.</summary>
    /// <param name="jumps">Of the way, innermost first.</param>
    private RecoveredValue Inwards(ImmutableArray<UnwoundFrame> frames, int frame, ReadOnlySpan<ulong> jumps, int register, long offset, IMemoryReader memory, int depth)
    {
        if (register < 0 && jumps.Length > 0)
        {
            return RecoveredValue.Unknown;
        }

        long addend = 0;
        var bits = _architecture.WordSize * 8;
        for (var i = jumps.Length - 1; i >= 0; i--)
        {
            var library = _libraries.At(jumps[i]);
            if (!library.IsKnown || !library.Library!.TryPassedOn(library.ToObject(jumps[i]), register, out var passedIn, out var added, out var kept))
            {
                return RecoveredValue.Unknown;
            }

            (register, addend, bits) = (passedIn, addend - added, Math.Min(bits, kept));
        }

        var own = _libraries.At(frames[frame].LookupAddress);
        if (!own.IsKnown || depth > MaximumDepth)
        {
            return RecoveredValue.Unknown;
        }

        var answer = own.Ask(new FlowQuestion(own.ToObject(frames[frame].ProgramCounter), frames[frame].IsCall, FlowQuestion.Entry, register, offset, _architecture.WordSize));
        return Plus(Evaluate(answer, new Asked(frames, frame, own, memory, FromCaller: false, IntoCallee: true), depth), addend, bits);
    }

    private RecoveredValue Earlier(ImmutableArray<UnwoundFrame> frames, int frame, ulong at, int register, long offset, int size, IMemoryReader memory)
    {
        var own = frames[frame];
        var library = _libraries.At(own.LookupAddress);
        if (!library.IsKnown)
        {
            return RecoveredValue.Unknown;
        }

        var address = library.ToObject(at);
        if (address == library.EntryOf(library.ToObject(own.LookupAddress)))
        {
            return AtEntry(frames, frame, register, offset, memory, 0);
        }

        var answer = library.Ask(new FlowQuestion(library.ToObject(own.ProgramCounter), own.IsCall, address, register, offset, size));
        return Evaluate(answer, new Asked(frames, frame, library, memory, FromCaller: true, IntoCallee: true), 0);
    }

    /// <summary>A register as it stands in a frame; a callee-saved one that the unwinder lost is looked for where the frames below saved it.</summary>
    private RecoveredValue Now(ImmutableArray<UnwoundFrame> frames, int frame, int register, IMemoryReader memory, int depth)
    {
        var own = frames[frame];
        if (own.Registers.IsKnown(register))
        {
            return Known(own.Registers[register], _architecture.WordSize * 8);
        }

        if (frame == 0 || !own.IsCall || depth > MaximumDepth || !_architecture.CalleeSavedRegisters.Contains(register))
        {
            return RecoveredValue.Unknown;
        }

        var below = frames[frame - 1];
        var library = _libraries.At(below.LookupAddress);
        if (!library.IsKnown)
        {
            return RecoveredValue.Unknown;
        }

        var answer = library.Ask(new FlowQuestion(library.ToObject(below.ProgramCounter), below.IsCall, FlowQuestion.Entry, register, 0, _architecture.WordSize));
        return Evaluate(answer, new Asked(frames, frame - 1, library, memory, FromCaller: false, IntoCallee: false), depth + 1);
    }

    private static ValueRecipe? Single(ImmutableArray<ValueRecipe> recipes) => recipes.IsEmpty ? null : recipes[0];

    /// <summary>The frame's CFA by its own code; null when that is not the stack pointer with which its caller goes on.</summary>
    private ulong? FrameAddress(FlowAnswer answer, in Asked asked)
    {
        var own = asked.Frames[asked.Frame];
        if (answer.StackPointer is not { } offset || !own.Registers.IsKnown(_architecture.StackPointer))
        {
            return null;
        }

        var cfa = Truncate(own.Registers.StackPointer - (ulong)offset);
        var isEndOfWalk = asked.Frame + 1 >= asked.Frames.Length;
        return isEndOfWalk || !asked.Frames[asked.Frame + 1].IsCall || asked.Frames[asked.Frame + 1].Registers.StackPointer == cfa ? cfa : null;
    }

    private RecoveredValue Read(ulong address, int size, IMemoryReader memory)
    {
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        return memory.Read(address, bytes[..size]) switch
        {
            MemoryReadResult.Ok => Known(BitConverter.ToUInt64(bytes), size * 8),
            MemoryReadResult.NotFetched => RecoveredValue.Missing(address, size),
            _ => RecoveredValue.Unknown,
        };
    }

    private RecoveredValue Plus(RecoveredValue value, long addend, int bits) =>
        value.IsKnown ? Known(value.Value + (ulong)addend, Math.Min(value.Bits, bits)) : value;

    private RecoveredValue Known(ulong value, int bits) => RecoveredValue.Known(Truncate(value), bits);

    private ulong Truncate(ulong value) => _architecture.WordSize == 4 ? (uint)value : value;

    private static bool IsFrame(ImmutableArray<UnwoundFrame> frames, int frame) => !frames.IsDefault && (uint)frame < (uint)frames.Length;

    private bool IsGeneral(int register) => register >= 0 && register < _architecture.ProgramCounter;
}
