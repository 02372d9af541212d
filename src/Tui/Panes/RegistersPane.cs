using System.Collections.Immutable;
using KTrace.Tracing;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>The registers: what changed since the stop before is marked, flags and addresses are said in words.</summary>
internal sealed class RegistersPane() : Pane(PaneKind.Registers, "registers")
{
    public override PaneRows Rows(UiState state, int width)
    {
        var registers = Of(state);
        if (registers.IsEmpty)
        {
            return PaneRows.None;
        }

        var names = registers.Max(r => TerminalText.Width(TerminalText.Sanitize(r.Name)));
        var digits = registers.Any(r => r.Value > uint.MaxValue) || registers.Any(r => r.Name == "rip") ? 16 : 8;
        return new PaneRows(registers.Length, i => Line(registers[i]));

        TextLine Line(RegisterRow row) => new TextLine().Add(row.Changed ? "!" : " ", TextRole.Changed).Add(row.Name, row.Changed ? TextRole.Changed : TextRole.Number).PadTo(1 + names + 1)
            .Add(row.Value.ToString(digits == 16 ? "x16" : "x8", System.Globalization.CultureInfo.InvariantCulture), row.Changed ? TextRole.Changed : TextRole.Plain)
            .Add(row.Meaning is { Length: > 0 } meaning ? "  " + meaning : "", TextRole.Function);
    }

    public override string? Subject(UiState state) => Of(state).Count(r => r.Changed) is > 0 and var changed ? $"{changed} changed" : null;

    public override string WhyEmpty(UiState state) => state.Abilities.IsLive ? NoMachine(state, "registers") : "the trace has no registers of this hit";

    public override string? PlaceAt(UiState state, int row) => Of(state) is var all && row < all.Length && all[row].Value >= 0x1000 ? $"*0x{all[row].Value:x}" : null;

    public override string? ExpressionAt(UiState state, int row) => Of(state) is var all && row < all.Length ? "$" + all[row].Name : null;

    internal static ImmutableArray<RegisterRow> Of(UiState state) => state.Session switch
    {
        { Shown.Hit: { } hit } => hit.Registers.IsDefaultOrEmpty ? [] : [.. hit.Registers.Select(r => new RegisterRow(r.Name, r.Value, false, null))],
        { Stop: { } stop } => stop.Registers,
        _ => [],
    };
}
