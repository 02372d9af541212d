using System.Collections.Immutable;
using KTrace.Debugger.Memory;

namespace KTrace.Debugger.NonStop.Trampolines;

/// <summary>How code in the guest reads any memory of the guest: it walks the page tables itself, and finds physical memory at an address of which it is known that reading there never faults.</summary>
/// <param name="Paging">The CPUs' mode.</param>
/// <param name="Base">Where physical address 0 appears. On i386 that is the kernel's own map of low memory.</param>
/// <param name="SizeBits">So many bits of a physical address are mapped there, whatever is behind it; on i386 the kernel's <paramref name="LowPages"/> tells.</param>
/// <param name="Ram">What is RAM of that, in pages: everything else is no memory for a condition.</param>
/// <param name="LowPages">i386: address of max_low_pfn, a word: so many pages of physical memory are mapped.</param>
/// <param name="Slide">KASLR's displacement.</param>
public sealed record GuestView(PagingKind Paging, ulong Base, int SizeBits, ImmutableArray<RamRange> Ram, ulong? LowPages, ulong Slide);
