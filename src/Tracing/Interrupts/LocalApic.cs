// Intel SDM volume 3, chapter 11 (local vector table 11.5.1, interrupt command register 11.6.1, divide configuration 11.5.4).
using System.Collections.Immutable;

namespace KTrace.Tracing.Interrupts;

/// <summary>What an interrupt controller sends to a processor, from three bits of its registers.</summary>
public enum DeliveryMode
{
    Fixed,
    LowestPriority,
    Smi,
    Reserved,
    Nmi,
    Init,
    StartUp,
    ExtInt,
}

/// <summary>An entry of the local vector table.</summary>
/// <param name="Name">As QEMU names it: LVT0 and LVT1 (the pins LINT0, LINT1), LVTPC (performance counters), LVTERR, LVTTHMR, LVTT (timer).</param>
public readonly record struct LocalVector(string Name, uint Raw)
{
    public int Vector => (int)(Raw & 0xff);

    public DeliveryMode Delivery => (DeliveryMode)((Raw >> 8) & 7);

    public bool IsPending => (Raw & (1 << 12)) != 0;

    public bool IsActiveLow => (Raw & (1 << 13)) != 0;

    public bool IsLevel => (Raw & (1 << 15)) != 0;

    public bool IsMasked => (Raw & (1 << 16)) != 0;

    /// <summary>Of LVTT alone: <c>one-shot</c>, <c>periodic</c>, <c>tsc-deadline</c>.</summary>
    public string? TimerMode => Name != "LVTT" ? null : ((Raw >> 17) & 3) switch { 1 => "periodic", 2 => "tsc-deadline", _ => "one-shot" };
}

/// <param name="DivideConfiguration">DCR.</param>
/// <param name="InitialCount">0 while the timer stands still.</param>
public readonly record struct ApicTimer(uint DivideConfiguration, uint InitialCount, uint CurrentCount)
{
    /// <summary>What the bus clock is divided by.</summary>
    public int Divisor => (((DivideConfiguration & 8) >> 1) | (DivideConfiguration & 3)) is 7 ? 1 : 2 << (int)(((DivideConfiguration & 8) >> 1) | (DivideConfiguration & 3));
}

/// <summary>A vector in one of the APIC's bit maps.</summary>
/// <param name="IsLevel">Its bit in TMR is set.</param>
public readonly record struct ApicVector(int Vector, bool IsLevel);

/// <summary>A CPU's local APIC. What the monitor did not tell is null or empty; QEMU does not tell id and version.</summary>
/// <param name="Cpu">Number of the CPU.</param>
public sealed record LocalApic(int Cpu)
{
    public ImmutableArray<LocalVector> Vectors { get; init; } = [];

    public ApicTimer? Timer { get; init; }

    /// <summary>SPIV: the spurious vector, and whether the APIC is enabled by software (bit 8).</summary>
    public uint? Spurious { get; init; }

    public bool? IsEnabled => Spurious is { } spurious ? (spurious & 0x100) != 0 : null;

    /// <summary>ICR: the last interrupt that this CPU sent to others; the destination is in <see cref="CommandDestination"/>.</summary>
    public uint? Command { get; init; }

    /// <summary>ICR2.</summary>
    public uint? CommandDestination { get; init; }

    public uint? ErrorStatus { get; init; }

    /// <summary>ISR: vectors whose handlers run.</summary>
    public ImmutableArray<ApicVector> InService { get; init; } = [];

    /// <summary>IRR: vectors that wait for the CPU.</summary>
    public ImmutableArray<ApicVector> Requested { get; init; } = [];

    public uint? ArbitrationPriority { get; init; }

    public uint? TaskPriority { get; init; }

    public uint? DestinationFormat { get; init; }

    public uint? LogicalDestination { get; init; }

    public uint? ProcessorPriority { get; init; }

    /// <summary>Lines that were not understood, as they came.</summary>
    public ImmutableArray<string> Unread { get; init; } = [];
}
