using System.Collections.Immutable;
using Gee.External.Capstone.X86;
using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Recovery;

/// <summary>Shows that the call in one frame entered the function of the frame below, straight or by tail calls that are known.</summary>
internal sealed class CallProof(KernelMap map, CodeLibraries libraries, FrameRecovery recovery)
{
    private const int MaximumLoads = 4;
    private const int MaximumKept = 1 << 13;

    // What the code alone proves, it proves for every stack.
    private readonly Dictionary<(ulong Callee, ulong Caller, ulong Return), (bool IsProven, ImmutableArray<ulong> TailCalls)> _direct = [];
    private ImmutableArray<KernelModule> _modules = map.Modules;

    // One stack is asked about many times, and for most frames the same proof is needed.
    private ImmutableArray<UnwoundFrame> _stack;
    private IMemoryReader? _memory;
    private (bool IsKnown, bool IsProven, ImmutableArray<ulong> TailCalls)[] _kept = [];

    /// <param name="tailCalls">The jumps between them at run-time addresses, innermost first.</param>
    /// <param name="missing">Set to the memory that would have to be fetched for the proof.</param>
    public bool TryProve(ImmutableArray<UnwoundFrame> frames, int frame, IMemoryReader memory, int depth, out ImmutableArray<ulong> tailCalls, ref RecoveredValue missing)
    {
        if (_stack != frames || !ReferenceEquals(_memory, memory))
        {
            (_stack, _memory) = (frames, memory);
            _kept = _kept.Length >= frames.Length ? _kept : new (bool, bool, ImmutableArray<ulong>)[frames.Length + 8];
            Array.Clear(_kept);
        }

        if (_kept[frame] is { IsKnown: true } kept)
        {
            tailCalls = kept.TailCalls;
            return kept.IsProven;
        }

        if (_modules != map.Modules)
        {
            // Code was loaded or freed: addresses may mean something else now.
            _direct.Clear();
            _modules = map.Modules;
        }

        var key = (frames[frame].LookupAddress, frames[frame + 1].LookupAddress, frames[frame + 1].ProgramCounter);
        if (!_direct.TryGetValue(key, out var direct))
        {
            direct.IsProven = Prove(frames, frame, memory, depth, out direct.TailCalls, ref missing, out var isFinal);
            if (isFinal)
            {
                if (_direct.Count >= MaximumKept)
                {
                    _direct.Clear();
                }

                _direct[key] = direct;
            }
            else if (!direct.IsProven)
            {
                tailCalls = direct.TailCalls;
                return false;
            }
        }

        _kept[frame] = (true, direct.IsProven, direct.TailCalls);
        tailCalls = direct.TailCalls;
        return direct.IsProven;
    }

    private bool Prove(ImmutableArray<UnwoundFrame> frames, int frame, IMemoryReader memory, int depth, out ImmutableArray<ulong> tailCalls, ref RecoveredValue missing,
        out bool isFinal)
    {
        tailCalls = [];

        // The code alone does not change its mind; behind a pointer, memory that is fetched later may say more.
        isFinal = true;
        var (callee, caller) = (frames[frame], frames[frame + 1]);
        var (inner, outer) = (libraries.At(callee.LookupAddress), libraries.At(caller.LookupAddress));
        if (!inner.IsKnown || !outer.IsKnown || EntryOf(inner, callee.LookupAddress) is not (> 0 and var entered))
        {
            return false;
        }

        if (outer.Library!.FlowOf(outer.ToObject(caller.LookupAddress)) is not { } finder
            || finder.PlacesAt(outer.ToObject(caller.ProgramCounter), true) is not [var place])
        {
            return false;
        }

        ref readonly var call = ref finder.Flow.Flow.Instruction(place.Instruction);
        if (Target(outer, in call) is { } target)
        {
            return target == entered || TryProveTailCalls(callee, caller, target, entered, out tailCalls);
        }

        isFinal = false;
        var pointer = Pointer(finder, outer, in call, place, frames, frame + 1, memory, depth);
        if (pointer.Outcome == RecoveryOutcome.MemoryMissing)
        {
            missing = pointer;
        }

        return pointer.IsKnown && pointer.Bits == map.Image.Architecture.WordSize * 8 && pointer.Value == entered;
    }

    private static ulong EntryOf(FlowLibraryAt library, ulong address) =>
        library.EntryOf(library.ToObject(address)) is > 0 and var entry ? library.ToRunTime(entry) : 0;

    /// <summary>Where a direct call leads, at run time; null for one through a pointer.</summary>
    private ulong? Target(FlowLibraryAt library, in MachineInstruction call)
    {
        if (!call.First.IsImmediate)
        {
            return null;
        }

        var code = library.Library!.Code;
        if (code.External(call.Address, call.Length) is { } name)
        {
            return SpecialFunctions.Classify(name) == SpecialFunction.IndirectThunk || IsStaticCall(name) ? null : map.FindGlobal(name);
        }

        var target = (ulong)call.First.Number;
        return code.Special(call.Address, call.Length, target) == SpecialFunction.IndirectThunk
            || (code.Symbols.TryFindNearest(target, out Elf.ElfSymbol symbol) && IsStaticCall(symbol.Name))
                ? null
                : library.ToRunTime(target);
    }

    /// <summary>A trampoline whose callers the kernel patches to call something else.</summary>
    private static bool IsStaticCall(string name) => name.StartsWith("__SCT__", StringComparison.Ordinal);

    private bool TryProveTailCalls(UnwoundFrame callee, UnwoundFrame caller, ulong called, ulong entered, out ImmutableArray<ulong> tailCalls)
    {
        tailCalls = [];
        var jumps = ImmutableArray.CreateBuilder<ulong>();
        var expected = entered;
        foreach (var between in map.TailCallsBetween(callee, caller))
        {
            var library = libraries.At(between.ProgramCounter - 1);
            if (!library.IsKnown || library.Library!.FlowOf(library.ToObject(between.ProgramCounter - 1)) is not { } finder
                || finder.Flow.Flow.FindHolding(library.ToObject(between.ProgramCounter - 1)) is not (>= 0 and var index))
            {
                return false;
            }

            ref readonly var jump = ref finder.Flow.Flow.Instruction(index);
            if (jump.Id != X86InstructionId.X86_INS_JMP || Target(library, in jump) != expected)
            {
                return false;
            }

            jumps.Add(library.ToRunTime(jump.Address));
            expected = library.ToRunTime(finder.Flow.Flow.Entry);
        }

        tailCalls = jumps.ToImmutable();
        return expected == called;
    }

    /// <summary>The address that a call through a pointer went to: kept in a register, or still where the call took it from.</summary>
    private RecoveredValue Pointer(
        RecipeFinder finder, FlowLibraryAt library, in MachineInstruction call, FlowPlace place, ImmutableArray<UnwoundFrame> frames, int frame, IMemoryReader memory, int depth)
    {
        var load = new PointerLoad(finder, library, place, frames, frame, memory, recovery, depth);
        if (call.First.IsImmediate)
        {
            var register = library.Library!.Code.ThunkRegister(in call);
            return register < 0 ? RecoveredValue.Unknown : load.Value(place.State[register], MaximumLoads);
        }

        return call.First.IsRegister ? load.Value(place.State[call.First.Register], MaximumLoads)
            : call.First.IsMemory ? load.At(call.First, place.State, MaximumLoads)
            : RecoveredValue.Unknown;
    }
}
