namespace KTrace.Symbols.Values.Expressions;

/// <summary>A value on the way: often an lvalue that nobody has read yet.</summary>
/// <param name="Nowhere">Why it cannot be read, for people; null for what may be tried. Addresses and sizes can be told of it all the same.</param>
/// <param name="NowhereAt">The part of the expression that is to blame.</param>
internal sealed record Place(TypedValue Value, string? Nowhere = null, Syntax? NowhereAt = null)
{
    /// <summary>The variable's or member's name; empty for what was computed.</summary>
    public string Name { get; init; } = "";

    /// <summary>The tag of the structure that it is a member of.</summary>
    public string? Owner { get; init; }
}
