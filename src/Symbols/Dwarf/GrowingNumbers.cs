namespace KTrace.Symbols.Dwarf;

/// <summary><see cref="GrowingArray{T}"/> for int, which as a generic over a framework type would not be compiled ahead of time.</summary>
internal sealed class GrowingNumbers
{
    private int[] _items;

    public GrowingNumbers(int capacity = 16) => _items = new int[Math.Max(1, capacity)];

    public int Count { get; private set; }

    public int Last => _items[Count - 1];

    public int this[int index] => _items[index];

    public void Add(int item)
    {
        if (Count == _items.Length)
        {
            var larger = new int[_items.Length * 2];
            Array.Copy(_items, larger, Count);
            _items = larger;
        }

        _items[Count++] = item;
    }

    public void Clear() => Count = 0;

    /// <summary>Forgets the items from <paramref name="count"/> on.</summary>
    public void Truncate(int count) => Count = count;

    public void Sort() => Array.Sort(_items, 0, Count);

    public int[] ToArray()
    {
        var array = new int[Count];
        Array.Copy(_items, array, Count);
        return array;
    }
}
