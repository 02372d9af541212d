using System.Globalization;
using KTrace.Tracing;
using KTrace.Tracing.Interrupts;

namespace KTrace.Tui.Views;

/// <summary>How views write what is the same in all of them: numbers, delivery modes, where a snapshot was taken.</summary>
internal static class InterruptText
{
    public static TextLine? Cell(string? text, TextRole role = TextRole.Plain) => string.IsNullOrEmpty(text) ? null : new TextLine().Add(text, role);

    public static TextLine? Cell(long? number, TextRole role = TextRole.Plain) => number is { } value ? new TextLine().Add(value.ToString(CultureInfo.InvariantCulture), role) : null;

    public static string Hex(ulong value) => TraceHex.Format(value);

    public static string Of(DeliveryMode mode) => mode switch
    {
        DeliveryMode.Fixed => "fixed",
        DeliveryMode.LowestPriority => "lowest priority",
        DeliveryMode.Smi => "SMI",
        DeliveryMode.Nmi => "NMI",
        DeliveryMode.Init => "INIT",
        DeliveryMode.StartUp => "start-up",
        DeliveryMode.ExtInt => "ExtINT",
        _ => "reserved",
    };

    /// <summary><c>e1000e-msix.ktrace#19: Linux 6.1.0-56-amd64, x86-64, 2.160 s</c>.</summary>
    public static TextLine Title(InterruptsQuery picked)
    {
        TraceRecord.Interrupts interrupts = picked.Interrupts;
        string release = picked.Header.Kernel.Release is { } name ? $"Linux {name}, " : "";
        string at = interrupts.HitSequence is { } hit ? string.Create(CultureInfo.InvariantCulture, $"#{hit}") : "";
        string time = HitTable.Time(interrupts.Clock, picked.Header) is not "-" and var clock ? $", {clock}{(interrupts.Clock!.Seconds(picked.Header.JiffiesPerSecond) is null ? "" : " s")}" : "";
        string when = interrupts.HitSequence is null ? picked.IsLive ? "" : ", at the end" : interrupts.AtReturn ? ", at its return" : "";
        return new TextLine().Add(picked.File + at, TextRole.Heading).Add($": {release}{picked.Header.Arch}{time}{when}");
    }
}
