// Editing as readline (gdb, bash) and vim's command line have it.
using System.Collections.Immutable;
using System.Text;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;

namespace KTrace.Tui.Update;

/// <summary>The line at the bottom: command, search or filter.</summary>
internal static class PromptKeys
{
    private const int Longest = 4096;

    public static void Open(Turn turn, PromptKind kind, string text) => turn.State = turn.State with
    {
        Prompt = new Prompt(kind, text, text.Length) { Origin = kind == PromptKind.Search ? turn.State.Pane(turn.State.Focus) : null },
    };

    public static void Apply(Turn turn, InputEvent.Key key)
    {
        var prompt = turn.State.Prompt!;
        var control = key.Modifiers.HasFlag(KeyModifiers.Control);
        var alt = key.Modifiers.HasFlag(KeyModifiers.Alt);
        switch (key.Name)
        {
            case KeyName.Enter:
                Submit(turn, prompt);
                break;
            case KeyName.Escape:
                Cancel(turn, prompt);
                break;
            case KeyName.Tab when prompt.Kind == PromptKind.Command:
                Complete(turn, prompt, key.Modifiers.HasFlag(KeyModifiers.Shift) ? -1 : 1);
                break;
            case KeyName.Backspace when prompt.Text.Length == 0:
                Cancel(turn, prompt);
                break;
            case KeyName.Up:
                History(turn, prompt, 1);
                break;
            case KeyName.Down:
                History(turn, prompt, -1);
                break;
            case KeyName.Character when control && key.Character.Value is 'c' or 'g':
                Cancel(turn, prompt);
                break;
            case KeyName.Character when control && key.Character.Value is 'p':
                History(turn, prompt, 1);
                break;
            case KeyName.Character when control && key.Character.Value is 'n':
                History(turn, prompt, -1);
                break;
            case KeyName.Character when control && key.Character.Value is 'r':
                SearchHistory(turn, prompt);
                break;
            case KeyName.Character when control && key.Character.Value is 'z':
                turn.Do(new UiEffect.Suspend());
                break;
            case KeyName.Character when control && key.Character.Value is 'l':
                turn.Do(new UiEffect.Repaint());
                break;
            case KeyName.Character when !control && !alt && key.Character.Value >= ' ':
                Change(turn, Typed(prompt, key.Character.ToString()));
                break;
            default:
                if (Edited(prompt, key, control, alt) is { } edited)
                {
                    Change(turn, edited);
                }

                break;
        }
    }

    /// <summary>Text out of a paste: one line of it, without what no line has.</summary>
    public static void Insert(Turn turn, string text)
    {
        var line = new StringBuilder();
        foreach (var rune in text.EnumerateRunes())
        {
            if (line.Length >= Longest || (rune.Value is '\n' or '\r' && line.Length > 0))
            {
                break;
            }

            if (!Rune.IsControl(rune))
            {
                line.Append(rune);
            }
            else if (rune.Value == '\t')
            {
                line.Append(' ');
            }
        }

        if (turn.State.Prompt is { } prompt)
        {
            Change(turn, Typed(prompt, line.ToString()));
        }
    }

    /// <summary>The target's words for what is written; late ones for what was written before are forgotten.</summary>
    public static void Offer(Turn turn, TargetNews.Completions completions)
    {
        if (turn.State.Prompt is { Kind: PromptKind.Command, Completion: < 0 } prompt && prompt.Text == completions.Text && prompt.Cursor == completions.Cursor)
        {
            Offer(turn, prompt, completions.Start, completions.Words);
        }
    }

    private static void Offer(Turn turn, Prompt prompt, int start, ImmutableArray<string> words)
    {
        if (start < 0 || start > prompt.Cursor || words.IsDefaultOrEmpty)
        {
            turn.Say("nothing completes this");
            return;
        }

        if (words.Length == 1)
        {
            var word = words[0] + (words[0].EndsWith('/') || prompt.Cursor < prompt.Text.Length ? "" : " ");
            turn.State = turn.State with { Prompt = prompt with { Text = prompt.Text[..start] + word + prompt.Text[prompt.Cursor..], Cursor = start + word.Length, Completions = [], Completion = -1 } };
            return;
        }

        var common = words.Aggregate(words[0], (a, b) => a[..a.Zip(b).TakeWhile(p => p.First == p.Second).Count()]);
        var text = common.Length > prompt.Cursor - start ? prompt.Text[..start] + common + prompt.Text[prompt.Cursor..] : prompt.Text;
        var cursor = Math.Max(prompt.Cursor, start + common.Length);
        turn.State = turn.State with { Prompt = prompt with { Text = text, Cursor = Math.Min(cursor, text.Length), Completions = words, CompletionStart = start, Completion = -1 } };
    }

