using System.Collections.Immutable;
using System.Globalization;

namespace KTrace.Tracing.Interrupts;

/// <summary>Decodes an <c>interrupts</c> record. The cursor stands on the first property; fields that are not known are ignored.</summary>
internal static class InterruptsParts
{
    // More than any machine has; bounds what a hostile line can make of itself.
    private const int MaxIrqs = 1 << 16;
    private const int MaxParts = 1 << 14;
    private const int MaxPins = 256;
    private const int MaxVectors = 256;

    public static TraceRecord.Interrupts Interrupts(ref RecordJson json)
    {
        var interrupts = new TraceRecord.Interrupts();
        while (json.NextProperty())
        {
            if (json.Is("hit"u8))
            {
                interrupts = interrupts with { HitSequence = json.Int64("hit") };
            }
            else if (json.Is("at_return"u8))
            {
                interrupts = interrupts with { AtReturn = json.Boolean("at_return") };
            }
            else if (json.Is("clock"u8))
            {
                interrupts = interrupts with { Clock = HitParts.Clock(ref json) };
            }
            else if (json.Is("irqs"u8))
            {
                interrupts = interrupts with { Irqs = Array(ref json, "irqs", MaxIrqs, Irq) };
            }
            else if (json.Is("lapics"u8))
            {
                interrupts = interrupts with { LocalApics = Array(ref json, "lapics", MaxParts, LocalApic) };
            }
            else if (json.Is("ioapics"u8))
            {
                interrupts = interrupts with { IoApics = Array(ref json, "ioapics", MaxParts, IoApic) };
            }
            else if (json.Is("pics"u8))
            {
                interrupts = interrupts with { Pics = Array(ref json, "pics", MaxParts, Pic) };
            }
            else
            {
                json.Skip();
            }
        }

        return interrupts;
    }

    private static IrqDescription Irq(ref RecordJson json)
    {
        var irq = new IrqDescription(-1);
        while (json.NextProperty())
        {
            if (json.Is("irq"u8))
            {
                irq = irq with { Irq = json.Int32("irq") };
            }
            else if (json.Is("levels"u8))
            {
                irq = irq with { Levels = Array(ref json, "levels", MaxParts, Level) };
            }
            else if (json.Is("name"u8))
            {
                irq = irq with { Name = json.OptionalString("name") };
            }
            else if (json.Is("flow"u8))
            {
                irq = irq with { Flow = json.OptionalString("flow") };
            }
            else if (json.Is("vector"u8))
            {
                irq = irq with { Vector = json.Int32("vector") };
            }
            else if (json.Is("cpu"u8))
            {
                irq = irq with { Cpu = json.Int32("cpu") };
            }
            else if (json.Is("affinity"u8))
            {
                irq = irq with { Affinity = json.OptionalString("affinity") };
            }
            else if (json.Is("effective_affinity"u8))
            {
                irq = irq with { EffectiveAffinity = json.OptionalString("effective_affinity") };
            }
            else if (json.Is("msi"u8))
            {
                irq = irq with { Msi = Message(ref json) };
            }
            else if (json.Is("state"u8))
            {
                irq = irq with { State = UInt32(ref json, "state") };
            }
            else if (json.Is("depth"u8))
            {
                irq = irq with { Depth = json.Int32("depth") };
            }
            else if (json.Is("actions"u8))
            {
                irq = irq with { Actions = Array(ref json, "actions", MaxParts, Action) };
            }
            else if (json.Is("counts"u8))
            {
                irq = irq with { Counts = [.. Numbers(ref json, "counts", MaxParts)] };
            }
            else
            {
                json.Skip();
            }
        }

        return irq.Irq >= 0 ? irq : throw json.Fail("an irq without irq");
    }

    private static IrqLevel Level(ref RecordJson json)
    {
        string? chip = null, domain = null;
        ulong hwirq = 0;
        while (json.NextProperty())
        {
            if (json.Is("chip"u8))
            {
                chip = json.OptionalString("chip");
            }
            else if (json.Is("hwirq"u8))
            {
                hwirq = json.UInt64("hwirq");
            }
            else if (json.Is("domain"u8))
            {
                domain = json.OptionalString("domain");
            }
            else
            {
                json.Skip();
            }
        }

        return new IrqLevel(chip, hwirq, domain);
    }

