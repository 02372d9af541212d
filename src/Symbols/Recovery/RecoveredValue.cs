namespace KTrace.Symbols.Recovery;

/// <summary>What became of a question.</summary>
public enum RecoveryOutcome
{
    /// <summary>The code does not keep the value anywhere, or it cannot be proven that it does.</summary>
    Unknown,

    /// <summary>It is known.</summary>
    Known,

    /// <summary>It lies in memory that was not fetched; fetch it and ask again.</summary>
    MemoryMissing,
}

/// <summary>A value that the machine code still keeps.</summary>
/// <param name="Value">The value; of <see cref="RecoveryOutcome.MemoryMissing"/> the address that is needed.</param>
/// <param name="Bits">
/// How many low bits of it are proven: 8, 16, 32 or 64. The rest of <paramref name="Value"/> means nothing. A 4-byte argument needs 32. Of <see cref="RecoveryOutcome.MemoryMissing"/> 8 for
/// each byte that is needed.
/// </param>
public readonly record struct RecoveredValue(RecoveryOutcome Outcome, ulong Value, int Bits)
{
    public static RecoveredValue Unknown => default;

    public bool IsKnown => Outcome == RecoveryOutcome.Known;

    /// <summary>Known, with at least the low <paramref name="size"/> bytes.</summary>
    public bool Covers(int size) => IsKnown && size * 8 <= Bits;

    internal static RecoveredValue Known(ulong value, int bits) => new(RecoveryOutcome.Known, value, bits);

    internal static RecoveredValue Missing(ulong address, int length) => new(RecoveryOutcome.MemoryMissing, address, length * 8);
}
