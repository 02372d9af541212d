namespace KTrace.Symbols.Values;

/// <summary>Memory of the guest that has to be fetched before a value can be told.</summary>
/// <param name="Length">Bytes.</param>
public readonly record struct MemoryRange(ulong Address, int Length)
{
    public override string ToString() => FormattableString.Invariant($"0x{Address:x}+{Length}");
}
