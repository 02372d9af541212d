// Which calls have their return address replaced right now, followed in the order of the ring: a call's record comes before anything that runs inside the call, and before its return's. A
// function that jumps into another traced one (a tail call) leaves its own stub as that one's return address; each then has an entry, and they return one after the other.
// Some never return: do_exit, a task that is killed inside, code that unwinds its stack by itself. A later call whose return address lies higher on the same stack shows that
// they are gone.
using System.Runtime.InteropServices;
using KTrace.Debugger.NonStop.Ring;
using KTrace.Debugger.NonStop.Sites;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>A call that was entered with its return address replaced.</summary>
/// <param name="Hit">Number of the first of its hits.</param>
/// <param name="LastHit">Number of the last; below the first when there were enough hits already.</param>
/// <param name="Depth">How many calls of the same task were open when it was entered.</param>
/// <param name="Clock">Of its entry.</param>
internal readonly record struct OpenReturn(NonStopSite Site, ulong Original, ulong Slot, long Hit, long LastHit, ulong Clock, ulong Task, int Depth);

/// <summary>Follows return entries from call to return.</summary>
internal sealed class OpenReturns(ReturnStubs? stubs, int wordSize, IReturnReclaimer? reclaimer)
{
    private const int MaximumChain = 64;

    private readonly OpenReturn[] _entries = new OpenReturn[ReturnEntry.Count];
    private readonly bool[] _isOpen = new bool[ReturnEntry.Count];

    // By stack: the open entries on it, the outermost first. Both are bounded by the number of entries.
    private readonly Dictionary<(ulong Block, int Level), List<int>> _stacks = [];
    private readonly Dictionary<ulong, int> _depths = [];
    private readonly (ulong Block, int Level)[] _stackOf = new (ulong, int)[ReturnEntry.Count];

    public long Reclaimed { get; private set; }

    /// <summary>
    /// What a word of a stack was before it was replaced; itself when it is no stub, or the stub of no open call. Within a stub it may also be that of the entry's last call: an NMI that comes while a return is
    /// recorded has its place in the ring behind that.
    /// </summary>
    public ulong Original(ulong word)
    {
        for (var i = 0; stubs is not null && i < MaximumChain && stubs.IndexIn(word) is { } index && (_isOpen[index] || (_entries[index].Original != 0 && stubs.IndexAt(word) is null)); i++)
        {
            word = _entries[index].Original;
        }

        return word;
    }

    /// <summary>A call came, whether its return is awaited or not: what lies below it on its stack is gone.</summary>
    /// <param name="level">0 on a task's stack; other stacks count from there.</param>
    /// <param name="returnAddress">The word at its stack pointer.</param>
    public void Enter(ulong slot, int level, ulong returnAddress)
    {
        if (_stacks.Count == 0)
        {
            return;
        }

        var key = (KernelStacks.BlockOf(slot, wordSize, level == 0), level);
        if (!_stacks.TryGetValue(key, out var stack))
        {
            return;
        }

        // At the same place there may be a whole chain of tail calls that this one continues.
        var continued = stubs?.IndexAt(returnAddress);
        while (stack.Count > 0 && stack[^1] is var last && (_entries[last].Slot < slot || (_entries[last].Slot == slot && last != continued)))
        {
            Close(last);
            Reclaimed++;
            reclaimer?.Reclaim(last);
        }
    }

    /// <summary>A call took an entry.</summary>
    public void Open(int index, int level, in OpenReturn entry)
    {
        if (_isOpen[index])
        {
            Close(index);
        }

        ref var depth = ref CollectionsMarshal.GetValueRefOrAddDefault(_depths, entry.Task, out _);
        _entries[index] = entry with { Depth = depth };
        depth++;
        _isOpen[index] = true;
        _stackOf[index] = (KernelStacks.BlockOf(entry.Slot, wordSize, level == 0), level);
        ref var stack = ref CollectionsMarshal.GetValueRefOrAddDefault(_stacks, _stackOf[index], out _);
        (stack ??= []).Add(index);
    }

    /// <summary>A function returned.</summary>
    /// <returns>Its call; null when it is not known.</returns>
    public OpenReturn? Return(int index)
    {
        if (!_isOpen[index])
        {
            return null;
        }

        var entry = _entries[index];
        Close(index);
        return entry;
    }

    private void Close(int index)
    {
        var task = _entries[index].Task;
        _isOpen[index] = false;
        ref var depth = ref CollectionsMarshal.GetValueRefOrAddDefault(_depths, task, out _);
        if (--depth <= 0)
        {
            _depths.Remove(task);
        }

        if (_stacks.TryGetValue(_stackOf[index], out var stack))
        {
            // Nearly always the last one.
            stack.RemoveAt(stack.LastIndexOf(index));
            if (stack.Count == 0)
            {
                _stacks.Remove(_stackOf[index]);
            }
        }
    }
}
