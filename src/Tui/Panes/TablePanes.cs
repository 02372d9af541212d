using System.Globalization;
using KTrace.Tracing.Interrupts;
using KTrace.Tui.State;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>Who runs on which CPU.</summary>
internal sealed class CpusPane() : Pane(PaneKind.Cpus, "cpus")
{
    public override PaneRows Rows(UiState state, int width) =>
        state.Session.Stop is { Cpus.IsEmpty: false } stop ? PaneRows.Table(new CpuStatesView(stop.Cpus, stop.Cpu).Lines(width)) : PaneRows.None;

    public override string WhyEmpty(UiState state) => NoMachine(state, "CPUs");
}

/// <summary>Loaded modules.</summary>
internal sealed class ModulesPane() : Pane(PaneKind.Modules, "modules")
{
    public override PaneRows Rows(UiState state, int width)
    {
        var table = new ColumnLines(new("NAME"), new("BASE"), new("SIZE", IsNumber: true, Rank: 2), new("SYMBOLS", Rank: 1), new("BUILD ID", Rank: 3));
        foreach (var module in state.Modules)
        {
            table.Add(new TextLine().Add(module.Name, TextRole.Module), new TextLine().Add($"0x{module.Base:x}", TextRole.Number),
                module.Size > 0 ? new TextLine().Add(module.Size.ToString(CultureInfo.InvariantCulture), TextRole.Number) : null,
                new TextLine().Add(module.HasSymbols ? "yes" : "no", module.HasSymbols ? TextRole.Plain : TextRole.Warning), module.BuildId is { } id ? new TextLine().Add(id, TextRole.Number) : null);
        }

        return state.Modules.IsEmpty ? PaneRows.None : PaneRows.Table(table.Lines(width));
    }

    public override string WhyEmpty(UiState state) => state.Abilities.IsLive ? "no modules are loaded (yet)" : "the trace has no modules";

    public override string? PlaceAt(UiState state, int row) => row < state.Modules.Length ? $"*0x{state.Modules[row].Base:x}" : null;
}

/// <summary>The kernel's interrupts.</summary>
internal sealed class InterruptsPane() : Pane(PaneKind.Interrupts, "interrupts")
{
    public override PaneRows Rows(UiState state, int width)
    {
        if (state.Interrupts is not { } table)
        {
            return PaneRows.None;
        }

        var header = state.Abilities.Header ?? new Tracing.TraceRecord.Header { Tool = "ktrace", Arch = "x86-64" };
        // Title, count and a blank line are the view's own: here the pane's title says that.
        return PaneRows.Table(new IrqTable(new InterruptsQuery(state.Abilities.Title, header, table, null), state.Options.AllInterrupts).Lines(width).Skip(3));
    }

    public override string? Subject(UiState state) => state.Interrupts switch
    {
        null => null,
        { HitSequence: { } hit } => string.Create(CultureInfo.InvariantCulture, $"at hit {hit}"),
        { Irqs: var irqs } when !state.Options.AllInterrupts && irqs.Count(i => i.Actions.IsEmpty) is > 0 and var hidden => $"{hidden} without a handler hidden (Space)",
        _ => null,
    };

    public override string WhyEmpty(UiState state) => state.Abilities.IsLive ? "Enter reads the interrupt table" : "Enter looks for interrupts in the trace (ktrace record --irqs keeps them)";
}

/// <summary>Breakpoints, watchpoints and tracepoints.</summary>
internal sealed class BreakpointsPane() : Pane(PaneKind.Breakpoints, "breakpoints")
{
    public override PaneRows Rows(UiState state, int width)
    {
        var table = new ColumnLines(new("  #"), new("KIND", Rank: 2), new("HITS", IsNumber: true, Rank: 1), new("WHAT"), new("WHERE", Rank: 3));
        foreach (var row in state.Breakpoints)
        {
            var what = new TextLine().Add(row.Text, row.IsEnabled ? TextRole.Function : TextRole.Number);
            if (row.Condition is { Length: > 0 } condition && !row.Text.Contains(condition, StringComparison.Ordinal))
            {
                what.Add(" if ").Add(condition, TextRole.Value);
            }

            table.Add(new TextLine().Add(row.IsEnabled ? "● " : "○ ", TextRole.Breakpoint).Add(row.Number.ToString(CultureInfo.InvariantCulture), TextRole.Number), new TextLine().Add(row.Kind),
                row.Hits > 0 ? new TextLine().Add(row.Hits.ToString(CultureInfo.InvariantCulture)) : null, what, new TextLine().Add(row.Where, row.IsPending ? TextRole.Warning : TextRole.Source));
        }

        return state.Breakpoints.IsEmpty ? PaneRows.None : PaneRows.Table(table.Lines(width));
    }

    public override string WhyEmpty(UiState state) => state.Abilities.IsLive ? "no breakpoints: b sets one at the cursor of source, disassembly or call path; :b FUNCTION" : "the trace has no tracepoints";

    public override string? PlaceAt(UiState state, int row) => row < state.Breakpoints.Length ? state.Breakpoints[row] is { Address: { } address } ? $"*0x{address:x}" : state.Breakpoints[row].Text : null;
}

/// <summary>Two hits or two traces.</summary>
internal sealed class DiffPane() : Pane(PaneKind.Diff, "diff")
{
    public override PaneRows Rows(UiState state, int width) => state.Diff is { } diff ? PaneRows.Of(diff.Lines.At(width)) : PaneRows.None;

    public override string? Subject(UiState state) => state.Diff?.Title;

    public override string WhyEmpty(UiState state) => "m marks a hit in the hits; with two marked d compares them; :diff FILE compares with another trace";
}
