using KTrace.Tui.Panes;
using KTrace.Tui.State;
using KTrace.Tui.Terminal;

namespace KTrace.Tui.Update;

/// <summary>Keys while the help is shown: moving, and everything that means enough.</summary>
internal static class HelpKeys
{
    public static void Apply(Turn turn, InputEvent.Key key, int top)
    {
        var page = Math.Max(1, turn.State.Size.Rows - 4);
        var last = Math.Max(0, HelpOverlay.Lines(turn.State, turn.State.Size.Columns).Count - page);
        int? next = KeyMap.Find(turn.State.Focus, KeyChord.Of(key))?.Command switch
        {
            UiCommand.Down => top + 1,
            UiCommand.Up => top - 1,
            UiCommand.HalfPageDown => top + (page / 2),
            UiCommand.HalfPageUp => top - (page / 2),
            UiCommand.PageDown => top + page,
            UiCommand.PageUp => top - page,
            UiCommand.First => 0,
            UiCommand.Last => last,
            _ when key is { Name: KeyName.Character, Character.Value: ' ' } => top + page,
            UiCommand.Back or UiCommand.Help or UiCommand.Quit or UiCommand.Interrupt => null,
            _ when key.Name == KeyName.Enter => null,
            _ => top,
        };
        turn.State = turn.State with { Help = next is { } row ? Math.Clamp(row, 0, last) : null };
    }
}
