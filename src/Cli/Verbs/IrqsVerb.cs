// ktrace irqs: the interrupts of a recorded trace. Results go to standard output, remarks about the file to standard error. Exit 0, 1 where two differ, 2 error.
using System.CommandLine;
using System.Text;
using KTrace.Tracing;
using KTrace.Tracing.Export;
using KTrace.Tracing.Interrupts;
using KTrace.Tui.Views;

namespace KTrace.Cli.Verbs;

internal static class IrqsVerb
{
    private const int Same = 0, Differs = 1;

    public static Command Create()
    {
        var trace = new Argument<string>("trace") { HelpName = "FILE[#HIT]", Description = "A trace with interrupts in it: the last that were recorded, or those of one hit" };
        var other = new Argument<string?>("other") { HelpName = "FILE[#HIT]", Description = "Show what differs from this one instead", Arity = ArgumentArity.ZeroOrOne };
        var localApic = new Option<bool>("--lapic") { Description = "Each CPU's local APIC instead" };
        var ioApic = new Option<bool>("--ioapic") { Description = "The I/O APIC's redirection table instead" };
        var pic = new Option<bool>("--pic") { Description = "The two 8259A instead" };
        var all = new Option<bool>("--all") { Description = "Interrupts without a handler too" };
        var json = new Option<bool>("--json") { Description = "Print one JSON object: the record as in the file, or the comparison" };
        var command = new Command(
            "irqs",
            """
            Show the kernel's interrupts at a hit: chip, vector, CPU, affinity, MSI message, handlers, counts; or the machine's interrupt controllers.

            They are recorded where a tracepoint asks for them (-b 'PLACE irqs'), and at every hit with ktrace record --irqs.

            Examples:
              ktrace record e1000e-msix -b 'e1000_request_irq return irqs' -o run.ktrace
              ktrace irqs run.ktrace
              ktrace irqs run.ktrace --lapic
              ktrace irqs 'run.ktrace#1' 'run.ktrace#2'
            """)
        {
            trace, other, localApic, ioApic, pic, all, json,
        };
        command.SetAction(result => ShowVerb.Guard(result.InvocationConfiguration, () =>
        {
            InterruptsQuery first = Pick(result.GetRequiredValue(trace));
            View[] parts =
            [
                .. result.GetValue(localApic) ? [new LocalApicView(first)] : Array.Empty<View>(),
                .. result.GetValue(ioApic) ? [new IoApicView(first)] : Array.Empty<View>(),
                .. result.GetValue(pic) ? [new PicView(first)] : Array.Empty<View>(),
            ];
            if (result.GetValue(other) is { } second)
            {
                return parts.Length > 0
                    ? throw new TraceQueryException("two snapshots are compared by their interrupts: give --lapic, --ioapic and --pic with one")
                    : Compare(first, Pick(second), result.GetValue(json), result.InvocationConfiguration);
            }

            return Show(first, parts.Length > 0 ? parts : [new IrqTable(first, result.GetValue(all))], result.GetValue(json), result.InvocationConfiguration);
        }));
        return command;
    }

    private static InterruptsQuery Pick(string text)
    {
        HitReference reference = HitReference.Parse(text);
        return InterruptsQuery.Pick(reference.File, reference.Hit);
    }

    private static int Show(InterruptsQuery picked, View[] views, bool json, InvocationConfiguration configuration)
    {
        ViewOutput output = ViewOutput.For(configuration.Output);
        if (json)
        {
            Print(configuration, output, InterruptsJson.Of(picked.Interrupts));
        }

        foreach (View view in json ? [] : views)
        {
            output.Write(view);
        }

        ShowVerb.Remark(configuration, picked.File, picked.Incomplete);
        return Same;
    }

    private static int Compare(InterruptsQuery a, InterruptsQuery b, bool json, InvocationConfiguration configuration)
    {
        ViewOutput output = ViewOutput.For(configuration.Output);
        IrqDiff diff = IrqDiff.Compare(a.Interrupts, b.Interrupts);
        if (json)
        {
            Print(configuration, output, InterruptsJson.Of(diff));
        }
        else
        {
            output.Write(new IrqDiffView(diff, a, b));
        }

        ShowVerb.Remark(configuration, a.File, a.Incomplete);
        ShowVerb.Remark(configuration, b.File, b.Incomplete);
        return diff.IsEqual ? Same : Differs;
    }

    private static void Print(InvocationConfiguration configuration, ViewOutput output, byte[] json)
    {
        string text = Encoding.UTF8.GetString(json);
        configuration.Output.WriteLine(output.IsTerminal ? TerminalText.EscapeJson(text) : text);
    }
}
