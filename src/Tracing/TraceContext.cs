// The four characters are those of ftrace's latency format: kernel/trace/trace_output.c, trace_print_lat_fmt (6.12), without the fifth, migrate_disable().
using System.Globalization;

namespace KTrace.Tracing;

/// <summary>In what a CPU was caught beside the task: interrupt levels, and what was disabled.</summary>
/// <param name="IrqsOff">EFLAGS.IF was clear.</param>
public sealed record TraceContext(PreemptCount Preempt, bool IrqsOff)
{
    /// <summary>Task context with nothing disabled: what a trace leaves out.</summary>
    public static TraceContext Plain { get; } = new(PreemptCount.Zero, false);

    /// <summary>As ftrace prints it: irqs off (d, with softirqs D; softirqs alone b), rescheduling wanted (N), interrupt level, depth of preempt_disable(): <c>d.h1</c>.</summary>
    public string Flags => string.Create(4, this, static (text, context) =>
    {
        PreemptCount count = context.Preempt;
        bool bottomHalvesOff = count is { SoftIrqsOff: true, ServesSoftIrq: false };
        text[0] = (context.IrqsOff, bottomHalvesOff) switch
        {
            (true, true) => 'D',
            (true, false) => 'd',
            (false, true) => 'b',
            _ => '.',
        };
        text[1] = count.NeedsReschedule ? 'N' : '.';
        text[2] = count switch
        {
            { InNmi: true, InHardIrq: true } => 'Z',
            { InNmi: true } => 'z',
            { InHardIrq: true, ServesSoftIrq: true } => 'H',
            { InHardIrq: true } => 'h',
            { ServesSoftIrq: true } => 's',
            _ => '.',
        };
        text[3] = count.Depth switch
        {
            0 => '.',
            > 15 => 'f',
            _ => count.Depth.ToString("x", CultureInfo.InvariantCulture)[0],
        };
    });

    /// <summary>For people: <c>hardirq, irqs off, preemption disabled once</c>; empty for <see cref="Plain"/>.</summary>
    public string Words
    {
        get
        {
            var words = new List<string>(5);
            if (Preempt.Context != CodeContext.Task)
            {
                words.Add(Preempt is { InNmi: false, InHardIrq: true, ServesSoftIrq: true } ? "hardirq in softirq" : WordOf(Preempt.Context));
            }

            if (IrqsOff)
            {
                words.Add("irqs off");
            }

            if (Preempt is { SoftIrqsOff: true, ServesSoftIrq: false })
            {
                words.Add("softirqs off");
            }

            if (Preempt.Depth > 0)
            {
                words.Add(string.Create(CultureInfo.InvariantCulture, $"preempt {Preempt.Depth}"));
            }

            if (Preempt.NeedsReschedule)
            {
                words.Add("wants to reschedule");
            }

            return string.Join(", ", words);
        }
    }

    /// <summary>The word of a trace file.</summary>
    public static string WordOf(CodeContext context) => context switch
    {
        CodeContext.SoftIrq => "softirq",
        CodeContext.HardIrq => "hardirq",
        CodeContext.Nmi => "nmi",
        _ => "task",
    };
}
