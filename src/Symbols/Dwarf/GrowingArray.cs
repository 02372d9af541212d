namespace KTrace.Symbols.Dwarf;

/// <summary>
/// An array that grows and is emptied without giving its memory back, so that one worker decodes thousands of units into the same buffers.
/// List&lt;T&gt; over our structs would be compiled at run time, each start anew: ahead-of-time code holds only this assembly's generics.
/// </summary>
internal sealed class GrowingArray<T>
    where T : struct
{
    private T[] _items;

    public GrowingArray(int capacity = 16) => _items = new T[capacity];

    public int Count { get; private set; }

    /// <summary>The backing array; only the first <see cref="Count"/> items mean something.</summary>
    public T[] Items => _items;

    public ref T this[int index] => ref _items[index];

    public ref T Last => ref _items[Count - 1];

    public void Add(in T item)
    {
        if (Count == _items.Length)
        {
            Grow();
        }

        _items[Count++] = item;
    }

    public void Clear() => Count = 0;

    /// <summary>Forgets the items from <paramref name="count"/> on.</summary>
    public void Truncate(int count) => Count = count;

    private void Grow()
    {
        var larger = new T[Math.Max(16, _items.Length * 2)];
        Array.Copy(_items, larger, Count);
        _items = larger;
    }
}
