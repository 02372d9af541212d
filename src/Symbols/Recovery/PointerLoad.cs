using System.Collections.Immutable;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Recovery;

/// <summary>
/// Repeats the loads that a function pointer came from. Memory may have changed since, so what comes out is no value to show; but when it is the address of the very function that
/// runs, the call went there.
/// </summary>
internal readonly struct PointerLoad(
    RecipeFinder finder, FlowLibraryAt library, FlowPlace place, ImmutableArray<UnwoundFrame> frames, int frame, IMemoryReader memory, FrameRecovery recovery, int depth)
{
    public RecoveredValue Value(FlowValue value, int loads)
    {
        var recipes = finder.Find(value, place);
        if (!recipes.IsEmpty)
        {
            var stack = place.State[finder.Flow.Registers.StackPointer];
            var known = recovery.Evaluate(new FlowAnswer(recipes, stack.IsCfa ? stack.Addend : null), frames, frame, library, memory, depth + 1);
            if (known.IsKnown && known.Bits == finder.Flow.Registers.Word * 8)
            {
                return known;
            }
        }

        var values = finder.Flow.Values;
        if (loads == 0 || values.BaseOf(value) != FlowBase.Result)
        {
            return RecoveredValue.Unknown;
        }

        var (address, register) = values.PartsOf(value);
        var index = finder.Flow.Flow.Find((ulong)address);
        if (index < 0)
        {
            return RecoveredValue.Unknown;
        }

        ref readonly var source = ref finder.Flow.Flow.Instruction(index);
        if (InstructionEffects.Of(source.Id) != EffectKind.Mov || !source.First.IsRegister || source.First.Register != register || !source.Second.IsMemory
            || source.Second.Size != finder.Flow.Registers.Word || finder.StateBefore(index) is not { } before)
        {
            return RecoveredValue.Unknown;
        }

        var loaded = At(source.Second, before, loads - 1);
        return loaded.IsKnown ? loaded with { Value = loaded.Value + (ulong)value.Addend } : loaded;
    }

    /// <summary>The word that a memory operand names.</summary>
    public RecoveredValue At(MachineOperand operand, FlowState state, int loads)
    {
        if (operand.HasSegment)
        {
            return RecoveredValue.Unknown;
        }

        ulong address;
        if (operand.Register == MachineOperand.ProgramCounterBase || operand.Register == MachineOperand.NoRegister)
        {
            address = library.ToRunTime((ulong)operand.Number);
        }
        else
        {
            var based = Value(state[operand.Register], loads);
            if (!based.IsKnown)
            {
                return based;
            }

            address = based.Value + (ulong)operand.Number;
        }

        if (operand.IndexRegister >= 0)
        {
            var index = Value(state[operand.IndexRegister], loads);
            if (!index.IsKnown)
            {
                return index;
            }

            address += index.Value * operand.Scale;
        }

        var word = finder.Flow.Registers.Word;
        address = word == 4 ? (uint)address : address;
        Span<byte> bytes = stackalloc byte[8];
        bytes.Clear();
        return memory.Read(address, bytes[..word]) switch
        {
            MemoryReadResult.Ok => RecoveredValue.Known(BitConverter.ToUInt64(bytes), word * 8),
            MemoryReadResult.NotFetched => RecoveredValue.Missing(address, word),
            _ => RecoveredValue.Unknown,
        };
    }
}
