// include/linux/preempt.h (4.19 to 6.12): bits 0–7 count preempt_disable(), 8–15 softirqs (bit 8: one is being served; local_bh_disable() adds 2 to them),
// 16–19 hardirqs, 20–23 NMIs (before 5.8 bit 20 alone). On x86 bit 31 is PREEMPT_NEED_RESCHED, clear when the scheduler is wanted (arch/x86/include/asm/preempt.h).
// Kernels without CONFIG_PREEMPT_COUNT count no preempt_disable(); PREEMPT_RT counts disabled softirqs in the task instead.
namespace KTrace.Tracing;

/// <summary>What kind of code a CPU was executing.</summary>
public enum CodeContext
{
    /// <summary>On behalf of a task.</summary>
    Task,

    /// <summary>A deferred interrupt's work.</summary>
    SoftIrq,

    HardIrq,
    Nmi,
}

/// <summary>A CPU's __preempt_count.</summary>
/// <param name="Raw">As it is in memory on x86.</param>
public readonly record struct PreemptCount(uint Raw)
{
    private const uint NoReschedule = 0x8000_0000;

    /// <summary>Nothing disabled, nothing interrupted, no wish to reschedule.</summary>
    public static PreemptCount Zero { get; } = new(NoReschedule);

    /// <summary>The counts alone, without the bit for rescheduling.</summary>
    public uint Counts => Raw & ~NoReschedule;

    /// <summary>How many preempt_disable() and spinlocks are open.</summary>
    public int Depth => (int)(Raw & 0xff);

    public bool ServesSoftIrq => (Raw & 0x100) != 0;

    /// <summary>local_bh_disable(), or a softirq: none can begin here.</summary>
    public bool SoftIrqsOff => (Raw & 0xff00) != 0;

    public bool InHardIrq => (Raw & 0xf0000) != 0;

    public bool InNmi => (Raw & 0xf00000) != 0;

    public bool NeedsReschedule => (Raw & NoReschedule) == 0;

    /// <summary>The innermost: an NMI that interrupted a hardirq is an NMI.</summary>
    public CodeContext Context => InNmi ? CodeContext.Nmi : InHardIrq ? CodeContext.HardIrq : ServesSoftIrq ? CodeContext.SoftIrq : CodeContext.Task;

    /// <summary>From the counts and the wish to reschedule.</summary>
    public static PreemptCount Of(uint counts, bool needsReschedule) => new((counts & ~NoReschedule) | (needsReschedule ? 0 : NoReschedule));
}
