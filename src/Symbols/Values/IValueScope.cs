using KTrace.Symbols.Arch;
using KTrace.Symbols.Types;
using KTrace.Symbols.Unwind;

namespace KTrace.Symbols.Values;

/// <summary>What it takes to read and print values of one guest at one moment.</summary>
public interface IValueScope
{
    Architecture Architecture { get; }

    /// <summary>Types, global variables (at run-time addresses), functions and enumerators.</summary>
    ITypeSource Types { get; }

    /// <summary>Synchronous; a miss (<see cref="MemoryReadResult.NotFetched"/>) is collected, and whoever asked fetches and asks again.</summary>
    IMemoryReader Memory { get; }

    /// <summary>A function or variable at a run-time address: <c>e1000_intr_msix_rx</c>, <c>init_task+0x40</c>; null when nothing is there.</summary>
    string? NameOf(ulong address);
}
