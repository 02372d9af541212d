using KTrace.Symbols.Types;

namespace KTrace.Symbols.Values;

/// <summary>An argument or local variable of one frame, inline frames included, at one stop.</summary>
/// <param name="Name">As in the source; empty for an unnamed parameter.</param>
/// <param name="Value">Null when it is not known at all.</param>
/// <param name="IsAtEntry">
/// The value is the one that the caller passed; the variable may hold another by now (gdb writes <c>name@entry</c>). False also where DWARF says that it still has that value.
/// </param>
public sealed record FrameVariable(string Name, CType Type, bool IsParameter, TypedValue? Value, bool IsAtEntry = false)
{
    public Provenance Provenance => Value?.Provenance ?? Provenance.OptimizedOut;
}
