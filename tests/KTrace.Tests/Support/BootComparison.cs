using System.Text.RegularExpressions;

namespace KTrace.Tests.Support;

/// <summary>
/// Two consoles of the same scenario, one of a boot that was traced: what one says and the other does not. Numbers and addresses do not count, nor do timestamps and the order of lines, which drivers
/// that probe side by side change from boot to boot. So /proc/interrupts counts by its rows and their names, not by how often each came.
/// </summary>
internal static partial class BootComparison
{
    /// <summary>What two boots of one kernel say differently without any tracing, or because memory was reserved (the memory map, and what the kernel derives from it).</summary>
    private static readonly string[] s_mayDiffer =
    [
        "e820", "[mem ", "Memory: ", "available)", "RAMDISK", "node   #", "Normal ", "DMA32 ", "DMA   ", "pages", "HighMem", "Movable zone", "Initmem setup", "reserve", "hash table entries",
        "random: ", "tsc: ", "TSC ", "clocksource: ", "sched_clock: ", "BogoMIPS", "Calibrat", "APIC calibration", "lpj=", "Freeing ", "usable",
        "rtc_cmos", "KASLR", "hpet", "cpu_khz", "PM-Timer", "uptime", "Kernel Offset", "perf: interrupt took", "hrtimer: interrupt took", "input: ", "rcu: ", "MTRR",
        "SATA link", "ATAPI", "zonelists", "calibrate_delay", "On node", "CPUs: ", "processors activated", "LOWMEM", "lowmem", "vmalloc", "fixmap", "MB ", "perf_event", "initcall ", "sr ", "scsi ", "cdrom",
        "Refined", "Testing kprobe tracing:", " : Reserved", " : System RAM",
    ];

    private const string Mark = "===LOG";

    /// <summary>
    /// What a guest does last, for its console to be compared: it prints its log. What the kernel itself prints on a serial line is not whole, traced or not: it waits 10 ms for the UART and goes on without
    /// (drivers/tty/serial/8250/8250_port.c: wait_for_lsr), which a busy host does not always keep. A program's output waits for interrupts, and stty for
    /// all output to be gone.
    /// </summary>
    public const string Script = "echo " + Mark + "; cat /proc/interrupts; cat /proc/iomem; dmesg; echo ===END; stty 115200 < /dev/console; sleep 1";

    /// <summary>Lines of one boot only, each with the sign of the boot that said it: '-' untraced, '+' traced. Empty: a guest could not tell.</summary>
    public static IReadOnlyList<string> Differences(string untraced, string traced)
    {
        var (before, after) = (Count(untraced), Count(traced));
        return [.. before.Keys.Union(after.Keys).Where(line => before.GetValueOrDefault(line) != after.GetValueOrDefault(line))
            .Select(line => (before.GetValueOrDefault(line) > after.GetValueOrDefault(line) ? "- " : "+ ") + line).Order(StringComparer.Ordinal)];
    }

    private static Dictionary<string, int> Count(string console) =>
        console[Math.Max(0, console.IndexOf(Mark, StringComparison.Ordinal))..].Split('\n').Select(Normal).Where(line => line.Length > 0).GroupBy(line => line).ToDictionary(group => group.Key, group => group.Count());

    private static string Normal(string line)
    {
        line = Escape().Replace(line, "").Trim('\r', ' ');
        line = Timestamp().Replace(line, "");
        if (s_mayDiffer.Any(part => line.Contains(part, StringComparison.Ordinal)))
        {
            return "";
        }

        // A line of numbers alone says nothing: the end of one that another message broke (CPUs that came up).
        line = Spaces().Replace(Number().Replace(line, "#"), " ").Trim();
        return line.Any(char.IsLetter) && line is not ("OK" or "PASSED") ? line : "";
    }

    [GeneratedRegex(@"^\[ *\d+\.\d+\] ")]
    private static partial Regex Timestamp();

    [GeneratedRegex(@"\x1b\[[0-9;?=]*[A-Za-z]|\x1b.")]
    private static partial Regex Escape();

    // Also several in a row, as a machine with more CPUs has them.
    [GeneratedRegex(@"\b(0x)?[0-9a-f]*\d[0-9a-f]*\b")]
    private static partial Regex Number();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
