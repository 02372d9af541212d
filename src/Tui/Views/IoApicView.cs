using System.Globalization;
using KTrace.Tracing.Interrupts;

namespace KTrace.Tui.Views;

/// <summary>The I/O APIC's redirection table, with the names of the handlers whose interrupts its pins are.</summary>
public sealed class IoApicView(InterruptsQuery picked) : View
{
    public override IEnumerable<TextLine> Lines(int? width)
    {
        yield return InterruptText.Title(picked).Fit(width);
        if (picked.Interrupts.IoApics.IsEmpty)
        {
            yield return new TextLine().Add("the machine's monitor showed no I/O APIC");
        }

        foreach (IoApic ioApic in picked.Interrupts.IoApics)
        {
            yield return new TextLine();
            string about = string.Join(", ", new[]
            {
                ioApic.Id is { } id ? $"id {InterruptText.Hex(id)}" : "", ioApic.Version is { } version ? $"version {InterruptText.Hex(version)}" : "",
                ioApic.Requested.IsEmpty ? "no pin asks" : $"pins that ask: {string.Join(", ", ioApic.Requested)}",
            }.Where(t => t.Length > 0));
            yield return new TextLine().Add(string.Create(CultureInfo.InvariantCulture, $"I/O APIC {ioApic.Index}"), TextRole.Heading).Add("  " + about).Fit(width);
            foreach (TextLine line in Table(ioApic).Lines(width).Concat(ioApic.Unread.Select(u => new TextLine().Add("not understood: " + u, TextRole.Warning).Fit(width))))
            {
                yield return line;
            }
        }
    }

    private ColumnLines Table(IoApic ioApic)
    {
        var table = new ColumnLines(
            new("PIN", IsNumber: true), new("VEC", IsNumber: true), new("DESTINATION"), new("DELIVERY", Rank: 1), new("TRIGGER"), new("STATE"), new("INTERRUPT"));
        foreach (RedirectionEntry entry in ioApic.Entries)
        {
            string state = string.Join(", ", new[] { entry.IsMasked ? "masked" : "", entry.IsPending ? "pending" : "", entry.RemoteIrr ? "in service" : "" }.Where(t => t.Length > 0));
            IrqDescription? irq = entry.IsMasked ? null
                : picked.Interrupts.Irqs.FirstOrDefault(i => i.Chip is { } chip && chip.Contains("IO-APIC", StringComparison.Ordinal) && i.HwIrq == (ulong)entry.Pin && !i.Actions.IsEmpty);
            table.Add(
                InterruptText.Cell(entry.Pin, TextRole.Number), InterruptText.Cell(entry.Vector), InterruptText.Cell($"{(entry.IsLogical ? "logical" : "APIC")} {entry.Destination}"),
                InterruptText.Cell(InterruptText.Of(entry.Delivery)), InterruptText.Cell($"{(entry.IsLevel ? "level" : "edge")} {(entry.IsActiveLow ? "low" : "high")}"),
                InterruptText.Cell(state, TextRole.Warning),
                irq is null ? null : InterruptText.Cell(string.Create(CultureInfo.InvariantCulture, $"{irq.Irq} {string.Join(", ", irq.Actions.Select(a => a.Name))}")));
        }

        return table;
    }
}

/// <summary>The two 8259A.</summary>
public sealed class PicView(InterruptsQuery picked) : View
{
    public override IEnumerable<TextLine> Lines(int? width)
    {
        yield return InterruptText.Title(picked).Fit(width);
        if (picked.Interrupts.Pics.IsEmpty)
        {
            yield return new TextLine().Add("the machine's monitor showed no 8259A");
            yield break;
        }

        yield return new TextLine();
        var table = new ColumnLines(new("PIC"), new("VECTORS"), new("ASKING"), new("MASKED"), new("IN SERVICE"), new("LEVEL"));
        foreach (Pic pic in picked.Interrupts.Pics)
        {
            table.Add(
                InterruptText.Cell(pic.Index == 0 ? "0 (master)" : "1 (slave)", TextRole.Heading),
                InterruptText.Cell(string.Create(CultureInfo.InvariantCulture, $"0x{pic.VectorBase:x2}-0x{(byte)(pic.VectorBase + 7):x2}")), Bits(pic.Requested), Bits(pic.Mask), Bits(pic.InService), Bits(pic.EdgeLevel));
        }

        foreach (TextLine line in table.Lines(width))
        {
            yield return line;
        }
    }

    /// <summary>Lines whose bits are set.</summary>
    private static TextLine Bits(byte bits) => new TextLine().Add(bits switch
    {
        0 => "none",
        0xff => "all",
        _ => string.Join(",", Enumerable.Range(0, 8).Where(i => (bits & (1 << i)) != 0)),
    });
}
