// Keys as a guest's serial terminal sends them (ECMA-48; what Linux' "linux" and "vt220" terminfo entries name).
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;

namespace KTrace.Tui.Update;

/// <summary>Keys that go to the guest's console. Ctrl-] or two Escapes come back.</summary>
internal static class GuestTyping
{
    public static void Apply(Turn turn, InputEvent.Key key)
    {
        if (key is { Name: KeyName.Character, Modifiers: KeyModifiers.Control, Character.Value: ']' })
        {
            Leave(turn);
            return;
        }

        if (key is { Name: KeyName.Escape, Modifiers: KeyModifiers.None })
        {
            if (turn.State.IsEscapePending)
            {
                Leave(turn);
            }
            else
            {
                turn.State = turn.State with { IsEscapePending = true };
            }

            return;
        }

        Send(turn, Text(key));
    }

    public static void Send(Turn turn, string text)
    {
        if (turn.State.IsEscapePending)
        {
            text = "\x1b" + text;
            turn.State = turn.State with { IsEscapePending = false };
        }

        if (text.Length > 0)
        {
            turn.Ask(new TargetRequest.TypeToConsole(text));
            turn.State = turn.State.WithPane(PaneKind.Console, turn.State.Pane(PaneKind.Console) with { Follows = true });
        }
    }

    private static void Leave(Turn turn) => turn.State = turn.State with { IsTyping = false, IsEscapePending = false };

    private static string Text(InputEvent.Key key)
    {
        var text = key.Name switch
        {
            KeyName.Character when key.Modifiers.HasFlag(KeyModifiers.Control) => key.Character.Value switch
            {
                >= 'a' and <= 'z' and var letter => ((char)(letter - 'a' + 1)).ToString(),
                >= 'A' and <= 'Z' and var letter => ((char)(letter - 'A' + 1)).ToString(),
                >= '[' and <= '_' and var sign => ((char)(sign - '@')).ToString(),
                ' ' or '@' => "\0",
                _ => "",
            },
            KeyName.Character => key.Character.Value == 0 ? "" : key.Character.ToString(),
            KeyName.Enter => "\r",
            KeyName.Tab => "\t",
            KeyName.Backspace => "\x7f",
            KeyName.Up => "\x1b[A",
            KeyName.Down => "\x1b[B",
            KeyName.Right => "\x1b[C",
            KeyName.Left => "\x1b[D",
            KeyName.Home => "\x1b[1~",
            KeyName.Insert => "\x1b[2~",
            KeyName.Delete => "\x1b[3~",
            KeyName.End => "\x1b[4~",
            KeyName.PageUp => "\x1b[5~",
            KeyName.PageDown => "\x1b[6~",
            _ => "",
        };
        return key.Modifiers.HasFlag(KeyModifiers.Alt) && text.Length > 0 ? "\x1b" + text : text;
    }
}
