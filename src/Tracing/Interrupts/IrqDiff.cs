using System.Collections.Immutable;
using System.Globalization;

namespace KTrace.Tracing.Interrupts;

/// <summary>What of an interrupt differs.</summary>
/// <param name="What"><c>vector</c>, <c>cpu</c>, <c>handlers</c> …</param>
/// <param name="A">Empty where there is nothing.</param>
public sealed record IrqChange(string What, string A, string B);

/// <summary>An interrupt that is in one snapshot alone (then the other is null), or that is not the same in both.</summary>
public sealed record IrqDifference(IrqDescription? A, IrqDescription? B, ImmutableArray<IrqChange> Changes)
{
    public int Irq => (A ?? B)!.Irq;
}

/// <summary>
/// Two snapshots, interrupt by interrupt (by Linux' number). Addresses (a driver's cookie) and counts are not compared: they differ between any two.
/// </summary>
public sealed record IrqDiff(int Same, ImmutableArray<IrqDifference> Differences)
{
    public bool IsEqual => Differences.IsEmpty;

    public static IrqDiff Compare(TraceRecord.Interrupts a, TraceRecord.Interrupts b)
    {
        ILookup<int, IrqDescription> left = a.Irqs.ToLookup(i => i.Irq), right = b.Irqs.ToLookup(i => i.Irq);
        var differences = ImmutableArray.CreateBuilder<IrqDifference>();
        int same = 0;
        foreach (int irq in a.Irqs.Concat(b.Irqs).Select(i => i.Irq).Distinct().Order())
        {
            (IrqDescription? first, IrqDescription? second) = (left[irq].FirstOrDefault(), right[irq].FirstOrDefault());
            ImmutableArray<IrqChange> changes = first is null || second is null ? [] : [.. Changes(first, second)];
            if (first is not null && second is not null && changes.IsEmpty)
            {
                same++;
            }
            else
            {
                differences.Add(new IrqDifference(first, second, changes));
            }
        }

        return new IrqDiff(same, differences.ToImmutable());
    }

    private static IEnumerable<IrqChange> Changes(IrqDescription a, IrqDescription b)
    {
        (string What, Func<IrqDescription, string> Of)[] members =
        [
            ("chips", i => string.Join(" > ", i.Levels.Select(l => string.Create(CultureInfo.InvariantCulture, $"{l.Chip ?? "-"} {l.HwIrq}")))),
            ("flow", i => i.Flow ?? ""),
            ("trigger", i => i.IsLevel switch { true => "level", false => "edge", _ => "" }),
            ("state", i => string.Join(", ", i.StateWords)),
            ("vector", i => i.Vector?.ToString(CultureInfo.InvariantCulture) ?? ""),
            ("cpu", i => i.Cpu?.ToString(CultureInfo.InvariantCulture) ?? ""),
            ("affinity", i => i.Affinity ?? ""),
            ("effective affinity", i => i.EffectiveAffinity ?? ""),
            ("message", i => i.Msi is { } msi ? $"{TraceHex.Format(msi.Address)} {TraceHex.Format(msi.Data)}" : ""),
            ("handlers", i => string.Join(", ", i.Actions.Select(h => $"{h.Handler ?? "-"} [{h.Name ?? "-"}]"))),
        ];
        foreach ((string what, Func<IrqDescription, string> of) in members)
        {
            if (of(a) != of(b))
            {
                yield return new IrqChange(what, of(a), of(b));
            }
        }
    }
}
