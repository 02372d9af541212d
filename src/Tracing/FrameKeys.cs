namespace KTrace.Tracing;

/// <summary>
/// Frames as numbers: the same number means frames that a comparison takes as the same, by function, module and whether they are inline.
/// The numbers depend on the set of frames only, not on their order.
/// </summary>
internal sealed class FrameKeys
{
    private readonly Dictionary<(string Function, string? Module, bool IsInline), int> _keys = [];

    public FrameKeys(IEnumerable<TraceFrame> frames)
    {
        foreach ((string, string?, bool) key in frames.Select(Key).Distinct()
            .OrderBy(key => key.Function, StringComparer.Ordinal)
            .ThenBy(key => key.Module, StringComparer.Ordinal)
            .ThenBy(key => key.IsInline))
        {
            _keys.Add(key, _keys.Count);
        }
    }

    public int[] Of(CallPath path)
    {
        int[] keys = new int[path.Frames.Length];
        for (int i = 0; i < keys.Length; i++)
        {
            keys[i] = _keys[Key(path.Frames[i])];
        }

        return keys;
    }

    private static (string Function, string? Module, bool IsInline) Key(TraceFrame frame) => (frame.Function, frame.Module, frame.IsInline);
}
