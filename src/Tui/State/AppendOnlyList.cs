using System.Collections;

namespace KTrace.Tui.State;

/// <summary>
/// A list that grows at its end and never changes otherwise. Appending gives a new list and leaves this one as it is, in amortised constant time: lists that
/// came from each other share their items, as long as each was appended to once.
/// </summary>
public sealed class AppendOnlyList<T> : IReadOnlyList<T>
{
    private const int FirstCapacity = 16;

    private readonly Storage _storage;
    private readonly int _first;

    private AppendOnlyList(Storage storage, int first, int count)
    {
        (_storage, _first, Count) = (storage, first, count);
    }

    public static AppendOnlyList<T> Empty { get; } = new(new Storage([]), 0, 0);

    public int Count { get; }

    public T this[int index] => (uint)index < (uint)Count ? _storage.Items[_first + index] : throw new ArgumentOutOfRangeException(nameof(index));

    /// <summary>This list with more at its end; of more than <paramref name="limit"/> items the oldest are forgotten.</summary>
    public AppendOnlyList<T> Append(ReadOnlySpan<T> more, int limit = int.MaxValue)
    {
        if (more.Length > limit)
        {
            more = more[^limit..];
        }

        var dropped = Math.Max(0, Count + more.Length - limit);
        var (first, kept) = (_first + dropped, Count - dropped);
        lock (_storage)
        {
            if (_storage.Used == first + kept && _storage.Items.Length >= first + kept + more.Length)
            {
                more.CopyTo(_storage.Items.AsSpan(first + kept));
                _storage.Used += more.Length;
                return new AppendOnlyList<T>(_storage, first, kept + more.Length);
            }
        }

        // Twice what is kept: what was forgotten at the front goes away here, so that memory stays bounded too.
        var items = new T[Math.Max(FirstCapacity, 2 * (kept + more.Length))];
        Array.Copy(_storage.Items, _first + dropped, items, 0, kept);
        more.CopyTo(items.AsSpan(kept));
        return new AppendOnlyList<T>(new Storage(items) { Used = kept + more.Length }, 0, kept + more.Length);
    }

    public IEnumerator<T> GetEnumerator()
    {
        for (var i = 0; i < Count; i++)
        {
            yield return this[i];
        }
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private sealed class Storage(T[] items)
    {
        public T[] Items { get; } = items;

        public int Used { get; set; }
    }
}
