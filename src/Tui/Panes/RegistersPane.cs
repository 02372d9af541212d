using System.Collections.Immutable;
using System.Globalization;
using KTrace.Tracing;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>The registers, in as many columns as there is room for: what changed since the stop before is marked, flags and addresses are said in words.</summary>
internal sealed class RegistersPane() : Pane(PaneKind.Registers, "registers")
{
    // Cells of a column for flags and symbols: those of most registers fit into them. A narrow pane has two columns with fewer rather than one. The whole of the chosen register's stands in the title.
    private const int Meaning = 20;
    private const int LeastMeaning = 10;

    /// <summary>Registers stand below each other, then beside: a column is read from top to bottom, as gdb's tui and ls do it.</summary>
    private readonly record struct Shape(int Rows, int Columns, int CellWidth, int Names, int Digits)
    {
        public static Shape Of(ImmutableArray<RegisterRow> registers, int width)
        {
            var names = registers.Max(r => TerminalText.Width(TerminalText.Sanitize(r.Name)));
            var digits = registers.Any(r => r.Value > uint.MaxValue || r.Name == "rip") ? 16 : 8;
            // The cursor's mark, the mark of a change, name, value; the pane itself has a cell for the mark of the first column.
            var value = 2 + names + 1 + digits + 2;
            var fitting = Math.Min(registers.Length, Math.Max((width + 1) / (value + Meaning), Math.Clamp((width + 1) / (value + LeastMeaning), 1, 2)));
            var rows = (registers.Length + fitting - 1) / fitting;
            return new Shape(rows, (registers.Length + rows - 1) / rows, (width + 1) / fitting, names, digits);
        }

        /// <summary>The register at a place, or the last one of its row.</summary>
        public int IndexAt(int row, int column, int count)
        {
            var index = (Math.Clamp(column, 0, Columns - 1) * Rows) + row;
            return index < count ? index : index - Rows;
        }
    }

    public override PaneRows Rows(UiState state, int width)
    {
        var registers = Of(state);
        if (registers.IsEmpty)
        {
            return PaneRows.None;
        }

        var shape = Shape.Of(registers, width);
        return shape.Columns == 1 ? new PaneRows(registers.Length, i => Line(registers[i], shape)) : new PaneRows(shape.Rows, WholeRow)
        {
            Grid = new PaneGrid(shape.CellWidth, Cells, row => shape.IndexAt(row, state.Pane(PaneKind.Registers).Column, registers.Length) / shape.Rows),
        };

        // A cell ends before the blank of the next one.
        IReadOnlyList<TextLine> Cells(int row) => [.. InRow(row).Select(r => Line(r, shape).Fit(shape.CellWidth - 1))];

        TextLine WholeRow(int row) => InRow(row).Aggregate(new TextLine(), (line, register) => line.Add(Line(register, shape)).Add("  "));

        IEnumerable<RegisterRow> InRow(int row)
        {
            for (var index = row; index < registers.Length; index += shape.Rows)
            {
                yield return registers[index];
            }
        }
    }

    public override string? Subject(UiState state)
    {
        if (state.Focus == PaneKind.Registers && At(state, state.Pane(PaneKind.Registers).Cursor) is { Meaning: { Length: > 0 } meaning } chosen
            && Shape.Of(Of(state), WidthOf(state)) is { Columns: > 1 } shape && Line(chosen, shape).Width >= shape.CellWidth)
        {
            return $"{chosen.Name}: {meaning}";
        }

        return Of(state).Count(r => r.Changed) is > 0 and var changed ? $"{changed} changed" : null;
    }

    public override string WhyEmpty(UiState state) => state.Abilities.IsLive ? NoMachine(state, "registers") : "the trace has no registers of this hit";

    public override string? PlaceAt(UiState state, int row) => At(state, row) is { Value: >= 0x1000 } register ? $"*0x{register.Value:x}" : null;

    public override string? ExpressionAt(UiState state, int row) => At(state, row) is { } register ? "$" + register.Name : null;

    /// <summary>The register that the cursor is on when it is on this row; null: there is none.</summary>
    internal static RegisterRow? At(UiState state, int row)
    {
        var registers = Of(state);
        if (registers.IsEmpty)
        {
            return null;
        }

        var shape = Shape.Of(registers, WidthOf(state));
        return (uint)row < (uint)shape.Rows ? registers[shape.IndexAt(row, state.Pane(PaneKind.Registers).Column, registers.Length)] : null;
    }

    internal static ImmutableArray<RegisterRow> Of(UiState state) => state.Session switch
    {
        { Shown.Hit: { } hit } => hit.Registers.IsDefaultOrEmpty ? [] : [.. hit.Registers.Select(r => new RegisterRow(r.Name, r.Value, false, RegisterRows.FlagsOf(r.Name, r.Value)))],
        { Stop: { } stop } => stop.Registers,
        _ => [],
    };

    private static int WidthOf(UiState state) => Math.Max(1, (Arrangement.Of(state).Find(PaneKind.Registers)?.Area.Columns ?? state.Size.Columns) - 1);

    private static TextLine Line(RegisterRow row, Shape shape) => new TextLine().Add(row.Changed ? "!" : " ", TextRole.Changed).Add(row.Name, row.Changed ? TextRole.Changed : TextRole.Number)
        .PadTo(1 + shape.Names + 1).Add(row.Value.ToString(shape.Digits == 16 ? "x16" : "x8", CultureInfo.InvariantCulture), row.Changed ? TextRole.Changed : TextRole.Plain)
        .Add(row.Meaning is { Length: > 0 } meaning ? "  " + meaning : "", TextRole.Function);
}
