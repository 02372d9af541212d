using System.Collections.Immutable;

namespace KTrace.Symbols.Recovery;

/// <summary>
/// A value as debug information describes it when it is in memory, or was computed from memory: (base + first offset), loaded, plus the next offset, loaded, and so on. All as memory
/// is at one point of the code; memory may change behind it, but what the code itself loaded there stays what it was.
/// </summary>
/// <param name="Register">The base: a register, or -1 for an address of the object that <paramref name="Offsets"/> begins with.</param>
/// <param name="Offsets">One for each load; each is added before the load.</param>
/// <param name="Size">Bytes of the last load: 1, 2, 4 or 8. The others load words.</param>
/// <param name="Addend">Added behind the last load.</param>
public sealed record LoadedTerm(int Register, ImmutableArray<long> Offsets, int Size, long Addend);
