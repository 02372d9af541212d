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

    /// <summary>
    /// A path as a string to compare and to sort by: two characters per frame. (Its functions' names would do the same, but they can be
    /// long, and a hostile file repeats them.)
    /// </summary>
    public string TextOf(CallPath path) => string.Create(path.Frames.Length * 2, Of(path), static (text, keys) =>
    {
        for (int i = 0; i < keys.Length; i++)
        {
            text[2 * i] = (char)(keys[i] >> 16);
            text[(2 * i) + 1] = (char)keys[i];
        }
    });

    private static (string Function, string? Module, bool IsInline) Key(TraceFrame frame) => (frame.Function, frame.Module, frame.IsInline);
}
