namespace KTrace.Symbols.Dwarf.Locations;

/// <summary>Where a DWARF expression stands: in .debug_info, or in a location list.</summary>
/// <param name="Section">Null for "there is none", which says that a value was optimized out.</param>
/// <param name="Start">Bytes from the section's start.</param>
internal readonly record struct ExpressionBytes(SectionData? Section, int Start, int Length)
{
    public bool IsNone => Section is null || Length == 0;

    public ReadOnlySpan<byte> Span => IsNone ? default : Section!.Span.Slice(Start, Length);

    /// <summary>The same bytes, wherever they stand.</summary>
    public bool IsSame(in ExpressionBytes other) => !IsNone && Span.SequenceEqual(other.Span);
}
