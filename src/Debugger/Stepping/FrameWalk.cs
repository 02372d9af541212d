using System.Collections.Immutable;
using KTrace.Debugger.Memory;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Lookup;
using KTrace.Symbols.Unwind;

namespace KTrace.Debugger.Stepping;

/// <summary>One line of the call path as a person sees it.</summary>
/// <param name="Stack">Index of the stack frame that it belongs to, 0 the innermost.</param>
/// <param name="Level">Its function.</param>
/// <param name="IsInline">It has no stack frame of its own: its code is in the next one's.</param>
internal readonly record struct VisibleFrame(int Stack, CodeLevel Level, bool IsInline);

/// <summary>The stack of a stopped CPU, with inlined calls and functions that left by a tail call, numbered as people count frames.</summary>
internal static class FrameWalk
{
    private const int Window = 1024;
    private const int MaximumFetches = 64;

    /// <summary>Unwinds, fetching what is needed.</summary>
    public static async ValueTask<UnwindResult> UnwindAsync(Machine machine, int cpu, RegisterSet registers, KernelMap map, int limit, CancellationToken cancellationToken)
    {
        var memory = new StopMemory(machine.Client, machine.Memory.Ram);
        memory.Enter(await machine.RegisterBlockAsync(cpu, cancellationToken));
        await machine.SelectAsync(cpu, cancellationToken);
        memory.Want(registers.StackPointer, Window);
        await memory.FetchAsync(cancellationToken);
        for (var fetch = 0; ; fetch++)
        {
            var result = StackUnwinder.Unwind(registers, memory, map.Unwind, limit);
            if (result.Stop is not UnwindStop.MemoryMissing missing || fetch == MaximumFetches)
            {
                return result;
            }

            memory.Want(missing.Address, Math.Max(missing.Length, Window));
            await memory.FetchAsync(cancellationToken);
        }
    }

    /// <param name="skipped">Inlined calls that begin at the pc and are not entered.</param>
    public static ImmutableArray<VisibleFrame> Name(UnwindResult stack, KernelMap map, CodeLevels source, int skipped)
    {
        var frames = ImmutableArray.CreateBuilder<VisibleFrame>();
        for (var i = 0; i < stack.Frames.Length; i++)
        {
            if (i > 0)
            {
                // They share the return address of the function that they jumped to.
                frames.AddRange(map.TailCallsBetween(stack.Frames[i - 1], stack.Frames[i])
                    .SelectMany(t => t.Frames).Where(f => !f.IsInline).Select(f => new VisibleFrame(i - 1, new CodeLevel(f.Function, 0, f.Source?.File, f.Source?.Line ?? 0, false, false), false)));
            }

            var levels = source.LevelsAt(stack.Frames[i].LookupAddress);
            frames.AddRange(levels.Skip(i == 0 ? Math.Min(skipped, levels.Count - 1) : 0).Select(l => new VisibleFrame(i, l, l.IsInline)));
        }

        return frames.ToImmutable();
    }

    /// <summary>The stack pointer's value that the function at the pc was called with, where its row tells it from registers alone: what tells a function's activations apart.</summary>
    public static ulong? FrameAddress(RegisterSet registers, ulong pc, KernelMap map)
    {
        foreach (var row in map.Unwind.FindRows(pc))
        {
            if (row is { Shape: FrameShape.Call, Cfa.Kind: CfaKind.Register } && registers.IsKnown(row.Cfa.Register))
            {
                return registers[row.Cfa.Register] + (ulong)row.Cfa.Offset;
            }
        }

        return null;
    }
}
