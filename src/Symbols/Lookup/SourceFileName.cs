namespace KTrace.Symbols.Lookup;

/// <summary>How a person names a source file: whole, or the end of its path from a slash on.</summary>
public static class SourceFileName
{
    /// <summary><c>kernel/irq/chip.c</c> is meant by itself, by <c>irq/chip.c</c> and by <c>chip.c</c>; <c>./include/x.h</c> by <c>include/x.h</c>.</summary>
    public static bool Matches(string path, string wanted) =>
        path.EndsWith(wanted, StringComparison.Ordinal) && (path.Length == wanted.Length || path[path.Length - wanted.Length - 1] == '/');

    /// <summary>True for text such as <c>chip.c</c>, <c>entry_64.S</c> or <c>linux/slab.h</c>: no name of a function or module has a dot in it.</summary>
    public static bool IsSourceFile(string text) => text.Contains('.') && !text.EndsWith(".ko", StringComparison.Ordinal);
}
