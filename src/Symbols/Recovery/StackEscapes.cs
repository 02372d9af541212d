namespace KTrace.Symbols.Recovery;

/// <summary>
/// Which parts of a function's frame others may write to: those of objects whose address was passed on, stored, or computed with. What is not followed any more stays so
/// until the function has been gone through without meeting anything new.
/// </summary>
internal sealed class StackEscapes
{
    private readonly HashSet<long> _escaped = [];
    private readonly HashSet<long> _saved = [];
    private readonly int _word;
    private bool _locals;
    private bool _arguments;

    public StackEscapes(int word) => _word = word;

    /// <summary>Escapes count only while this is set: before the fixed point, values are guesses.</summary>
    public bool IsCollecting { get; set; }

    /// <summary>Something new escaped.</summary>
    public bool HasChanged { get; set; }

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

    public void AddSaveSlot(long offset) => _saved.Add(offset);

    public bool IsFollowed(long offset, int size) => offset >= 0 ? !_arguments : !_locals || (size == _word && _saved.Contains(offset));
}
