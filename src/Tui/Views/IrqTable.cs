using System.Globalization;
using KTrace.Tracing.Interrupts;

namespace KTrace.Tui.Views;

/// <summary>The kernel's interrupts, one a line.</summary>
/// <param name="all">Those without a handler too.</param>
public sealed class IrqTable(InterruptsQuery picked, bool all = false) : View
{
    public override IEnumerable<TextLine> Lines(int? width)
    {
        IrqDescription[] shown = [.. picked.Interrupts.Irqs.Where(i => all || !i.Actions.IsEmpty)];
        if (width is not null)
        {
            yield return InterruptText.Title(picked).Fit(width);
            int hidden = picked.Interrupts.Irqs.Length - shown.Length;
            yield return new TextLine().Add(Plural.Of(shown.Length, "interrupt") + (hidden == 0 ? "" : $", and {hidden} without a handler (--all shows them)"));
            yield return new TextLine();
        }

        var table = new ColumnLines(
            new("IRQ", IsNumber: true), new("CHIP", Rank: 1), new("HWIRQ", IsNumber: true, Rank: 3), new("VEC", IsNumber: true), new("CPU", IsNumber: true), new("AFFINITY", Rank: 2),
            new("TYPE", Rank: 4), new("COUNT", IsNumber: true), new("STATE", Rank: 6), new("MESSAGE", Rank: 7), new("FLOW", Rank: 8), new("DOMAINS", Rank: 9), new("HANDLERS"));
        foreach (IrqDescription irq in shown)
        {
            table.Add(
                InterruptText.Cell(irq.Irq, TextRole.Number), InterruptText.Cell(irq.Chip), InterruptText.Cell(irq.HwIrq?.ToString(CultureInfo.InvariantCulture)),
                InterruptText.Cell(irq.Vector), InterruptText.Cell(irq.Cpu), InterruptText.Cell(irq.Affinity),
                InterruptText.Cell(irq.IsLevel switch { true => "level", false => "edge", _ => null }), InterruptText.Cell(irq.Counts.IsEmpty ? null : irq.Total),
                InterruptText.Cell(string.Join(", ", irq.StateWords), TextRole.Warning),
                InterruptText.Cell(irq.Msi is { } msi ? $"{InterruptText.Hex(msi.Address)} {InterruptText.Hex(msi.Data)}" : null, TextRole.Number),
                InterruptText.Cell(irq.Flow, TextRole.Function), InterruptText.Cell(Domains(irq)), Handlers(irq));
        }

        foreach (TextLine line in table.Lines(width))
        {
            yield return line;
        }
    }

    /// <summary><c>PCI-MSI-2 > VECTOR</c>.</summary>
    internal static string Domains(IrqDescription irq) => string.Join(" > ", irq.Levels.Select(l => l.Domain).OfType<string>());

    /// <summary><c>e1000_intr_msix_rx [eth0-rx-0]</c>.</summary>
    private static TextLine Handlers(IrqDescription irq)
    {
        var line = new TextLine();
        foreach (IrqAction action in irq.Actions)
        {
            line.Add(line.Width == 0 ? "" : ", ").Add(action.Handler ?? "-", TextRole.Function);
            if (action.ThreadHandler is { } thread)
            {
                line.Add(" then ").Add(thread, TextRole.Function);
            }

            if (action.Name is { } name)
            {
                line.Add($" [{name}]", TextRole.Module);
            }
        }

        return line;
    }
}
