using System.Collections.Immutable;
using System.Globalization;
using System.Text.Json;

namespace KTrace.Tracing.Interrupts;

/// <summary>The fields of an <c>interrupts</c> record, as docs/trace-format.md has them.</summary>
internal static class InterruptsWriter
{
    public static void Write(Utf8JsonWriter json, TraceRecord.Interrupts interrupts)
    {
        json.WriteStartArray("irqs"u8);
        foreach (IrqDescription irq in interrupts.Irqs)
        {
            Write(json, irq);
        }

        json.WriteEndArray();
        if (!interrupts.LocalApics.IsEmpty)
        {
            json.WriteStartArray("lapics"u8);
            foreach (LocalApic apic in interrupts.LocalApics)
            {
                Write(json, apic);
            }

            json.WriteEndArray();
        }

        if (!interrupts.IoApics.IsEmpty)
        {
            json.WriteStartArray("ioapics"u8);
            foreach (IoApic ioApic in interrupts.IoApics)
            {
                Write(json, ioApic);
            }

            json.WriteEndArray();
        }

        if (!interrupts.Pics.IsEmpty)
        {
            json.WriteStartArray("pics"u8);
            foreach (Pic pic in interrupts.Pics)
            {
                json.WriteStartObject();
                json.WriteNumber("index"u8, pic.Index);
                Hex(json, "irr"u8, pic.Requested);
                Hex(json, "imr"u8, pic.Mask);
                Hex(json, "isr"u8, pic.InService);
                Hex(json, "base"u8, pic.VectorBase);
                Hex(json, "elcr"u8, pic.EdgeLevel);
                json.WriteEndObject();
            }

            json.WriteEndArray();
        }
    }

    private static void Write(Utf8JsonWriter json, IrqDescription irq)
    {
        json.WriteStartObject();
        json.WriteNumber("irq"u8, irq.Irq);
        json.WriteStartArray("levels"u8);
        foreach (IrqLevel level in irq.Levels)
        {
            json.WriteStartObject();
            Text(json, "chip"u8, level.Chip);
            json.WriteNumber("hwirq"u8, level.HwIrq);
            Text(json, "domain"u8, level.Domain);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        Text(json, "name"u8, irq.Name);
        Text(json, "flow"u8, irq.Flow);
        Number(json, "vector"u8, irq.Vector);
        Number(json, "cpu"u8, irq.Cpu);
        Text(json, "affinity"u8, irq.Affinity);
        Text(json, "effective_affinity"u8, irq.EffectiveAffinity);
        if (irq.Msi is { } msi)
        {
            json.WriteStartObject("msi"u8);
            Hex(json, "address"u8, msi.Address);
            Hex(json, "data"u8, msi.Data);
            json.WriteEndObject();
        }

        Hex(json, "state"u8, irq.State);
        Number(json, "depth"u8, irq.Depth);
        json.WriteStartArray("actions"u8);
        foreach (IrqAction action in irq.Actions)
        {
            json.WriteStartObject();
            Text(json, "handler"u8, action.Handler);
            Text(json, "name"u8, action.Name);
            Text(json, "thread"u8, action.ThreadHandler);
            Hex(json, "dev_id"u8, action.DeviceId);
            Hex(json, "flags"u8, action.Flags);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("counts"u8);
        foreach (uint count in irq.Counts)
        {
            json.WriteNumberValue(count);
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, LocalApic apic)
    {
        json.WriteStartObject();
        json.WriteNumber("cpu"u8, apic.Cpu);
        json.WriteStartObject("lvt"u8);
        foreach (LocalVector vector in apic.Vectors)
        {
            Hex(json, vector.Name, vector.Raw);
        }

        json.WriteEndObject();
        if (apic.Timer is { } timer)
        {
            json.WriteStartObject("timer"u8);
            Hex(json, "dcr"u8, timer.DivideConfiguration);
            json.WriteNumber("initial"u8, timer.InitialCount);
            json.WriteNumber("current"u8, timer.CurrentCount);
            json.WriteEndObject();
        }

        Hex(json, "spiv"u8, apic.Spurious);
        Hex(json, "icr"u8, apic.Command);
        Hex(json, "icr2"u8, apic.CommandDestination);
        Hex(json, "esr"u8, apic.ErrorStatus);
        Write(json, "isr"u8, apic.InService.Select(v => v.Vector));
        Write(json, "irr"u8, apic.Requested.Select(v => v.Vector));
        Write(json, "level"u8, apic.InService.Concat(apic.Requested).Where(v => v.IsLevel).Select(v => v.Vector).Distinct());
        Hex(json, "apr"u8, apic.ArbitrationPriority);
        Hex(json, "tpr"u8, apic.TaskPriority);
        Hex(json, "dfr"u8, apic.DestinationFormat);
        Hex(json, "ldr"u8, apic.LogicalDestination);
        Hex(json, "ppr"u8, apic.ProcessorPriority);
        Write(json, apic.Unread);
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, IoApic ioApic)
    {
        json.WriteStartObject();
        json.WriteNumber("index"u8, ioApic.Index);
        Hex(json, "version"u8, ioApic.Version);
        Hex(json, "id"u8, ioApic.Id);
        json.WriteStartObject("pins"u8);
        foreach (RedirectionEntry entry in ioApic.Entries)
        {
            Hex(json, entry.Pin.ToString(CultureInfo.InvariantCulture), entry.Raw);
        }

        json.WriteEndObject();
        Write(json, "irr"u8, ioApic.Requested);
        Write(json, ioApic.Unread);
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, ReadOnlySpan<byte> name, IEnumerable<int> numbers)
    {
        json.WriteStartArray(name);
        foreach (int number in numbers)
        {
            json.WriteNumberValue(number);
        }

        json.WriteEndArray();
    }

    private static void Write(Utf8JsonWriter json, ImmutableArray<string> unread)
    {
        if (unread.IsEmpty)
        {
            return;
        }

        json.WriteStartArray("unread"u8);
        foreach (string line in unread)
        {
            json.WriteStringValue(line);
        }

        json.WriteEndArray();
    }

    private static void Text(Utf8JsonWriter json, ReadOnlySpan<byte> name, string? value)
    {
        if (value is not null)
        {
            json.WriteString(name, value);
        }
    }

    private static void Number(Utf8JsonWriter json, ReadOnlySpan<byte> name, int? value)
    {
        if (value is { } number)
        {
            json.WriteNumber(name, number);
        }
    }

    private static void Hex(Utf8JsonWriter json, ReadOnlySpan<byte> name, ulong? value)
    {
        if (value is { } number)
        {
            json.WriteString(name, TraceHex.Format(number));
        }
    }

    private static void Hex(Utf8JsonWriter json, string name, ulong value) => json.WriteString(name, TraceHex.Format(value));
}