    private static MsiMessage Message(ref RecordJson json)
    {
        json.StartObject("msi");
        ulong address = 0;
        uint data = 0;
        while (json.NextProperty())
        {
            if (json.Is("address"u8))
            {
                address = json.Hex("address");
            }
            else if (json.Is("data"u8))
            {
                data = UInt32(ref json, "data");
            }
            else
            {
                json.Skip();
            }
        }

        return new MsiMessage(address, data);
    }

    private static IrqAction Action(ref RecordJson json)
    {
        string? handler = null, name = null, thread = null;
        ulong device = 0;
        uint flags = 0;
        while (json.NextProperty())
        {
            if (json.Is("handler"u8))
            {
                handler = json.OptionalString("handler");
            }
            else if (json.Is("name"u8))
            {
                name = json.OptionalString("name");
            }
            else if (json.Is("thread"u8))
            {
                thread = json.OptionalString("thread");
            }
            else if (json.Is("dev_id"u8))
            {
                device = json.Hex("dev_id");
            }
            else if (json.Is("flags"u8))
            {
                flags = UInt32(ref json, "flags");
            }
            else
            {
                json.Skip();
            }
        }

        return new IrqAction(handler, name, thread, device, flags);
    }

    private static LocalApic LocalApic(ref RecordJson json)
    {
        var apic = new LocalApic(-1);
        IReadOnlyList<int> inService = [], requested = [], level = [];
        while (json.NextProperty())
        {
            if (json.Is("cpu"u8))
            {
                apic = apic with { Cpu = json.Int32("cpu") };
            }
            else if (json.Is("lvt"u8))
            {
                json.StartObject("lvt");
                ImmutableArray<LocalVector>.Builder vectors = ImmutableArray.CreateBuilder<LocalVector>();
                while (json.NextProperty())
                {
                    string name = json.Name(null);
                    vectors.Add(vectors.Count < MaxParts ? new LocalVector(name, UInt32(ref json, "an entry of lvt")) : throw json.Fail("too many entries in lvt"));
                }

                apic = apic with { Vectors = vectors.DrainToImmutable() };
            }
            else if (json.Is("timer"u8))
            {
                apic = apic with { Timer = Timer(ref json) };
            }
            else if (json.Is("isr"u8))
            {
                inService = Vectors(ref json, "isr");
            }
            else if (json.Is("irr"u8))
            {
                requested = Vectors(ref json, "irr");
            }
            else if (json.Is("level"u8))
            {
                level = Vectors(ref json, "level");
            }
            else if (json.Is("unread"u8))
            {
                apic = apic with { Unread = Texts(ref json) };
            }
            else
            {
                apic = Register(ref json, apic);
            }
        }

        return apic.Cpu < 0 ? throw json.Fail("a lapic without cpu") : apic with
        {
            InService = [.. inService.Select(v => new ApicVector(v, level.Contains(v)))], Requested = [.. requested.Select(v => new ApicVector(v, level.Contains(v)))],
        };
    }

    private static LocalApic Register(ref RecordJson json, LocalApic apic)
    {
        if (json.Is("spiv"u8))
        {
            return apic with { Spurious = UInt32(ref json, "spiv") };
        }

        if (json.Is("icr"u8))
        {
            return apic with { Command = UInt32(ref json, "icr") };
        }

        if (json.Is("icr2"u8))
        {
            return apic with { CommandDestination = UInt32(ref json, "icr2") };
        }

        if (json.Is("esr"u8))
        {
            return apic with { ErrorStatus = UInt32(ref json, "esr") };
        }

        if (json.Is("apr"u8))
        {
            return apic with { ArbitrationPriority = UInt32(ref json, "apr") };
        }

        if (json.Is("tpr"u8))
        {
            return apic with { TaskPriority = UInt32(ref json, "tpr") };
        }

        if (json.Is("dfr"u8))
        {
            return apic with { DestinationFormat = UInt32(ref json, "dfr") };
        }

        if (json.Is("ldr"u8))
        {
            return apic with { LogicalDestination = UInt32(ref json, "ldr") };
        }

        if (json.Is("ppr"u8))
        {
            return apic with { ProcessorPriority = UInt32(ref json, "ppr") };
        }

        json.Skip();
        return apic;
    }

    private static ApicTimer Timer(ref RecordJson json)
    {
        json.StartObject("timer");
        uint divide = 0;
        long initial = 0, current = 0;
        while (json.NextProperty())
        {
            if (json.Is("dcr"u8))
            {
                divide = UInt32(ref json, "dcr");
            }
            else if (json.Is("initial"u8))
            {
                initial = json.Int64("initial");
            }
            else if (json.Is("current"u8))
            {
                current = json.Int64("current");
            }
            else
            {
                json.Skip();
            }
        }

        return new ApicTimer(divide, (uint)initial, (uint)current);
    }

