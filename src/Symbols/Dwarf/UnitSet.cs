namespace KTrace.Symbols.Dwarf;

/// <summary>A set of unit offsets. (HashSet&lt;int&gt; would be compiled at run time.)</summary>
internal sealed class UnitSet
{
    private int[] _slots = new int[1024]; // offset + 1; 0 is free
    private int _count;

    public bool Contains(int unit) => _slots[SlotOf(_slots, unit)] != 0;

    public void Add(int unit)
    {
        var slot = SlotOf(_slots, unit);
        if (_slots[slot] != 0)
        {
            return;
        }

        _slots[slot] = unit + 1;
        if (++_count * 2 > _slots.Length)
        {
            var larger = new int[_slots.Length * 2];
            foreach (var item in _slots)
            {
                if (item != 0)
                {
                    larger[SlotOf(larger, item - 1)] = item;
                }
            }

            _slots = larger;
        }
    }

    private static int SlotOf(int[] slots, int unit)
    {
        var mask = slots.Length - 1;
        var slot = (int)((uint)unit * 2654435769u >> 8) & mask;
        while (slots[slot] != 0 && slots[slot] != unit + 1)
        {
            slot = (slot + 1) & mask;
        }

        return slot;
    }
}
