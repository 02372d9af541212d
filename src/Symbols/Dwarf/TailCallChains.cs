// Functions that are missing from a stack, as their last act was to jump to the next one: DWARF 5, section 3.4.1 (DW_AT_call_tail_call). The
// return address says who was called there (F); the stack says who runs there (G). If they differ, F left by a tail call, or what it jumped to did.
// Several ways may lead from F to G, and which one was taken cannot be seen: like gdb (call_site_find_chain in gdb/dwarf2/loc.c) this gives only
// what all of them share, at F's end and at G's. A call through a pointer anywhere among them could lead anywhere: then nothing is certain.
// gdb tries the ways one by one, which takes exponential time on a graph with many joints, and goes round no circle; the shared ends need no more
// than one walk over the graph, and hold however often a circle was gone round.
using System.Collections.Immutable;

namespace KTrace.Symbols.Dwarf;

/// <summary>A call that left no stack frame.</summary>
/// <param name="Function">Where the function that jumps is entered.</param>
/// <param name="ReturnAddress">The address behind the jump, where a call would have returned to: what stands for the function's pc.</param>
/// <param name="LookupAddress">An address inside the jump, for names and lines.</param>
/// <param name="Target">Where the function is entered that it jumps to.</param>
internal readonly record struct TailCall(ulong Function, ulong ReturnAddress, ulong LookupAddress, ulong Target);

/// <summary>The tail calls between a function that was called and the one that was entered.</summary>
internal static class TailCallChains
{
    /// <summary>More functions than this within reach give no answer: each may cost the reading of a unit.</summary>
    private const int MaximumFunctions = 512;

    /// <summary>The tail calls that must have happened on the way, the caller's side first. Empty when none is certain.</summary>
    /// <param name="called">Where the function starts that was called.</param>
    /// <param name="entered">Where the function starts that runs.</param>
    /// <param name="tailCallsOf">All tail calls of the function at an address; null when they are not all known, or not where to.</param>
    public static ImmutableArray<TailCall> Find(ulong called, ulong entered, Func<ulong, IReadOnlyList<TailCall>?> tailCallsOf)
    {
        if (called == entered || Within(called, entered, tailCallsOf) is not { } reached)
        {
            return [];
        }

        // Of all jumps only those count from which the function that runs can be reached.
        var leading = new HashSet<ulong> { entered };
        var jumpsTo = reached.Values.SelectMany(jumps => jumps).ToLookup(jump => jump.Target);
        for (var todo = new Stack<ulong>([entered]); todo.TryPop(out var target);)
        {
            foreach (var jump in jumpsTo[target])
            {
                if (leading.Add(jump.Function))
                {
                    todo.Push(jump.Function);
                }
            }
        }

        if (!leading.Contains(called))
        {
            return [];
        }

        var chain = ImmutableArray.CreateBuilder<TailCall>();
        var at = called;
        while (at != entered && Only(reached[at].Where(jump => leading.Contains(jump.Target))) is { } jump)
        {
            chain.Add(jump);
            at = jump.Target;
        }

        if (at == entered)
        {
            return chain.DrainToImmutable();
        }

        // The ways part here. Back from the other end, to where they join again: at the latest where the way begins, or, when it may go round in
        // circles, on what was found already.
        var before = chain.Count;
        for (at = entered; at != called && Only(jumpsTo[at]) is { } last && !chain.Take(before).Contains(last); at = last.Function)
        {
            chain.Insert(before, last);
        }

        return chain.DrainToImmutable();
    }

    // Both walks end: a circle that one of them could not leave would have no way in, or no way out.
    private static TailCall? Only(IEnumerable<TailCall> jumps)
    {
        using var each = jumps.GetEnumerator();
        return each.MoveNext() && each.Current is var only && !each.MoveNext() ? only : null;
    }

    /// <summary>Every function that tail calls can lead to, with its jumps; the one that was entered ends the way.</summary>
    private static Dictionary<ulong, IReadOnlyList<TailCall>>? Within(ulong called, ulong entered, Func<ulong, IReadOnlyList<TailCall>?> tailCallsOf)
    {
        var reached = new Dictionary<ulong, IReadOnlyList<TailCall>>();
        for (var todo = new Stack<ulong>([called]); todo.TryPop(out var function);)
        {
            if (function == entered || reached.ContainsKey(function))
            {
                continue;
            }

            if (reached.Count == MaximumFunctions || tailCallsOf(function) is not { } jumps)
            {
                return null;
            }

            reached.Add(function, jumps);
            foreach (var jump in jumps)
            {
                todo.Push(jump.Target);
            }
        }

        return reached;
    }
}
