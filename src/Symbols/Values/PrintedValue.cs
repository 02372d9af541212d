using System.Collections.Immutable;

namespace KTrace.Symbols.Values;

/// <summary>A value as text. Nothing in it can harm a terminal: text of the guest is quoted and escaped.</summary>
/// <param name="Missing">
/// What was not fetched. The text is then what could be said without: fetch all of it (or mark it as unreadable) and print again. What was fetched may lead to more, two or
/// three rounds for names behind pointers.
/// </param>
public sealed record PrintedValue(string Text, ImmutableArray<MemoryRange> Missing)
{
    public bool IsComplete => Missing.IsEmpty;

    public override string ToString() => Text;
}

/// <summary>A member, an element, or what a pointer points to: one line of a tree.</summary>
/// <param name="Name"><c>irq</c>, <c>[3]</c>, <c>*</c>; empty for an anonymous structure or union.</param>
/// <param name="Owner">The structure's tag, or for an argument its function's name: together with the name it tells what some numbers mean. Null where there is none.</param>
public sealed record NamedValue(string Name, TypedValue Value, string? Owner = null);

/// <summary>The lines below a value in a tree.</summary>
/// <param name="Missing">What has to be fetched before they are known; empty when they are.</param>
public sealed record ValueChildren(ImmutableArray<NamedValue> Values, ImmutableArray<MemoryRange> Missing);
