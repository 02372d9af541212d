// A record of a trace refers to others before it, so that it cannot be read by its offset alone: a place keeps what was defined before it, too. How many places there are is bounded, and how far
// they are from each other grows with the trace.
using KTrace.Tracing;

namespace KTrace.Tui.Targets;

/// <summary>Places in a trace, so that each of its hits is near one. One thread adds to it; others may ask at any time.</summary>
internal sealed class TraceIndex
{
    private const int MostPlaces = 128;

    // All places together: some 60 MB.
    private const int MostDefinitions = 2_000_000;

    private readonly Lock _lock = new();
    private readonly List<(long Sequence, TracePlace Place)> _places = [];
    private int _distance = 4096;
    private int _since;
    private long _definitions;

    /// <summary>Places that are kept.</summary>
    public int Count
    {
        get
        {
            lock (_lock)
            {
                return _places.Count;
            }
        }
    }

    /// <summary>A hit was read.</summary>
    /// <param name="sequence">Its number.</param>
    /// <param name="reader">Stands behind it.</param>
    public void Passed(long sequence, TraceReader reader)
    {
        if (++_since < _distance)
        {
            return;
        }

        _since = 0;
        var place = reader.Place();
        lock (_lock)
        {
            _places.Add((sequence, place));
            _definitions += place.Definitions;
            while (_places.Count > 1 && (_places.Count > MostPlaces || _definitions > MostDefinitions))
            {
                Thin();
            }
        }
    }

    /// <summary>The last place before a hit; null: the trace's beginning is the nearest.</summary>
    public TracePlace? Before(long sequence)
    {
        lock (_lock)
        {
            var (low, high) = (0, _places.Count);
            while (low < high)
            {
                var middle = (low + high) / 2;
                (low, high) = _places[middle].Sequence < sequence ? (middle + 1, high) : (low, middle);
            }

            return low > 0 ? _places[low - 1].Place : null;
        }
    }

    /// <summary>Every second one goes, and those that come are twice as far from each other.</summary>
    private void Thin()
    {
        var kept = _places.Where((_, index) => index % 2 == 1).ToList();
        _places.Clear();
        _places.AddRange(kept);
        _definitions = kept.Sum(k => (long)k.Place.Definitions);
        _distance *= 2;
    }
}
