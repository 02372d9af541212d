using KTrace.Debugger.NonStop.Relocation;
using KTrace.Debugger.NonStop.Trampolines;

namespace KTrace.Debugger.NonStop.Reading;

/// <summary>How records of the ring become hits.</summary>
public sealed record NonStopReadingOptions
{
    public ArgumentScope Arguments { get; init; } = ArgumentScope.Auto;

    /// <summary>With <see cref="ArgumentScope.Auto"/>: so many hits have the arguments of every frame.</summary>
    public int DescribedHits { get; init; } = 2000;

    /// <summary>KTrace's own code in the guest: what an interrupt may have come upon. Ascending; it may grow.</summary>
    public IReadOnlyList<CodeBlock> Code { get; init; } = [];

    /// <summary>First instructions that were moved. Ascending; it may grow.</summary>
    public IReadOnlyList<RelocatedCode> Moved { get; init; } = [];

    /// <summary>Where replaced return addresses lead; null when no return is awaited.</summary>
    public ReturnStubs? Stubs { get; init; }
}

/// <summary>The stubs of the return entries, one behind the other: entry i's begins at <paramref name="Address"/> + i × <paramref name="Stride"/>.</summary>
public sealed record ReturnStubs(ulong Address, int Stride)
{
    /// <summary>Bytes of all stubs.</summary>
    public ulong Length => (ulong)Ring.ReturnEntry.Count * (ulong)Stride;

    /// <summary>The entry whose stub begins at an address, or null.</summary>
    public int? IndexAt(ulong address) =>
        address - Address is var distance && distance < Length && distance % (ulong)Stride == 0 ? (int)(distance / (ulong)Stride) : null;

    /// <summary>The entry whose stub begins at an address, or has pushed it by its call; null: none.</summary>
    public int? IndexIn(ulong address) => IndexAt(address) ?? IndexAt(address - (ulong)ReturnTrampoline.CallLength);
}

/// <summary>Takes return entries back whose functions never return.</summary>
public interface IReturnReclaimer
{
    /// <summary>The frame of the function that took this entry is gone: write <see cref="Ring.ReturnEntry.State"/> 0.</summary>
    void Reclaim(int index);
}

/// <summary>What became of the records so far.</summary>
/// <param name="Hits">Written into the trace.</param>
/// <param name="Returns">Written into the trace.</param>
/// <param name="Broken">Records that cannot be true, and were left out.</param>
/// <param name="Reclaimed">Calls whose return was awaited, and which never return.</param>
/// <param name="Cut">Hits whose path the bound on stack copies cut.</param>
/// <param name="Slow">Hits that took the long way: their stack was walked frame by frame.</param>
public sealed record NonStopCounts(long Hits, long Returns, long Broken, long Reclaimed, long Cut, long Slow);
