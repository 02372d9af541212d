using System.Collections.Immutable;
using System.Globalization;
using KTrace.Tui.Panes;
using KTrace.Tui.State;

namespace KTrace.Tui.Update;

/// <summary>Moving, panes, layouts, and leaving.</summary>
internal static class ScreenKeys
{
    public static void Run(Turn turn, UiCommand command)
    {
        var page = turn.Page(turn.State.Focus);
        switch (command)
        {
            case UiCommand.Down or UiCommand.PageDown when MoreMemory(turn, isBelow: true): break;
            case UiCommand.Up or UiCommand.PageUp when MoreMemory(turn, isBelow: false): break;
            case UiCommand.Down: Movement.MoveBy(turn, 1); break;
            case UiCommand.Up: Movement.MoveBy(turn, -1); break;
            case UiCommand.HalfPageDown: Movement.MoveBy(turn, Math.Max(1, page / 2)); break;
            case UiCommand.HalfPageUp: Movement.MoveBy(turn, -Math.Max(1, page / 2)); break;
            case UiCommand.PageDown: Movement.MoveBy(turn, page); break;
            case UiCommand.PageUp: Movement.MoveBy(turn, -page); break;
            case UiCommand.First: Movement.MoveTo(turn, turn.State.Focus, 0); break;
            case UiCommand.Last: Movement.MoveTo(turn, turn.State.Focus, int.MaxValue); break;
            case UiCommand.ScreenTop: Movement.MoveOnScreen(turn, 0); break;
            case UiCommand.ScreenMiddle: Movement.MoveOnScreen(turn, 0.5); break;
            case UiCommand.ScreenBottom: Movement.MoveOnScreen(turn, 1); break;
            case UiCommand.ColumnLeft: Movement.MoveSideways(turn, -1); break;
            case UiCommand.ColumnRight: Movement.MoveSideways(turn, 1); break;
            case UiCommand.ScrollLeft: Movement.ScrollSideways(turn, -1); break;
            case UiCommand.ScrollRight: Movement.ScrollSideways(turn, 1); break;
            case UiCommand.NextPane: NextPane(turn, 1); break;
            case UiCommand.PreviousPane: NextPane(turn, -1); break;
            case UiCommand.NextTab: NextTab(turn, 1); break;
            case UiCommand.PreviousTab: NextTab(turn, -1); break;
            case UiCommand.Zoom: turn.State = turn.State with { IsZoomed = !turn.State.IsZoomed }; break;
            case >= UiCommand.Layout1 and <= UiCommand.Layout6: Choose(turn, command - UiCommand.Layout1 + 1); break;
            case UiCommand.Help: turn.State = turn.State with { Help = 0 }; break;
            case UiCommand.Back: Back(turn); break;
            case UiCommand.Repaint: turn.Do(new UiEffect.Repaint()); break;
            case UiCommand.Suspend: turn.Do(new UiEffect.Suspend()); break;
            case UiCommand.Quit: Quit(turn); break;
        }
    }

    public static void Choose(Turn turn, int number)
    {
        if (Layouts.Find(number, turn.State.Abilities.IsLive) is not { } layout)
        {
            turn.Say($"there is no layout {number}: 1 to {Layouts.Count}");
            return;
        }

        turn.State = turn.State with { Recent = [layout.FirstFocus], IsZoomed = false, Dragged = null };
        if (turn.State.Remembered.Layout != number)
        {
            turn.Remember(turn.State.Remembered with { Layout = number });
        }

        turn.Say($"layout {number}, {layout.Name}: {layout.Meaning}");
        if (layout.FirstFocus == PaneKind.Interrupts && turn.State.Interrupts is null && (turn.State.Session.IsStopped || !turn.State.Abilities.IsLive))
        {
            turn.Ask(new Targets.TargetRequest.ReadInterrupts());
        }
    }

