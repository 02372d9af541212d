using System.Collections.Immutable;
using KTrace.Tui.State;
using KTrace.Tui.Update;
using KTrace.Tui.Views;

namespace KTrace.Tui.Panes;

/// <summary>The last row: a question, a prompt, a message, or the keys that work here.</summary>
internal static class Footer
{
    public static TextLine Line(UiState state) => state switch
    {
        { Confirmation: { } confirmation } => new TextLine().Add($"{confirmation.Question} ", TextRole.Warning).Add("y", TextRole.Key).Add(" yes  ").Add("any other key", TextRole.Key).Add(" no"),
        { Message: { } message, Prompt: null } => Text(message),
        { Prompt: { } prompt } => Prompt(prompt, state.Size.Columns, state.Message),
        { Help: not null } => Keys([("j/k", "move"), ("Esc", "close")], state.Size.Columns),
        { IsTyping: true } => Keys([("Ctrl-]", "or"), ("Esc Esc", "back to the debugger"), ("all other keys", "go to the guest")], state.Size.Columns),
        _ => Keys(Useful(state), state.Size.Columns, [("?", "help"), ("q", "quit")]),
    };

    /// <summary>The column of a prompt's cursor.</summary>
    public static int PromptCursor(Prompt prompt, int columns)
    {
        var before = TerminalText.Width(TerminalText.Sanitize(prompt.Text[..prompt.Cursor]));
        return Math.Clamp(1 + before - Scrolled(before, columns), 0, Math.Max(0, columns - 1));
    }

    /// <summary>The bindings of the focused pane in the order of their use: what cannot be done now is left out.</summary>
    internal static IEnumerable<(string Key, string Word)> Useful(UiState state)
    {
        foreach (var binding in KeyMap.Of(state.Focus).Where(b => b.Rank > 0 && Obstacles.Of(state, b) is null).OrderBy(b => b.Rank))
        {
            if (binding.Command == UiCommand.Interrupt && !state.Session.IsBusy)
            {
                continue;
            }

            var word = binding.Command == UiCommand.Next && state.Pane(state.Focus).Search is not null ? "next match" : binding.Word;
            var key = binding.Command switch
            {
                UiCommand.Layout1 => "1-6",
                _ => binding.Keys.First(k => KeyMap.Find(state.Focus, k) == binding).ToString(),
            };
            yield return (key, word);
            if (binding.Command == UiCommand.Next && state.Pane(state.Focus).Search is not null)
            {
                yield return ("N", "previous");
            }
        }
    }

    private static TextLine Text(Message message)
    {
        var line = new TextLine().Add(message.IsWarning ? "! " : "", TextRole.Error).Add(message.Text, message.IsWarning ? TextRole.Error : TextRole.Heading);
        return message.Remedy is { } remedy ? line.Add("  ").Add(remedy, TextRole.Reason) : line;
    }

    private static TextLine Prompt(Prompt prompt, int columns, Message? message)
    {
        var before = TerminalText.Width(TerminalText.Sanitize(prompt.Text[..prompt.Cursor]));
        var text = TerminalText.Sanitize(prompt.Text);
        var scrolled = Scrolled(before, columns);
        while (scrolled > 0 && text.Length > 0)
        {
            var first = text.EnumerateRunes().First().ToString();
            scrolled -= TerminalText.Width(first);
            text = text[first.Length..];
        }

        var line = new TextLine().Add(prompt.Sign, TextRole.Key).Add(text);
        // What is said about it stands at its end.
        return message is null || line.Width + 4 >= columns ? line : line.Add("   ").Add(message.Text, TextRole.Reason);
    }

    /// <summary>Cells of a prompt's text that are scrolled out at the left so that its cursor is on the screen.</summary>
    private static int Scrolled(int before, int columns) => Math.Max(0, before + 2 - columns);

    private static TextLine Keys(IEnumerable<(string Key, string Word)> keys, int columns, ImmutableArray<(string Key, string Word)> last = default)
    {
        var line = new TextLine();
        var end = new TextLine();
        foreach (var (key, word) in last.IsDefault ? [] : last)
        {
            end.Add("  ").Add(key, TextRole.Key).Add(" " + word);
        }

        foreach (var (key, word) in keys)
        {
            var needed = key.Length + 1 + word.Length + (line.Width > 0 ? 2 : 0);
            if (line.Width + needed + end.Width > columns)
            {
                break;
            }

            line.Add(line.Width > 0 ? "  " : "").Add(key, TextRole.Key).Add(" " + word);
        }

        return line.PadTo(Math.Max(0, columns - end.Width)).Add(end);
    }
}
