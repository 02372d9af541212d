// What Linux knows of an interrupt: struct irq_desc and what it points to (include/linux/irqdesc.h, irq.h, interrupt.h, irqdomain.h, msi.h;
// arch/x86/kernel/apic/vector.c for vector and CPU).
using System.Collections.Immutable;

namespace KTrace.Tracing.Interrupts;

/// <summary>One step of an interrupt's way from its device's controller to the CPU: <c>PCI-MSI</c> over <c>APIC</c>.</summary>
/// <param name="Chip">irq_chip.name.</param>
/// <param name="HwIrq">The number within the domain.</param>
/// <param name="Domain">irq_domain.name; null without one.</param>
public sealed record IrqLevel(string? Chip, ulong HwIrq, string? Domain);

/// <summary>A handler that a driver asked for.</summary>
/// <param name="Handler">The function's name, or its address.</param>
/// <param name="Name">As /proc/interrupts shows it.</param>
/// <param name="ThreadHandler">The function that its thread runs; null without one.</param>
/// <param name="DeviceId">The driver's cookie.</param>
/// <param name="Flags">IRQF_….</param>
public sealed record IrqAction(string? Handler, string? Name, string? ThreadHandler, ulong DeviceId, uint Flags)
{
    /// <summary>IRQF_SHARED (include/linux/interrupt.h, unchanged since 2.6).</summary>
    public bool IsShared => (Flags & 0x80) != 0;
}

/// <summary>What a device writes where to interrupt a CPU.</summary>
public readonly record struct MsiMessage(ulong Address, uint Data);

/// <summary>One interrupt of the kernel. What its types or memory did not tell is null or empty. Text of the guest.</summary>
public sealed record IrqDescription(int Irq)
{
    /// <summary>From the controller that the device is connected to, to the CPU's own.</summary>
    public ImmutableArray<IrqLevel> Levels { get; init; } = [];

    public string? Chip => Levels.IsEmpty ? null : Levels[0].Chip;

    public ulong? HwIrq => Levels.IsEmpty ? null : Levels[0].HwIrq;

    /// <summary>irq_desc.name, the flow's name on x86: <c>edge</c>, <c>fasteoi</c>.</summary>
    public string? Name { get; init; }

    /// <summary>handle_irq: <c>handle_edge_irq</c>.</summary>
    public string? Flow { get; init; }

    /// <summary>The IDT's vector; null while none is assigned.</summary>
    public int? Vector { get; init; }

    /// <summary>The CPU whose vector it is.</summary>
    public int? Cpu { get; init; }

    /// <summary>Where it may go, as /proc/irq/N/smp_affinity_list has it: <c>0-3</c>.</summary>
    public string? Affinity { get; init; }

    /// <summary>Where it goes.</summary>
    public string? EffectiveAffinity { get; init; }

    public MsiMessage? Msi { get; init; }

    /// <summary>IRQD_…: irq_common_data.state_use_accessors.</summary>
    public uint? State { get; init; }

    /// <summary>How often it was disabled; 0 while it is enabled.</summary>
    public int? Depth { get; init; }

    public ImmutableArray<IrqAction> Actions { get; init; } = [];

    /// <summary>How often it came, on each CPU; the counters have 32 bits.</summary>
    public ImmutableArray<uint> Counts { get; init; } = [];

    public long Total => Counts.Sum(c => (long)c);

    /// <summary>Level-triggered, as /sys/kernel/irq/N/type has it; null when it is not known.</summary>
    public bool? IsLevel => State is { } state ? (state & IrqState.Level) != 0 : null;

    /// <summary>The state's words: <c>masked</c>, <c>disabled</c>, <c>in progress</c>.</summary>
    public IEnumerable<string> StateWords => IrqState.WordsOf(State ?? 0);
}

/// <summary>Bits of irq_common_data.state_use_accessors: include/linux/irq.h, the same from 4.19 to 6.12.</summary>
public static class IrqState
{
    public const uint TriggerMask = 0xf;
    public const uint Level = 1 << 13, Disabled = 1 << 16, Masked = 1 << 17, InProgress = 1 << 18, Started = 1 << 22;

    private static readonly (uint Bit, string Word)[] Words =
    [
        (Disabled, "disabled"), (Masked, "masked"), (InProgress, "in progress"), (1 << 8, "affinity pending"), (1 << 10, "no balancing"), (1 << 11, "per-cpu"),
        (1 << 12, "affinity set"), (1 << 14, "wakeup"), (1 << 20, "forwarded to a guest"), (1 << 21, "managed"), (1 << 23, "managed shutdown"),
    ];

    public static IEnumerable<string> WordsOf(uint state) => Words.Where(w => (state & w.Bit) != 0).Select(w => w.Word);

    /// <summary>The trigger that was asked for: <c>edge rising</c>, <c>level high</c> (IRQ_TYPE_…, include/linux/irq.h); empty when none was.</summary>
    public static string TriggerOf(uint state) => (state & TriggerMask) switch
    {
        1 => "edge rising",
        2 => "edge falling",
        3 => "edge both",
        4 => "level high",
        8 => "level low",
        _ => "",
    };
}
