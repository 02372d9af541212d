// `return` in a tracepoint: the function's return address stands on the stack when it is entered, so a breakpoint there stops when it has returned. Other callers
// and deeper recursion pass the same address: the stack pointer tells which activation it is, as on return it is the one of the call. A function that leaves by a tail call
// returns there all the same. What never returns (do_exit) waits until its stack is used again, or until too many wait.
using System.Collections.Immutable;
using KTrace.Debugger.Tracepoints;
using KTrace.Symbols.Types;
using KTrace.Symbols.Values;

namespace KTrace.Debugger.Recording;

/// <param name="Hit">The hit's sequence number.</param>
/// <param name="StackPointer">As it will be after the return.</param>
/// <param name="Arguments">With which the function was entered.</param>
/// <param name="ReturnType">Of <c>$ret</c>; null when it is not known, or void.</param>
internal sealed record AwaitedReturn(
    Tracepoint Tracepoint, long Hit, ulong Address, ulong StackPointer, ImmutableArray<FrameVariable> Arguments, CType? ReturnType);

/// <summary>Functions that were entered, and whose return is waited for.</summary>
internal sealed class ReturnWatch
{
    // Every task of a busy guest may stand in the same function.
    private const int Maximum = 4096;

    private readonly Dictionary<ulong, List<AwaitedReturn>> _byAddress = [];
    private int _count;

    /// <returns>False when too many wait already.</returns>
    public bool TryAdd(AwaitedReturn awaited)
    {
        var here = _byAddress.GetValueOrDefault(awaited.Address);
        // The same stack place is used again: whatever waited there never returned.
        _count -= here?.RemoveAll(a => a.StackPointer == awaited.StackPointer && a.Tracepoint == awaited.Tracepoint) ?? 0;
        if (_count >= Maximum)
        {
            return false;
        }

        if (here is null)
        {
            _byAddress[awaited.Address] = here = [];
        }

        here.Add(awaited);
        _count++;
        return true;
    }

    /// <summary>The activations that have returned here.</summary>
    /// <param name="isEmpty">None waits at this address any more: its breakpoint can go.</param>
    public IReadOnlyList<AwaitedReturn> Take(ulong address, ulong stackPointer, out bool isEmpty)
    {
        isEmpty = false;
        if (!_byAddress.TryGetValue(address, out var here))
        {
            return [];
        }

        var returned = here.FindAll(a => a.StackPointer == stackPointer);
        _count -= here.RemoveAll(a => a.StackPointer == stackPointer);
        isEmpty = here.Count == 0;
        if (isEmpty)
        {
            _byAddress.Remove(address);
        }

        return returned;
    }
}
