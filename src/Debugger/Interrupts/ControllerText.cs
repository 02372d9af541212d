// The answers of QEMU's monitor, 6 to 10: `info lapic [APIC-ID]` is x86_cpu_dump_local_apic_state (target/i386/helper.c, cpu-dump.c since 6.0), `info pic` is the I/O APIC of
// hw/intc/ioapic_common.c (ioapic_print_redtbl) and both 8259A of hw/intc/i8259_common.c. `info ioapic` was a name of its own until 3.0. KVM's in-kernel
// controllers are printed by the same functions. Registers are taken from their hexadecimal values, and the words beside them are not needed.
using System.Collections.Immutable;
using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Tracing.Interrupts;

namespace KTrace.Debugger.Interrupts;

/// <summary>Interrupt controllers out of the monitor's text. What is not understood is kept as it came.</summary>
public static partial class ControllerText
{
    private const int MaximumLines = 4096;
    private const int MaximumUnread = 64;
    private const int MaximumLine = 400;
    private const int MaximumPins = 256;
    private const int MaximumControllers = 64;

    /// <param name="cpu">Whose it is, if the text does not say.</param>
    /// <returns>Null when the text has no APIC in it: the machine has none, or the stub is not QEMU.</returns>
    public static LocalApic? ParseLocalApic(string text, int cpu)
    {
        var apic = new LocalApic(cpu);
        var vectors = ImmutableArray.CreateBuilder<LocalVector>();
        var unread = ImmutableArray.CreateBuilder<string>();
        foreach (var line in Lines(text))
        {
            if (LocalVectorLine().Match(line) is { Success: true } vector && Hex(vector, 2) is { } raw)
            {
                vectors.Add(new LocalVector(vector.Groups[1].Value, raw));
            }
            else if (TimerLine().Match(line) is { Success: true } timer && Hex(timer, 1) is { } divide && Decimal(timer, 2) is { } initial)
            {
                apic = apic with { Timer = new ApicTimer(divide, initial, timer.Groups[3].Success ? Decimal(timer, 3) ?? 0 : 0) };
            }
            else if (RegisterLine().Match(line) is { Success: true } register && Hex(register, 2) is { } value)
            {
                apic = register.Groups[1].Value switch
                {
                    "SPIV" => apic with { Spurious = value },
                    "ICR" => apic with { Command = value },
                    "ICR2" => apic with { CommandDestination = value },
                    _ => apic with { ErrorStatus = value },
                };
            }
            else if (line.StartsWith("ISR\t", StringComparison.Ordinal) || line.StartsWith("ISR ", StringComparison.Ordinal))
            {
                apic = apic with { InService = Vectors(line[4..]) };
            }
            else if (line.StartsWith("IRR\t", StringComparison.Ordinal) || line.StartsWith("IRR ", StringComparison.Ordinal))
            {
                apic = apic with { Requested = Vectors(line[4..]) };
            }
            else if (line.StartsWith("APR ", StringComparison.Ordinal))
            {
                apic = Priorities(apic, line);
            }
            else if (TitleLine().Match(line) is { Success: true } title && Decimal(title, 1) is <= int.MaxValue and { } number)
            {
                apic = apic with { Cpu = (int)number };
            }
            else if (unread.Count < MaximumUnread)
            {
                unread.Add(line);
            }
        }

        return vectors.Count == 0 && apic.Spurious is null ? null : apic with { Vectors = vectors.ToImmutable(), Unread = unread.ToImmutable() };
    }

    /// <returns>What is in the text; lines that belong to none of them stay with the I/O APIC before them, or are dropped.</returns>
    public static (ImmutableArray<IoApic> IoApics, ImmutableArray<Pic> Pics) ParsePic(string text)
    {
        var ioApics = ImmutableArray.CreateBuilder<IoApic>();
        var pics = ImmutableArray.CreateBuilder<Pic>();
        foreach (var line in Lines(text))
        {
            if (IoApicLine().Match(line) is { Success: true } header && Decimal(header, 1) is { } index && ioApics.Count < MaximumControllers)
            {
                ioApics.Add(new IoApic((int)Math.Min(index, int.MaxValue)) { Version = Hex(header, 2), Id = Hex(header, 3) });
            }
            else if (PicLine().Match(line) is { Success: true } pic && pics.Count < MaximumControllers)
            {
                pics.Add(new Pic(pic.Groups[1].Value[0] - '0')
                {
                    Requested = Byte(pic, 2), Mask = Byte(pic, 3), InService = Byte(pic, 4), VectorBase = Byte(pic, 5), EdgeLevel = Byte(pic, 6),
                });
            }
            else if (ioApics.Count > 0)
            {
                ioApics[^1] = Add(ioApics[^1], line);
            }
        }

        pics.Sort((a, b) => a.Index.CompareTo(b.Index));
        return (ioApics.ToImmutable(), pics.ToImmutable());
    }