    private static IoApic IoApic(ref RecordJson json)
    {
        var ioApic = new IoApic(-1);
        while (json.NextProperty())
        {
            if (json.Is("index"u8))
            {
                ioApic = ioApic with { Index = json.Int32("index") };
            }
            else if (json.Is("version"u8))
            {
                ioApic = ioApic with { Version = UInt32(ref json, "version") };
            }
            else if (json.Is("id"u8))
            {
                ioApic = ioApic with { Id = UInt32(ref json, "id") };
            }
            else if (json.Is("pins"u8))
            {
                json.StartObject("pins");
                ImmutableArray<RedirectionEntry>.Builder entries = ImmutableArray.CreateBuilder<RedirectionEntry>();
                while (json.NextProperty())
                {
                    if (!int.TryParse(json.Name(null), NumberStyles.None, CultureInfo.InvariantCulture, out int pin) || entries.Count == MaxPins)
                    {
                        throw json.Fail("pins are numbers, with their entry each");
                    }

                    entries.Add(new RedirectionEntry(pin, json.Hex("a pin's entry")));
                }

                ioApic = ioApic with { Entries = entries.DrainToImmutable() };
            }
            else if (json.Is("irr"u8))
            {
                ioApic = ioApic with { Requested = [.. Vectors(ref json, "irr")] };
            }
            else if (json.Is("unread"u8))
            {
                ioApic = ioApic with { Unread = Texts(ref json) };
            }
            else
            {
                json.Skip();
            }
        }

        return ioApic.Index >= 0 ? ioApic : throw json.Fail("an ioapic without index");
    }

    private static Pic Pic(ref RecordJson json)
    {
        var pic = new Pic(-1);
        while (json.NextProperty())
        {
            if (json.Is("index"u8))
            {
                pic = pic with { Index = json.Int32("index") };
            }
            else if (json.Is("irr"u8))
            {
                pic = pic with { Requested = (byte)UInt32(ref json, "irr") };
            }
            else if (json.Is("imr"u8))
            {
                pic = pic with { Mask = (byte)UInt32(ref json, "imr") };
            }
            else if (json.Is("isr"u8))
            {
                pic = pic with { InService = (byte)UInt32(ref json, "isr") };
            }
            else if (json.Is("base"u8))
            {
                pic = pic with { VectorBase = (byte)UInt32(ref json, "base") };
            }
            else if (json.Is("elcr"u8))
            {
                pic = pic with { EdgeLevel = (byte)UInt32(ref json, "elcr") };
            }
            else
            {
                json.Skip();
            }
        }

        return pic.Index >= 0 ? pic : throw json.Fail("a pic without index");
    }

    private delegate T Part<T>(ref RecordJson json);

    private static ImmutableArray<T> Array<T>(ref RecordJson json, string what, int limit, Part<T> part)
    {
        json.StartArray(what);
        ImmutableArray<T>.Builder parts = ImmutableArray.CreateBuilder<T>();
        while (json.NextElement())
        {
            json.ElementObject("each of " + what);
            parts.Add(parts.Count < limit ? part(ref json) : throw json.Fail($"more than {limit} {what}"));
        }

        return parts.DrainToImmutable();
    }

    private static List<uint> Numbers(ref RecordJson json, string what, int limit)
    {
        json.StartArray(what);
        var numbers = new List<uint>();
        while (json.NextElement())
        {
            numbers.Add(numbers.Count < limit ? json.ElementUInt32("each of " + what) : throw json.Fail($"more than {limit} {what}"));
        }

        return numbers;
    }

    private static IReadOnlyList<int> Vectors(ref RecordJson json, string what) => [.. Numbers(ref json, what, MaxVectors).Select(n => n < MaxVectors ? (int)n : 0)];

    private static ImmutableArray<string> Texts(ref RecordJson json)
    {
        json.StartArray("unread");
        ImmutableArray<string>.Builder texts = ImmutableArray.CreateBuilder<string>();
        while (json.NextElement())
        {
            texts.Add(json.ElementString("an unread line") ?? throw json.Fail("an unread line is a string"));
        }

        return texts.DrainToImmutable();
    }

    private static uint UInt32(ref RecordJson json, string what) => json.Hex(what) is <= uint.MaxValue and var value ? (uint)value : throw json.Fail($"{what} has 32 bits");
}