    public static void Quit(Turn turn)
    {
        if (turn.State is { Abilities: { IsLive: true, EndsGuest: true }, Session.Run: not RunState.Ended })
        {
            turn.State = turn.State with { Confirmation = new Confirmation("quit and end the guest?", new UiEffect.Quit()) };
            return;
        }

        turn.Do(new UiEffect.Remember());
        turn.Do(new UiEffect.Quit());
    }

    /// <summary>At the edge of the memory that was read: what lies behind it.</summary>
    private static bool MoreMemory(Turn turn, bool isBelow)
    {
        if (turn.State is not { Focus: PaneKind.Memory, Memory: { Bytes.IsEmpty: false } memory, Session.IsStopped: true }
            || turn.State.Pane(PaneKind.Memory).Cursor != (isBelow ? turn.Rows(PaneKind.Memory).Count - 1 : 0))
        {
            return false;
        }

        var length = (ulong)memory.Bytes.Length;
        if (isBelow ? memory.Address > ulong.MaxValue - (2 * length) : memory.Address < length)
        {
            return false;
        }

        var address = isBelow ? memory.Address + length : memory.Address - length;
        KeyCommands.ReadMemory(turn, string.Create(CultureInfo.InvariantCulture, $"0x{address:x}"));
        turn.State = turn.State.WithPane(PaneKind.Memory, turn.State.Pane(PaneKind.Memory) with { Cursor = isBelow ? 0 : int.MaxValue });
        return true;
    }

    private static void NextPane(Turn turn, int direction)
    {
        // In a zoomed pane Tab leads through what the layout would show.
        var placed = Arrangement.Of(turn.State with { IsZoomed = false }).Panes;
        var at = placed.Select(p => p.Kind).ToImmutableArray().IndexOf(turn.State.Focus);
        if (placed.Length == 1)
        {
            NextTab(turn, direction);
        }
        else if (placed.Length > 0)
        {
            turn.Focus(placed[(at + direction + placed.Length) % placed.Length].Kind);
        }
    }

    private static void NextTab(Turn turn, int direction)
    {
        if (Arrangement.Of(turn.State).Find(turn.State.Focus) is { Tabs: { Length: > 0 } tabs })
        {
            turn.Focus(tabs[(tabs.IndexOf(turn.State.Focus) + direction + tabs.Length) % tabs.Length]);
        }
    }

    /// <summary>One thing at a time, the innermost first.</summary>
    private static void Back(Turn turn)
    {
        var state = turn.State;
        var pane = state.Pane(state.Focus);
        if (pane.Search is not null)
        {
            turn.State = state.WithPane(state.Focus, pane with { Search = null });
        }
        else if (state is { Focus: PaneKind.Hits, Timeline.Filter: not null })
        {
            var sequence = pane.Cursor < state.Timeline.Count ? state.Timeline[pane.Cursor].Sequence : 0;
            turn.State = state with { Timeline = state.Timeline.FilteredBy(null) };
            Movement.MoveTo(turn, PaneKind.Hits, Math.Max(0, turn.State.Timeline.RowOf(sequence)));
        }
        else if (state is { Focus: PaneKind.Disassembly, Listing: not null })
        {
            turn.State = state with { Listing = null };
        }
        else if (state.IsZoomed)
        {
            turn.State = state with { IsZoomed = false };
        }
        else if (state is { Abilities.IsLive: true, Session: { Shown: not null, Stop: not null } })
        {
            turn.State = state with { Session = state.Session with { Shown = null }, ChosenFrame = 0, OpenFrames = [] };
            turn.State = turn.State.WithPane(PaneKind.CallPath, PaneState.Start);
            if (state.Session.IsStopped)
            {
                turn.Ask(new Targets.TargetRequest.SelectFrame(0));
            }
        }
        else if (pane.Left > 0)
        {
            turn.State = state.WithPane(state.Focus, pane with { Left = 0 });
        }
        else if (Arrangement.Of(state).Find(state.Focus) is { Tabs: [var first, ..] } && first != state.Focus)
        {
            turn.Focus(first);
        }
    }
}
