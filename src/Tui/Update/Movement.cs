using KTrace.Tui.Panes;
using KTrace.Tui.State;
using KTrace.Tui.Targets;

namespace KTrace.Tui.Update;

/// <summary>Cursors: where they go, what follows them, and that they are always on the screen.</summary>
internal static class Movement
{
    private const int ScrollColumns = 8;

    // Rows between the cursor and the pane's edge, where there are more.
    private const int Margin = 2;

    /// <summary>Puts the cursor of a pane on a row, or as near as there is one.</summary>
    /// <param name="margin">Rows that stay visible around it; a click moves nothing else.</param>
    public static void MoveTo(Turn turn, PaneKind kind, int row, int margin = Margin)
    {
        var count = turn.Rows(kind).Count;
        var pane = turn.State.Pane(kind);
        var cursor = Math.Clamp(row, 0, Math.Max(0, count - 1));
        turn.State = turn.State.WithPane(
            kind, pane with { Cursor = cursor, Top = Top(pane.Top, cursor, count, turn.Page(kind), margin), Follows = CanFollow(turn.State, kind) && cursor == count - 1 });
        if (cursor != pane.Cursor)
        {
            Moved(turn, kind);
        }
    }

    public static void MoveBy(Turn turn, int rows) => MoveTo(turn, turn.State.Focus, turn.State.Pane(turn.State.Focus).Cursor + rows);

    /// <summary>To a row of those that are on the screen.</summary>
    /// <param name="share">0 the first, 1 the last.</param>
    public static void MoveOnScreen(Turn turn, double share)
    {
        var kind = turn.State.Focus;
        var shown = Math.Min(turn.Page(kind), Math.Max(1, turn.Rows(kind).Count - turn.State.Pane(kind).Top));
        MoveTo(turn, kind, turn.State.Pane(kind).Top + (int)((shown - 1) * share));
    }

    /// <summary>Scrolls a pane by rows; its cursor stays on the screen.</summary>
    public static void Scroll(Turn turn, PaneKind kind, int rows)
    {
        var count = turn.Rows(kind).Count;
        var page = turn.Page(kind);
        var pane = turn.State.Pane(kind);
        var top = Math.Clamp(pane.Top + rows, 0, Math.Max(0, count - page));
        var margin = Math.Min(Margin, (page - 1) / 2);
        var first = top == 0 ? 0 : top + margin;
        var last = top + page >= count ? Math.Max(0, count - 1) : top + page - 1 - margin;
        turn.State = turn.State.WithPane(kind, pane with { Top = top });
        MoveTo(turn, kind, Math.Clamp(pane.Cursor, first, Math.Max(first, last)));
    }

    /// <summary>To the item on the left or right; where items do not stand beside each other, the pane scrolls.</summary>
    public static void MoveSideways(Turn turn, int direction)
    {
        var pane = turn.State.Pane(turn.State.Focus);
        if (turn.Rows(turn.State.Focus) is { Count: > 0, Grid: { } grid } rows)
        {
            var row = Math.Min(pane.Cursor, rows.Count - 1);
            MoveToColumn(turn, turn.State.Focus, Math.Clamp(grid.Column(row) + direction, 0, grid.Cells(row).Count - 1));
        }
        else
        {
            ScrollSideways(turn, direction);
        }
    }

    public static void MoveToColumn(Turn turn, PaneKind kind, int column) => turn.State = turn.State.WithPane(kind, turn.State.Pane(kind) with { Column = column, Left = 0 });

    public static void ScrollSideways(Turn turn, int direction)
    {
        var kind = turn.State.Focus;
        var pane = turn.State.Pane(kind);
        var rows = turn.Rows(kind);
        var width = turn.WidthOf(Arrangement.Of(turn.State).Find(kind));
        var widest = Enumerable.Range(pane.Top, Math.Max(0, Math.Min(turn.Page(kind), rows.Count - pane.Top))).Select(i => rows[i].Width).DefaultIfEmpty().Max();
        // What is scrolled out at the left may be more than the rows here need: those elsewhere are longer.
        var most = Math.Max(pane.Left, widest - width + 1);
        turn.State = turn.State.WithPane(kind, pane with { Left = Math.Max(0, direction < 0 ? pane.Left - ScrollColumns : Math.Min(most, pane.Left + ScrollColumns)) });
    }

    /// <summary>Another frame of the call path is the chosen one.</summary>
    public static void ChooseFrame(Turn turn, int frame)
    {
        if (turn.State.Session.Path is not { } path || (uint)frame >= (uint)path.Path.Frames.Length || frame == turn.State.ChosenFrame)
        {
            return;
        }

        turn.State = turn.State with { ChosenFrame = frame, Listing = null };
        if (turn.State.Session.Shown is { } shown)
        {
            turn.State = turn.State with { Variables = turn.State.Variables.WithVariables(NewsUpdate.Arguments(shown.Hit, frame)) };
        }

        if (turn.State.Session.Shown is null ? turn.State.Session.IsStopped : !turn.State.Abilities.IsLive)
        {
            turn.Ask(new TargetRequest.SelectFrame(frame));
        }
    }

    /// <summary>
    /// After every update: each pane that is on the screen has its cursor on a row that exists and is visible. Rows come and go with news, sizes with the terminal.
    /// </summary>
    public static void Settle(Turn turn)
    {
        var arrangement = Arrangement.Of(turn.State);
        foreach (var placed in arrangement.Panes)
        {
            var rows = PaneCatalog.Of(placed.Kind).Rows(turn.State, turn.WidthOf(placed));
            var page = Turn.PageOf(placed, rows);
            var before = turn.State.Pane(placed.Kind);
            var cursor = before.Follows ? Math.Max(0, rows.Count - 1) : Math.Clamp(before.Cursor, 0, Math.Max(0, rows.Count - 1));
            var top = Top(before.Top, cursor, rows.Count, page, 0);
            if (cursor != before.Cursor || top != before.Top)
            {
                turn.State = turn.State.WithPane(placed.Kind, before with { Cursor = cursor, Top = top });
            }
        }
    }

    /// <summary>The first visible row: as it was, unless the cursor needs another.</summary>
    private static int Top(int before, int cursor, int count, int page, int margin)
    {
        margin = Math.Min(margin, (page - 1) / 2);
        var lowest = cursor - page + 1 + Math.Max(0, Math.Min(margin, count - 1 - cursor));
        var highest = cursor - Math.Min(margin, cursor);
        return Math.Clamp(Math.Clamp(before, lowest, Math.Max(lowest, highest)), 0, Math.Max(0, count - page));
    }

    /// <summary>What is shown elsewhere follows the cursor.</summary>
    private static void Moved(Turn turn, PaneKind kind)
    {
        var row = turn.State.Pane(kind).Cursor;
        switch (kind)
        {
            case PaneKind.CallPath when CallPathPane.FrameAt(turn.State, row) is { } frame:
                ChooseFrame(turn, frame);
                break;

            // A live session's stop stays on the screen until Enter.
            case PaneKind.Hits when !turn.State.Abilities.IsLive && row < turn.State.Timeline.Count:
                turn.Ask(new TargetRequest.ShowHit(turn.State.Timeline[row].Sequence));
                break;
        }
    }

    private static bool CanFollow(UiState state, PaneKind kind) => kind is PaneKind.Console or PaneKind.Output || (kind == PaneKind.Hits && state.Abilities.IsLive);
}
