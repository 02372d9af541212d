using KTrace.Tui.State;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>Watches, then the chosen frame's arguments and locals, as a tree.</summary>
internal sealed class VariablesPane() : Pane(PaneKind.Variables, "variables")
{
    public override PaneRows Rows(UiState state, int width)
    {
        var rows = state.VariableRows;
        return new PaneRows(rows.Length, i => Line(rows[i]), i => $"{rows[i].Value.Name} {rows[i].Value.Text} {rows[i].Value.Type}");
    }

    public override string? Subject(UiState state) => state.Variables.Watches.IsEmpty ? null : Plural.Of(state.Variables.Watches.Length, "watch").Replace("watchs", "watches", StringComparison.Ordinal);

    public override string WhyEmpty(UiState state) => state switch
    {
        { Session.Shown: not null } or { Abilities.IsLive: false } => "no arguments of this frame were recorded",
        { Session.Run: RunState.Stopped } => "no variables here; w watches an expression",
        _ => NoMachine(state, "variables"),
    };

    public override string? ExpressionAt(UiState state, int row) => row < state.VariableRows.Length ? state.VariableRows[row].Value.Expression : null;

    private static TextLine Line(VariableRow row)
    {
        var value = row.Value;
        var line = new TextLine().Add(row is { IsWatch: true, Depth: 0 } ? "◆" : " ", TextRole.Key).PadTo(1 + (2 * row.Depth));
        if (row.Error is { } failed)
        {
            return line.Add("  ").Add(failed, TextRole.Warning);
        }

        line.Add(!value.CanExpand ? "  " : row.IsOpen ? "▾ " : "▸ ", TextRole.Key).Add(value.Changed ? "!" : "", TextRole.Changed).Add(value.Name, value.Changed ? TextRole.Changed : TextRole.Function);
        if (value.Error is { } error)
        {
            return line.Add("  ").Add(error, TextRole.Warning);
        }

        if (value.Text is { } text)
        {
            line.Add(" = ").Add(text, value.Changed ? TextRole.Changed : TextRole.Plain);
        }
        else if (value.Provenance is { } where)
        {
            line.Add($" <{where}>", TextRole.Source);
        }

        if (value.Type is { } type)
        {
            line.Add("  ").Add(type, TextRole.Number);
        }

        return value is { Provenance: { } provenance, Text: not null } ? line.Add($", {provenance}", TextRole.Source) : line;
    }
}
