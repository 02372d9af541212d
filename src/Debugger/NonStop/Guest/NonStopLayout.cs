namespace KTrace.Debugger.NonStop.Guest;

/// <summary>
/// Where code, control block and ring lie in the guest: one piece of reserved physical memory, and one piece of the kernel's address space within reach of a call from kernel and
/// module text. Code can be read and executed, the rest read and written. The ring appears twice in a row.
/// </summary>
/// <param name="Physical">First physical address, a multiple of <paramref name="PageSize"/>.</param>
/// <param name="Virtual">First virtual address.</param>
/// <param name="PageSize">Bytes of the large pages that map it: 2 MiB, or 4 MiB on i386 without PAE. Code has one, the control block has one.</param>
/// <param name="RingSize">Bytes, a power of two and a multiple of <paramref name="PageSize"/>.</param>
public sealed record NonStopLayout(ulong Physical, ulong Virtual, int PageSize, int RingSize)
{
    /// <summary>Bytes that may be reserved and not read yet; then the guest waits. The whole ring unless told otherwise.</summary>
    public int RingLimit { get; init; } = RingSize;

    /// <summary>Bytes that code may take.</summary>
    public int CodeSize => PageSize;

    public ulong Code => Virtual;

    public ulong Control => Virtual + (ulong)PageSize;

    public ulong Ring => Virtual + (2 * (ulong)PageSize);

    public ulong PhysicalControl => Physical + (ulong)PageSize;

    public ulong PhysicalRing => Physical + (2 * (ulong)PageSize);

    /// <summary>Bytes of physical memory.</summary>
    public ulong PhysicalSize => (2 * (ulong)PageSize) + (ulong)RingSize;

    /// <summary>Bytes of address space.</summary>
    public ulong VirtualSize => (2 * (ulong)PageSize) + (2 * (ulong)RingSize);
}
