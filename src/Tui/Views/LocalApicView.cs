using System.Globalization;
using KTrace.Tracing.Interrupts;

namespace KTrace.Tui.Views;

/// <summary>Every CPU's local APIC.</summary>
public sealed class LocalApicView(InterruptsQuery picked) : View
{
    private const int Names = 14;

    public override IEnumerable<TextLine> Lines(int? width)
    {
        yield return InterruptText.Title(picked).Fit(width);
        if (picked.Interrupts.LocalApics.IsEmpty)
        {
            yield return new TextLine().Add("the machine's monitor showed no local APIC");
        }

        foreach (LocalApic apic in picked.Interrupts.LocalApics)
        {
            yield return new TextLine();
            foreach (TextLine line in Lines(apic, width))
            {
                yield return line;
            }
        }
    }

    private static IEnumerable<TextLine> Lines(LocalApic apic, int? width)
    {
        string enabled = apic.IsEnabled switch { true => "enabled", false => "disabled", _ => "not told" };
        TextLine title = new TextLine().Add(string.Create(CultureInfo.InvariantCulture, $"CPU {apic.Cpu}"), TextRole.Heading).Add($"  local APIC {enabled}");
        if (apic.Spurious is { } spurious)
        {
            title.Add(string.Create(CultureInfo.InvariantCulture, $", spurious vector {spurious & 0xff}"));
        }

        yield return title.Fit(width);
        yield return Line("priorities").Add(string.Join(
            "  ",
            new[] { ("TPR", apic.TaskPriority), ("PPR", apic.ProcessorPriority), ("APR", apic.ArbitrationPriority), ("LDR", apic.LogicalDestination), ("DFR", apic.DestinationFormat) }
                .Where(r => r.Item2 is not null).Select(r => $"{r.Item1} {InterruptText.Hex(r.Item2!.Value)}"))).Fit(width);
        foreach (TextLine line in Line("in service").Wrap(Vectors(apic.InService), TextRole.Value, width).Concat(Line("requested").Wrap(Vectors(apic.Requested), TextRole.Value, width)))
        {
            yield return line;
        }

        if (apic.Timer is { } timer)
        {
            yield return Line("timer").Add(string.Create(CultureInfo.InvariantCulture, $"initial count {timer.InitialCount}, now {timer.CurrentCount}, bus clock divided by {timer.Divisor}")).Fit(width);
        }

        if (apic.Command is { } command)
        {
            string destination = ((command >> 18) & 3) switch
            {
                1 => "to itself",
                2 => "to all",
                3 => "to all others",
                _ => apic.CommandDestination is { } to ? $"to {InterruptText.Hex(to)}" : "",
            };
            yield return Line("last sent").Add(string.Create(
                CultureInfo.InvariantCulture, $"vector {command & 0xff}, {InterruptText.Of((DeliveryMode)((command >> 8) & 7))}, {destination}")).Fit(width);
        }

        if (apic.ErrorStatus is { } error and not 0)
        {
            yield return Line("errors").Add(InterruptText.Hex(error), TextRole.Warning);
        }

        if (apic.Vectors.IsEmpty && apic.Unread.IsEmpty)
        {
            yield break;
        }

        var table = new ColumnLines(new("  LOCAL VECTOR"), new("VEC", IsNumber: true), new("DELIVERY"), new("TRIGGER"), new("STATE"), new("TIMER"));
        foreach (LocalVector vector in apic.Vectors)
        {
            table.Add(
                InterruptText.Cell("  " + vector.Name), InterruptText.Cell(vector.Vector), InterruptText.Cell(InterruptText.Of(vector.Delivery)),
                InterruptText.Cell($"{(vector.IsLevel ? "level" : "edge")} {(vector.IsActiveLow ? "low" : "high")}"),
                InterruptText.Cell(vector.IsMasked ? "masked" : vector.IsPending ? "pending" : null, TextRole.Warning), InterruptText.Cell(vector.TimerMode));
        }

        foreach (TextLine line in table.Lines(width).Concat(apic.Unread.Select(u => Line("raw").Add(u, TextRole.Warning).Fit(width))))
        {
            yield return line;
        }
    }

    private static string Vectors(IEnumerable<ApicVector> vectors)
    {
        string list = string.Join(", ", vectors.Select(v => string.Create(CultureInfo.InvariantCulture, $"{v.Vector}{(v.IsLevel ? " (level)" : "")}")));
        return list.Length == 0 ? "none" : list;
    }

    private static TextLine Line(string name) => new TextLine().Add("  " + name, TextRole.Heading).PadTo(Names);
}
