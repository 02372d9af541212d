namespace KTrace.Symbols.Unwind;

/// <summary>How to find the caller of code at one address. CFI, ORC and frame pointers all become this.</summary>
public sealed record UnwindRow(UnwindRule Rule);
