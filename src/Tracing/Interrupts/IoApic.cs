// Intel 82093AA, "I/O Redirection Table Registers" (section 3.2.4); 8259A datasheet, with the edge/level control registers of the PCI ISA bridge (PIIX, ICH9).
using System.Collections.Immutable;

namespace KTrace.Tracing.Interrupts;

/// <summary>An entry of an I/O APIC's redirection table.</summary>
public readonly record struct RedirectionEntry(int Pin, ulong Raw)
{
    public int Vector => (int)(Raw & 0xff);

    public DeliveryMode Delivery => (DeliveryMode)((Raw >> 8) & 7);

    /// <summary>The destination is a set of CPUs, and not one APIC id.</summary>
    public bool IsLogical => (Raw & (1 << 11)) != 0;

    public bool IsPending => (Raw & (1 << 12)) != 0;

    public bool IsActiveLow => (Raw & (1 << 13)) != 0;

    /// <summary>A CPU has accepted it, and has not said that it is done (level-triggered ones).</summary>
    public bool RemoteIrr => (Raw & (1 << 14)) != 0;

    public bool IsLevel => (Raw & (1 << 15)) != 0;

    public bool IsMasked => (Raw & (1 << 16)) != 0;

    /// <summary>APIC id, or a mask of logical ids.</summary>
    public int Destination => (int)(Raw >> 56);
}

/// <summary>An I/O APIC.</summary>
public sealed record IoApic(int Index)
{
    public uint? Version { get; init; }

    public uint? Id { get; init; }

    public ImmutableArray<RedirectionEntry> Entries { get; init; } = [];

    /// <summary>Pins that ask for an interrupt.</summary>
    public ImmutableArray<int> Requested { get; init; } = [];

    /// <summary>Lines that were not understood, as they came.</summary>
    public ImmutableArray<string> Unread { get; init; } = [];
}

/// <summary>One of the two 8259A.</summary>
/// <param name="Index">0 is the master.</param>
public sealed record Pic(int Index)
{
    /// <summary>Lines that ask, that are masked, and whose handlers run: a bit for each of eight.</summary>
    public byte Requested { get; init; }

    public byte Mask { get; init; }

    public byte InService { get; init; }

    /// <summary>The vector of its line 0.</summary>
    public byte VectorBase { get; init; }

    /// <summary>Lines that are level-triggered.</summary>
    public byte EdgeLevel { get; init; }
}
