// QEMU's monitor, `info registers` (target/i386/cpu-dump.c, 7.2): the only place where the stub's client learns the CS base, the size of the code segment
// and the IDT's base; target.xml has them commented out. One line each, in hexadecimal:
//   CPU#0                                                                     (with -a, and always since 7.1)
//   CS =f000 ffff0000 0000ffff 00009b00                                       real mode: selector, base, limit, flags
//   CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]              protected and long mode
//   IDT=     fffffe0000000000 00000fff
using System.Globalization;
using KTrace.Rsp;

namespace KTrace.Debugger.Phases;

/// <summary>What a CPU's hidden registers say.</summary>
/// <param name="CodeBase">Base of the code segment.</param>
/// <param name="CodeBits">16, 32 or 64: the code segment's kind.</param>
/// <param name="InterruptTable">Linear address of the IDT.</param>
internal sealed record SegmentBases(ulong CodeBase, int CodeBits, ulong InterruptTable)
{
    private const int MaximumCpus = 4096;

    // Bits of the second descriptor word, as the flags are printed: L and D/B (Intel SDM volume 3, 3.4.5).
    private const ulong LongMode = 1 << 21;
    private const ulong DefaultSize32 = 1 << 22;

    /// <summary>Asks the stub. Null when it is no QEMU, or says something else than is known.</summary>
    /// <param name="cpu">Index.</param>
    public static async ValueTask<SegmentBases?> TryReadAsync(RspClient client, int cpu, CancellationToken cancellationToken)
    {
        // The text is that of QEMU's system emulator, which alone reads physical memory.
        if (!client.Profile.PhysicalMemoryMode)
        {
            return null;
        }

        try
        {
            // Without -a the monitor means its own current CPU, the first.
            var (text, _) = await client.MonitorAsync(cpu == 0 ? "info registers" : "info registers -a", cancellationToken);
            return TryParse(text, cpu);
        }
        catch (RspException e) when (e.Kind is RspErrorKind.ErrorReply or RspErrorKind.Unsupported)
        {
            return null;
        }
    }

    internal static SegmentBases? TryParse(string text, int cpu)
    {
        if ((uint)cpu >= MaximumCpus)
        {
            return null;
        }

        var current = 0;
        (ulong Base, ulong Flags)? code = null;
        ulong? table = null;
        foreach (var line in text.Split('\n', StringSplitOptions.TrimEntries))
        {
            if (line.StartsWith("CPU#", StringComparison.Ordinal) && int.TryParse(line.AsSpan(4), NumberStyles.None, CultureInfo.InvariantCulture, out var index))
            {
                current = index;
            }
            else if (current == cpu && line.StartsWith("CS =", StringComparison.Ordinal) && Numbers(line[4..], 4) is [_, var start, _, var flags])
            {
                code ??= (start, flags);
            }
            else if (current == cpu && line.StartsWith("IDT=", StringComparison.Ordinal) && Numbers(line[4..], 2) is [var address, _])
            {
                table ??= address;
            }
        }

        return code is { } found && table is { } idt
            ? new SegmentBases(found.Base, (found.Flags & LongMode) != 0 ? 64 : (found.Flags & DefaultSize32) != 0 ? 32 : 16, idt)
            : null;
    }

    private static ulong[] Numbers(string text, int count)
    {
        var numbers = new List<ulong>(count);
        foreach (var word in text.Split(' ', StringSplitOptions.RemoveEmptyEntries).Take(count))
        {
            if (!ulong.TryParse(word, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var number))
            {
                return [];
            }

            numbers.Add(number);
        }

        return [.. numbers];
    }
}
