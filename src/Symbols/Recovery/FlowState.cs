namespace KTrace.Symbols.Recovery;

/// <summary>A word, or less, of the function's frame that is followed like a register.</summary>
/// <param name="Offset">Bytes from the CFA.</param>
/// <param name="Size">1, 2, 4 or 8.</param>
internal readonly record struct StackSlotPlace(long Offset, int Size)
{
    public bool Overlaps(long offset, long size) => offset < Offset + Size && Offset < offset + size;
}

/// <summary>Where values are followed: the general registers, then the slots of the frame that were met so far.</summary>
internal sealed class FlowPlaces(int registers)
{
    private const int MaximumSlots = 96;

    private readonly List<StackSlotPlace> _slots = [];
    private readonly Dictionary<StackSlotPlace, int> _indexes = [];

    public int Registers { get; } = registers;

    public int Count => Registers + _slots.Count;

    public StackSlotPlace Slot(int place) => _slots[place - Registers];

    public int Find(long offset, int size) => _indexes.GetValueOrDefault(new StackSlotPlace(offset, size), -1);

    /// <summary>The slot's place; -1 when there are too many.</summary>
    public int FindOrAdd(long offset, int size)
    {
        var slot = new StackSlotPlace(offset, size);
        if (_indexes.TryGetValue(slot, out var place))
        {
            return place;
        }

        if (_slots.Count == MaximumSlots)
        {
            return -1;
        }

        _slots.Add(slot);
        _indexes.Add(slot, Count - 1);
        return Count - 1;
    }
}

/// <summary>What every place holds at one point of the code. Slots that it does not mention are unknown.</summary>
internal sealed class FlowState
{
    private FlowValue[] _values;

    public FlowState(int count) => _values = new FlowValue[count];

    private FlowState(FlowValue[] values, int length)
    {
        _values = values;
        Length = length;
    }

    public int Length { get; private set; }

    public FlowValue this[int place]
    {
        get => place < Length ? _values[place] : FlowValues.Unknown;
        set
        {
            if (place >= _values.Length)
            {
                Array.Resize(ref _values, Math.Max(place + 8, _values.Length * 2));
            }

            if (place >= Length)
            {
                // Between them: default is unknown.
                Length = place + 1;
            }

            _values[place] = value;
        }
    }

    public FlowState Clone() => new((FlowValue[])_values.Clone(), Length);

    public bool SameAs(FlowState other)
    {
        var length = Math.Max(Length, other.Length);
        for (var i = 0; i < length; i++)
        {
            if (this[i] != other[i])
            {
                return false;
            }
        }

        return true;
    }
}
