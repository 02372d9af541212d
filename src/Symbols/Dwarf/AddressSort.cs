namespace KTrace.Symbols.Dwarf;

/// <summary>A stable sort of addresses with an item each. Radix, by bytes that differ: kernel addresses share the upper four.</summary>
internal static class AddressSort
{
    private const int InsertionLimit = 48;

    /// <summary>Sorts the first <paramref name="count"/> keys ascending and moves the items along.</summary>
    public static void Sort(ulong[] keys, int[] items, int count)
    {
        if (count <= InsertionLimit)
        {
            InsertionSort(keys, items, count);
            return;
        }

        ulong differing = 0;
        for (var i = 1; i < count; i++)
        {
            differing |= keys[i] ^ keys[0];
        }

        var (fromKeys, fromItems) = (keys, items);
        var (toKeys, toItems) = (new ulong[count], new int[count]);
        var starts = new int[256];
        for (var shift = 0; shift < 64; shift += 8)
        {
            if (((differing >> shift) & 0xff) == 0)
            {
                continue;
            }

            Array.Clear(starts);
            for (var i = 0; i < count; i++)
            {
                starts[(int)(fromKeys[i] >> shift) & 0xff]++;
            }

            var sum = 0;
            for (var b = 0; b < 256; b++)
            {
                (starts[b], sum) = (sum, sum + starts[b]);
            }

            for (var i = 0; i < count; i++)
            {
                var to = starts[(int)(fromKeys[i] >> shift) & 0xff]++;
                toKeys[to] = fromKeys[i];
                toItems[to] = fromItems[i];
            }

            (fromKeys, toKeys) = (toKeys, fromKeys);
            (fromItems, toItems) = (toItems, fromItems);
        }

        if (fromKeys != keys)
        {
            Array.Copy(fromKeys, keys, count);
            Array.Copy(fromItems, items, count);
        }
    }

    private static void InsertionSort(ulong[] keys, int[] items, int count)
    {
        for (var i = 1; i < count; i++)
        {
            var (key, item) = (keys[i], items[i]);
            var j = i;
            for (; j > 0 && keys[j - 1] > key; j--)
            {
                keys[j] = keys[j - 1];
                items[j] = items[j - 1];
            }

            keys[j] = key;
            items[j] = item;
        }
    }
}
