using KTrace.Tui.Panes;
using KTrace.Tui.State;
using KTrace.Tui.Terminal;

namespace KTrace.Tui.Update;

/// <summary>Clicks choose, the wheel scrolls what is under it, borders can be dragged.</summary>
internal static class MouseUpdate
{
    private const int WheelRows = 3;

    public static void Apply(Turn turn, InputEvent.Mouse mouse)
    {
        if (turn.State.Help is { } top)
        {
            Help(turn, mouse, top);
            return;
        }

        var arrangement = Arrangement.Of(turn.State);
        switch (mouse.Action)
        {
            case MouseAction.WheelUp or MouseAction.WheelDown when arrangement.At(mouse.Column, mouse.Row) is { } under:
                Movement.Scroll(turn, under.Kind, mouse.Action == MouseAction.WheelUp ? -WheelRows : WheelRows);
                break;
            case MouseAction.Press when mouse.Button == 0:
                Press(turn, arrangement, mouse);
                break;
            case MouseAction.Drag when turn.State.Dragged is { } key && arrangement.Borders.FirstOrDefault(b => b.Key == key) is { } border:
                Drag(turn, border, mouse);
                break;
            case MouseAction.Release when turn.State.Dragged is not null:
                turn.Remember(turn.State.Remembered);
                turn.State = turn.State with { Dragged = null };
                break;
        }
    }

    private static void Press(Turn turn, Arrangement arrangement, InputEvent.Mouse mouse)
    {
        turn.State = turn.State with { Message = null, Dragged = null };
        if (arrangement.Borders.FirstOrDefault(b => b.Line.Contains(mouse.Column, mouse.Row)) is { } border)
        {
            turn.State = turn.State with { Dragged = border.Key };
        }

        if (turn.State.Prompt is not null || arrangement.At(mouse.Column, mouse.Row) is not { } placed)
        {
            return;
        }

        var kind = placed.Kind;
        if (mouse.Row == placed.Area.Row)
        {
            kind = PaneTitle.TabAt(turn.State, placed, mouse.Column) ?? kind;
        }

        if (kind != PaneKind.Console)
        {
            turn.State = turn.State with { IsTyping = false, IsEscapePending = false };
        }

        turn.Focus(kind);
        if (mouse.Row > placed.Area.Row && kind == placed.Kind)
        {
            var rows = turn.Rows(kind);
            var row = turn.State.Pane(kind).Top + mouse.Row - placed.Area.Row - 1 - (rows.Head is null ? 0 : 1);
            if (row >= 0 && row < rows.Count)
            {
                Movement.MoveTo(turn, kind, row, margin: 0);
                if (rows.Grid is { } grid)
                {
                    Movement.MoveToColumn(turn, kind, Math.Min((mouse.Column - placed.Area.Column) / grid.CellWidth, grid.Cells(row).Count - 1));
                }
            }
        }
    }

    private static void Drag(Turn turn, PlacedBorder border, InputEvent.Mouse mouse)
    {
        var (start, cells, at) = border.IsColumns ? (border.Whole.Column, border.Whole.Columns - 1, mouse.Column) : (border.Whole.Row, border.Whole.Rows, mouse.Row);
        if (cells > 0)
        {
            var splits = turn.State.Remembered.Splits.SetItem(border.Key, Math.Clamp((at - start) / (double)cells, 0.05, 0.95));
            turn.State = turn.State with { Remembered = turn.State.Remembered with { Splits = splits } };
        }
    }

    private static void Help(Turn turn, InputEvent.Mouse mouse, int top)
    {
        var last = Math.Max(0, HelpOverlay.Lines(turn.State, turn.State.Size.Columns).Count - Math.Max(1, turn.State.Size.Rows - 4));
        turn.State = mouse.Action switch
        {
            MouseAction.WheelDown => turn.State with { Help = Math.Min(last, top + WheelRows) },
            MouseAction.WheelUp => turn.State with { Help = Math.Max(0, top - WheelRows) },
            MouseAction.Press => turn.State with { Help = null },
            _ => turn.State,
        };
    }
}
