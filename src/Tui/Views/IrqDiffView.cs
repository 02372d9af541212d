using System.Globalization;
using KTrace.Tracing.Interrupts;

namespace KTrace.Tui.Views;

/// <summary>What differs between the interrupts of two snapshots.</summary>
public sealed class IrqDiffView(IrqDiff diff, InterruptsQuery a, InterruptsQuery b) : View
{
    public override IEnumerable<TextLine> Lines(int? width)
    {
        yield return new TextLine().Add("- ", TextRole.Removed).Add(InterruptText.Title(a)).Fit(width);
        yield return new TextLine().Add("+ ", TextRole.Added).Add(InterruptText.Title(b)).Fit(width);
        yield return new TextLine().Add(diff.IsEqual
            ? $"{Plural.Of(diff.Same, "interrupt")}, all the same"
            : $"{Plural.Of(diff.Differences.Length, "difference")}, {Plural.Of(diff.Same, "interrupt")} the same (counts are not compared)");
        foreach (IrqDifference difference in diff.Differences)
        {
            yield return new TextLine();
            IrqDescription irq = (difference.B ?? difference.A)!;
            string names = string.Join(", ", irq.Actions.Select(n => n.Name).OfType<string>());
            string only = difference switch { { A: null } => ", new", { B: null } => ", gone", _ => "" };
            yield return new TextLine().Add(string.Create(CultureInfo.InvariantCulture, $"irq {difference.Irq}"), TextRole.Heading).Add($"  {names}{only}").Fit(width);
            foreach (TextLine line in difference.Changes.IsEmpty ? Whole(difference, width) : difference.Changes.SelectMany(c => Change(c, width)))
            {
                yield return line;
            }
        }
    }

    private static IEnumerable<TextLine> Whole(IrqDifference difference, int? width)
    {
        (string sign, TextRole role, IrqDescription irq) = difference.A is { } gone ? ("- ", TextRole.Removed, gone) : ("+ ", TextRole.Added, difference.B!);
        string text = string.Create(CultureInfo.InvariantCulture, $"{irq.Chip ?? "-"} {irq.HwIrq}")
            + (irq.Vector is { } vector ? string.Create(CultureInfo.InvariantCulture, $", vector {vector} on CPU {irq.Cpu}") : "")
            + (irq.Actions.IsEmpty ? ", no handler" : ", " + string.Join(", ", irq.Actions.Select(h => h.Handler ?? "-")));
        return new TextLine().Add("  " + sign, role).Wrap(text, role, width);
    }

    private static IEnumerable<TextLine> Change(IrqChange change, int? width) =>
        new TextLine().Add("  - ", TextRole.Removed).Wrap($"{change.What}: {Or(change.A)}", TextRole.Removed, width)
            .Concat(new TextLine().Add("  + ", TextRole.Added).Wrap($"{change.What}: {Or(change.B)}", TextRole.Added, width));

    private static string Or(string text) => text.Length == 0 ? "none" : text;
}