    private static IoApic Add(IoApic ioApic, string line)
    {
        if (PinLine().Match(line) is { Success: true } pin && Decimal(pin, 1) is < MaximumPins and { } number && ioApic.Entries.Length < MaximumPins
            && ulong.TryParse(pin.Groups[2].ValueSpan, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var raw))
        {
            return ioApic with { Entries = ioApic.Entries.Add(new RedirectionEntry((int)number, raw)) };
        }

        var words = line.TrimStart();
        if (words.StartsWith("IRR", StringComparison.Ordinal))
        {
            return ioApic with { Requested = [.. Vectors(words[3..]).Select(v => v.Vector)] };
        }

        // Remote IRR is in the entries too.
        return words.StartsWith("Remote IRR", StringComparison.Ordinal) || ioApic.Unread.Length >= MaximumUnread ? ioApic : ioApic with { Unread = ioApic.Unread.Add(line) };
    }

    private static LocalApic Priorities(LocalApic apic, string line)
    {
        foreach (Match match in PriorityField().Matches(line))
        {
            var value = Hex(match, 2);
            apic = match.Groups[1].Value switch
            {
                "APR" => apic with { ArbitrationPriority = value },
                "TPR" => apic with { TaskPriority = value },
                "DFR" => apic with { DestinationFormat = value },
                "LDR" => apic with { LogicalDestination = value },
                _ => apic with { ProcessorPriority = value },
            };
        }

        return apic;
    }

    private static ImmutableArray<ApicVector> Vectors(string text)
    {
        var vectors = ImmutableArray.CreateBuilder<ApicVector>();
        foreach (Match match in VectorNumber().Matches(text))
        {
            if (Decimal(match, 1) is < 256 and { } vector && vectors.Count < 256)
            {
                vectors.Add(new ApicVector((int)vector, match.Groups[2].Success));
            }
        }

        return vectors.ToImmutable();
    }

    private static IEnumerable<string> Lines(string text) => text.Split('\n', MaximumLines + 1).Take(MaximumLines)
        .Select(l => l.TrimEnd('\r', ' ', '\t')).Where(l => l.Length > 0).Select(l => l.Length > MaximumLine ? l[..MaximumLine] : l);

    private static uint? Hex(Match match, int group) =>
        uint.TryParse(match.Groups[group].ValueSpan, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var value) ? value : null;

    private static uint? Decimal(Match match, int group) =>
        uint.TryParse(match.Groups[group].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value : null;

    private static byte Byte(Match match, int group) =>
        byte.TryParse(match.Groups[group].ValueSpan, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var value) ? value : (byte)0;

    [GeneratedRegex(@"^dumping local APIC state for CPU ([0-9]+)", RegexOptions.CultureInvariant)]
    private static partial Regex TitleLine();

    [GeneratedRegex(@"^(LVT[A-Z0-9]{1,8})\s+0x([0-9a-fA-F]{1,8})\b", RegexOptions.CultureInvariant)]
    private static partial Regex LocalVectorLine();

    [GeneratedRegex(@"^Timer\s+DCR=0x([0-9a-fA-F]{1,8}) .*initial_count = ([0-9]+)(?: current_count = ([0-9]+))?", RegexOptions.CultureInvariant)]
    private static partial Regex TimerLine();

    [GeneratedRegex(@"^(SPIV|ICR|ICR2|ESR)\s+0x([0-9a-fA-F]{1,8})\b", RegexOptions.CultureInvariant)]
    private static partial Regex RegisterLine();

    // In cluster mode something stands behind LDR's value; older ones put PPR right behind it.
    [GeneratedRegex(@"(APR|TPR|DFR|LDR|PPR) 0x([0-9a-fA-F]{1,8})", RegexOptions.CultureInvariant)]
    private static partial Regex PriorityField();

    [GeneratedRegex(@"([0-9]+)(\(level\))?", RegexOptions.CultureInvariant)]
    private static partial Regex VectorNumber();

    [GeneratedRegex(@"^ioapic([0-9]+): ver=0x([0-9a-fA-F]{1,8}) id=0x([0-9a-fA-F]{1,8})", RegexOptions.CultureInvariant)]
    private static partial Regex IoApicLine();

    [GeneratedRegex(@"^\s+pin ([0-9]+)\s+0x([0-9a-fA-F]{1,16})\b", RegexOptions.CultureInvariant)]
    private static partial Regex PinLine();

    [GeneratedRegex(@"^pic([01]): irr=([0-9a-fA-F]{2}) imr=([0-9a-fA-F]{2}) isr=([0-9a-fA-F]{2}) .*irq_base=([0-9a-fA-F]{2}) .*elcr=([0-9a-fA-F]{2})", RegexOptions.CultureInvariant)]
    private static partial Regex PicLine();
}
