// A loop on one line, a million times round or waiting for another CPU, would never be stepped through: every instruction costs a round trip, and the others stand still. So it runs
// freely, with breakpoints at every way out of it.
using KTrace.Symbols.Disassembly;

namespace KTrace.Debugger.Stepping;

/// <summary>The ways out of a piece of code.</summary>
internal static class LoopExits
{
    // TCG crawls with hundreds of breakpoints; a line has some ten instructions.
    private const int MaximumExits = 32;
    private const int MaximumInstructions = 1024;

    /// <summary>Every address at which execution that is inside now will be when it is inside no more, or cannot be followed; null when there are too many.</summary>
    /// <param name="isInside">Asked for addresses of instructions.</param>
    /// <param name="passesCalls">A call goes on behind it; else it is a way out itself.</param>
    public static async ValueTask<IReadOnlyList<ulong>?> FindAsync(Walker walker, Func<ulong, bool> isInside, bool passesCalls, CancellationToken cancellationToken)
    {
        var exits = new HashSet<ulong>();
        var seen = new HashSet<ulong> { walker.Pc };
        var todo = new Stack<ulong>(seen);
        while (todo.TryPop(out var address))
        {
            var decoded = await walker.DecodeAsync(address, cancellationToken);
            if (decoded is not { } flow || (flow.IsCall && !passesCalls)
                || flow.Kind is FlowKind.Return or FlowKind.IndirectJump or FlowKind.InterruptReturn or FlowKind.SystemCall)
            {
                exits.Add(address);
            }
            else
            {
                foreach (var next in Successors(flow))
                {
                    if (!isInside(next))
                    {
                        exits.Add(next);
                    }
                    else if (seen.Add(next))
                    {
                        todo.Push(next);
                    }
                }
            }

            if (exits.Count > MaximumExits || seen.Count > MaximumInstructions)
            {
                return null;
            }
        }

        // Standing at a way out: nothing would run.
        return exits.Count > 0 && !exits.Contains(walker.Pc) ? [.. exits] : null;
    }

    private static IEnumerable<ulong> Successors(InstructionFlow flow)
    {
        if (flow.Kind != FlowKind.Jump)
        {
            yield return flow.Next;
        }

        if (flow.Kind is FlowKind.Jump or FlowKind.ConditionalJump)
        {
            yield return flow.Target;
        }
    }
}