    private static void Complete(Turn turn, Prompt prompt, int direction)
    {
        if (!prompt.Completions.IsEmpty)
        {
            var next = prompt.Completion < 0 ? (direction > 0 ? 0 : prompt.Completions.Length - 1) : (prompt.Completion + direction + prompt.Completions.Length) % prompt.Completions.Length;
            var text = prompt.Text[..prompt.CompletionStart] + prompt.Completions[next] + prompt.Text[prompt.Cursor..];
            turn.State = turn.State with { Prompt = prompt with { Text = text, Cursor = prompt.CompletionStart + prompt.Completions[next].Length, Completion = next } };
        }
        else if (CommandLine.Complete(prompt.Text[..prompt.Cursor]) is { } known)
        {
            Offer(turn, prompt, known.Start, known.Words);
        }
        else
        {
            turn.Ask(new TargetRequest.Complete(prompt.Text, prompt.Cursor));
        }
    }

    private static void Submit(Turn turn, Prompt prompt)
    {
        turn.State = turn.State with { Prompt = null };
        var text = prompt.Text.Trim();
        switch (prompt.Kind)
        {
            case PromptKind.Search:
                // An empty search repeats the last one, as in vim.
                var search = prompt.Text.Length > 0 ? prompt.Text : prompt.Origin?.Search;
                turn.State = turn.State.WithPane(turn.State.Focus, (prompt.Origin ?? PaneState.Start) with { Search = search });
                if (search is not null)
                {
                    // The match may be under the cursor already.
                    var kind = turn.State.Focus;
                    var at = turn.State.Pane(kind);
                    if (prompt.Text.Length > 0 && at.Cursor < turn.Rows(kind).Count && turn.Rows(kind).Having(search, Searching.Comparison(search))(at.Cursor))
                    {
                        turn.State = turn.State.WithPane(kind, at with { Follows = false });
                    }
                    else
                    {
                        Searching.Go(turn, isForward: true);
                    }
                }

                break;
            case PromptKind.Filter:
                Filter(turn, text);
                break;
            default:
                if (text.Length > 0)
                {
                    const int Kept = 500;
                    var history = turn.State.Remembered.History.Remove(text).Add(text);
                    turn.Remember(turn.State.Remembered with { History = history.Length > Kept ? history.RemoveRange(0, history.Length - Kept) : history });
                    CommandLine.Run(turn, text);
                }

                break;
        }
    }

    public static void Filter(Turn turn, string text)
    {
        var before = turn.State.Pane(PaneKind.Hits).Cursor is var row && row < turn.State.Timeline.Count ? turn.State.Timeline[row].Sequence : 0;
        turn.State = turn.State with { Timeline = turn.State.Timeline.FilteredBy(HitFilterText.Parse(text)) };
        var pane = turn.State.Pane(PaneKind.Hits);
        turn.State = turn.State.WithPane(PaneKind.Hits, pane with { Cursor = Math.Max(0, turn.State.Timeline.RowOf(before)), Follows = false });
        turn.Focus(PaneKind.Hits);
    }

    private static void Cancel(Turn turn, Prompt prompt)
    {
        turn.State = turn.State with { Prompt = null };
        if (prompt is { Kind: PromptKind.Search, Origin: { } origin })
        {
            turn.State = turn.State.WithPane(turn.State.Focus, origin);
        }
    }

    private static void Change(Turn turn, Prompt prompt)
    {
        turn.State = turn.State with { Prompt = prompt };
        if (prompt.Kind == PromptKind.Search)
        {
            Searching.Preview(turn, prompt);
        }
    }

    private static Prompt Typed(Prompt prompt, string text) => prompt.Text.Length + text.Length > Longest ? prompt : prompt with
    {
        Text = prompt.Text.Insert(prompt.Cursor, text), Cursor = prompt.Cursor + text.Length, Completions = [], Completion = -1, FromHistory = -1,
    };

