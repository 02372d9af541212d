namespace KTrace.Debugger.Values;

/// <summary>A line below a value in a tree.</summary>
/// <param name="Name"><c>irq</c>, <c>[3]</c>, <c>*</c>; empty for an anonymous structure or union.</param>
/// <param name="Type">In C's words.</param>
/// <param name="HasMembers">It can be opened in turn.</param>
public sealed record ValueMember(string Name, string Type, string Text, bool HasMembers);

/// <summary>A value that was looked into.</summary>
/// <param name="IsPointer">Its members are those of what it points to.</param>
/// <param name="Failure">Why there is nothing; null: there is.</param>
public sealed record OpenedValue(bool IsPointer, System.Collections.Immutable.ImmutableArray<ValueMember> Members, string? Failure);
