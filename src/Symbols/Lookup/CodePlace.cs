namespace KTrace.Symbols.Lookup;

/// <summary>What kind of place a name led to.</summary>
public enum CodePlaceKind
{
    /// <summary>A function's first instruction (or an assembly label).</summary>
    Entry,

    /// <summary>The first instruction of a copy that the compiler made of a function (<c>foo.isra.0</c>, <c>foo.constprop.1</c>, <c>foo.part.0</c>).</summary>
    Clone,

    /// <summary>Where a call was replaced by the function's body, which begins here.</summary>
    Inline,

    /// <summary>Where a source line begins.</summary>
    Line,
}

/// <summary>One place in code that a name stands for.</summary>
/// <param name="Address">Link-time in the kernel; where it runs in a loaded module.</param>
/// <param name="Function">The function by its source name.</param>
/// <param name="Symbol">The symbol that holds the address, as the symbol table has it: of an inline instance and of a line the function around it.</param>
/// <param name="File">The source file by which the function is told from others of its name, or null.</param>
public sealed record CodePlace(ulong Address, CodePlaceKind Kind, string Function, string Symbol, string? File);