    /// <summary>Null: the key means nothing here.</summary>
    private static Prompt? Edited(Prompt prompt, InputEvent.Key key, bool control, bool alt)
    {
        var letter = key.Name == KeyName.Character ? (char)Math.Min(key.Character.Value, char.MaxValue) : '\0';
        var (text, at) = (prompt.Text, prompt.Cursor);
        (string Text, int Cursor)? result = (key.Name, letter) switch
        {
            (KeyName.Left, _) when control || alt => (text, WordStart(text, at)),
            (KeyName.Right, _) when control || alt => (text, WordEnd(text, at)),
            (KeyName.Left, _) => (text, Before(text, at)),
            (KeyName.Right, _) => (text, After(text, at)),
            (KeyName.Home, _) => (text, 0),
            (KeyName.End, _) => (text, text.Length),
            (KeyName.Backspace, _) when alt || control => Cut(text, WordStart(text, at), at),
            (KeyName.Backspace, _) => Cut(text, Before(text, at), at),
            (KeyName.Delete, _) => Cut(text, at, After(text, at)),
            (_, 'a') when control => (text, 0),
            (_, 'e') when control => (text, text.Length),
            (_, 'b') when control => (text, Before(text, at)),
            (_, 'f') when control => (text, After(text, at)),
            (_, 'h') when control => Cut(text, Before(text, at), at),
            (_, 'd') when control => Cut(text, at, After(text, at)),
            (_, 'w') when control => Cut(text, BlankStart(text, at), at),
            (_, 'u') when control => Cut(text, 0, at),
            (_, 'k') when control => Cut(text, at, text.Length),
            (_, 'b') when alt => (text, WordStart(text, at)),
            (_, 'f') when alt => (text, WordEnd(text, at)),
            (_, 'd') when alt => Cut(text, at, WordEnd(text, at)),
            _ => null,
        };
        return result is { } edited ? prompt with { Text = edited.Text, Cursor = edited.Cursor, Completions = [], Completion = -1 } : null;
    }

    private static (string Text, int Cursor) Cut(string text, int from, int to) => (text.Remove(from, to - from), from);

    private static int Before(string text, int at) => at <= 0 ? 0 : at - (at > 1 && char.IsLowSurrogate(text[at - 1]) && char.IsHighSurrogate(text[at - 2]) ? 2 : 1);

    private static int After(string text, int at) => at >= text.Length ? text.Length : at + (char.IsHighSurrogate(text[at]) && at + 1 < text.Length && char.IsLowSurrogate(text[at + 1]) ? 2 : 1);

    private static int WordStart(string text, int at)
    {
        while (at > 0 && !IsWord(text[at - 1]))
        {
            at--;
        }

        while (at > 0 && IsWord(text[at - 1]))
        {
            at--;
        }

        return at;
    }

    private static int WordEnd(string text, int at)
    {
        while (at < text.Length && !IsWord(text[at]))
        {
            at++;
        }

        while (at < text.Length && IsWord(text[at]))
        {
            at++;
        }

        return at;
    }

    private static int BlankStart(string text, int at)
    {
        while (at > 0 && text[at - 1] == ' ')
        {
            at--;
        }

        while (at > 0 && text[at - 1] != ' ')
        {
            at--;
        }

        return at;
    }

    // Halves of a surrogate pair count as letters: no word ends between them.
    private static bool IsWord(char c) => char.IsLetterOrDigit(c) || c == '_' || char.IsSurrogate(c);

    private static void History(Turn turn, Prompt prompt, int older)
    {
        var history = turn.State.Remembered.History;
        var next = prompt.FromHistory + older;
        if (prompt.Kind != PromptKind.Command || next < -1 || next >= history.Length)
        {
            return;
        }

        var draft = prompt.FromHistory < 0 ? prompt.Text : prompt.Draft;
        var text = next < 0 ? draft : history[^(next + 1)];
        turn.State = turn.State with { Prompt = prompt with { Text = text, Cursor = text.Length, FromHistory = next, Draft = draft, Completions = [], Completion = -1 } };
    }

    /// <summary>The next older line that has what was written (Ctrl-R; again: older still).</summary>
    private static void SearchHistory(Turn turn, Prompt prompt)
    {
        var history = turn.State.Remembered.History;
        var draft = prompt.FromHistory < 0 ? prompt.Text : prompt.Draft;
        for (var at = prompt.FromHistory + 1; prompt.Kind == PromptKind.Command && at < history.Length; at++)
        {
            if (history[^(at + 1)].Contains(draft, StringComparison.OrdinalIgnoreCase))
            {
                var text = history[^(at + 1)];
                turn.State = turn.State with { Prompt = prompt with { Text = text, Cursor = text.Length, FromHistory = at, Draft = draft, Completions = [], Completion = -1 } };
                return;
            }
        }

        turn.Say($"no older command has '{draft}'");
    }
}
