namespace KTrace.Symbols;

/// <summary>
/// One line of a call path as a person reads it. Several frames may stand for one return address: the functions that
/// the compiler inlined there, innermost first, and last the function that really has the stack frame.
/// </summary>
/// <param name="Function">Name as the source has it, so that two builds of one source say the same; <c>0x…</c> when nothing is known.</param>
/// <param name="Offset">Bytes from the start of the symbol that holds the address; for an inline frame from the start of its inlined block.</param>
/// <param name="Module">The module's name (<c>e1000e</c>), or null for the kernel itself.</param>
/// <param name="Source">File and line, or null where no line table covers the address.</param>
/// <param name="IsInline">The function was inlined into the next frame of the list.</param>
/// <param name="IsTailCall">
/// The function left by a jump to the one before it in the list: it has no stack frame any more, and was found by what its caller called
/// (<see cref="Kernel.KernelMap.TailCallsBetween"/>).
/// </param>
public sealed record Frame(string Function, ulong Offset, string? Module, SourceLine? Source, bool IsInline, bool IsTailCall = false)
{
    /// <summary>
    /// The symbol that <see cref="Offset"/> counts from, where its name says more than <see cref="Function"/>: a piece or copy that the compiler made
    /// (<c>foo.cold</c>, <c>foo.isra.0</c>), or a mangled name (Rust). Null where both are the same. The kernel's own call traces print this one.
    /// </summary>
    public string? Symbol { get; init; }
}

/// <summary>A place in the source.</summary>
/// <param name="File">As the line table has it, relative to the compilation directory where the producer wrote it so (<c>kernel/irq/chip.c</c>).</param>
/// <param name="Line">1-based; 0 when the line table says that no line is known.</param>
public sealed record SourceLine(string File, int Line);
