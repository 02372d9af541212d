using System.Collections.Immutable;

namespace KTrace.Symbols.Recovery;

/// <summary>
/// Which parts of a function's frame others may write to: those of objects whose address was passed on, stored, or computed with. What is not followed any more stays so
/// until the function has been gone through without meeting anything new.
/// </summary>
/// <param name="word">Bytes.</param>
/// <param name="objectsAt">The variables in the frame that are in scope at an address of the code; null when nobody knows.</param>
internal sealed class StackEscapes(int word, Func<ulong, ImmutableArray<FrameObject>>? objectsAt)
{
    // Each costs a look into the debug information.
    private const int MaximumLookups = 96;

    private readonly HashSet<long> _escaped = [];
    private readonly HashSet<(long Offset, ulong At)> _passed = [];
    private readonly HashSet<FrameObject> _objects = [];
    private readonly HashSet<long> _saved = [];
    private readonly Dictionary<ulong, ImmutableArray<FrameObject>> _scopes = [];
    private bool _locals;
    private bool _arguments;

    /// <summary>Escapes count only while this is set: before the fixed point, values are guesses.</summary>
    public bool IsCollecting { get; set; }

    /// <summary>Something new escaped.</summary>
    public bool HasChanged { get; set; }

    /// <summary>Something was computed from that address: it need not even lie in the object that is meant (a loop's pointer may start in front of it).</summary>
    public void Add(long offset)
    {
        if (!IsCollecting || !_escaped.Add(offset))
        {
            return;
        }

        // The caller's side of the return address and the function's own are never in one object.
        HasChanged |= offset >= 0 ? !_arguments : !_locals;
        _arguments |= offset >= 0;
        _locals |= offset < 0;
    }

    /// <summary>That address itself was passed on or stored, as C code does it: it leads to an object that it lies in, or just behind.</summary>
    /// <param name="at">The instruction.</param>
    public void AddPointer(long offset, ulong at)
    {
        if (!IsCollecting || !_passed.Add((offset, at)))
        {
            return;
        }

        var isIn = false;
        foreach (var one in ObjectsAt(at))
        {
            if (offset >= one.Offset && offset <= one.Offset + one.Size)
            {
                isIn |= offset < one.Offset + one.Size;
                HasChanged |= _objects.Add(one);
            }
        }

        if (!isIn)
        {
            Add(offset);
        }
    }

    /// <summary>
    /// That address plus an unknown index was stored to or loaded from. The array may begin elsewhere (a[i - 1]), but is one of those in scope; what is no larger than a word is none.
    /// </summary>
    public void AddIndexed(long offset, ulong at)
    {
        if (!IsCollecting || !_passed.Add((offset, ~at)))
        {
            return;
        }

        var isIn = false;
        foreach (var one in ObjectsAt(at))
        {
            var holds = offset >= one.Offset && offset < one.Offset + one.Size;
            isIn |= holds;
            if (holds || one.Size > word)
            {
                HasChanged |= _objects.Add(one);
            }
        }

        if (!isIn)
        {
            Add(offset);
        }
    }

    public void AddSaveSlot(long offset) => _saved.Add(offset);

    public bool IsFollowed(long offset, int size)
    {
        if (offset >= 0 ? _arguments : _locals && !(size == word && _saved.Contains(offset)))
        {
            return false;
        }

        foreach (var one in _objects)
        {
            if (offset < one.Offset + one.Size && one.Offset < offset + size)
            {
                return false;
            }
        }

        return true;
    }

    private ImmutableArray<FrameObject> ObjectsAt(ulong at)
    {
        if (objectsAt is null || (_scopes.Count >= MaximumLookups && !_scopes.ContainsKey(at)))
        {
            return [];
        }

        if (!_scopes.TryGetValue(at, out var objects))
        {
            _scopes.Add(at, objects = objectsAt(at));
        }

        return objects;
    }
}
