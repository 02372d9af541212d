using KTrace.Tui.Panes;
using KTrace.Tui.State;

namespace KTrace.Tui.Update;

/// <summary>Looks for text in a pane's rows, around the end. Small letters match capitals, capitals only themselves (vim's smartcase).</summary>
internal static class Searching
{
    // While a search is being written: only so far, every key has to come back at once.
    private const int PreviewRows = 20_000;

    /// <param name="isForward">Down from the cursor; otherwise up.</param>
    public static void Go(Turn turn, bool isForward)
    {
        var kind = turn.State.Focus;
        var pane = turn.State.Pane(kind);
        if (pane.Search is not { Length: > 0 } text)
        {
            turn.Say("no search in this pane", "/ begins one");
            return;
        }

        var rows = turn.Rows(kind);
        if (Find(rows, text, pane.Cursor, isForward, rows.Count) is { } row)
        {
            var wrapped = isForward ? row <= pane.Cursor : row >= pane.Cursor;
            Movement.MoveTo(turn, kind, row);
            if (wrapped && rows.Count > 1)
            {
                turn.Say(row == pane.Cursor ? $"/{text}: this is the only match" : $"/{text}: went on at the {(isForward ? "top" : "bottom")}");
            }
        }
        else
        {
            turn.Say(new Message($"/{text}: not found in {PaneCatalog.Of(kind).Name}", IsWarning: true));
        }
    }

    /// <summary>While it is written: the first match from where the cursor was.</summary>
    public static void Preview(Turn turn, Prompt prompt)
    {
        var kind = turn.State.Focus;
        var origin = prompt.Origin ?? PaneState.Start;
        turn.State = turn.State.WithPane(kind, turn.State.Pane(kind) with { Search = prompt.Text.Length == 0 ? null : prompt.Text });
        var rows = turn.Rows(kind);
        var row = prompt.Text.Length == 0 ? null : Find(rows, prompt.Text, origin.Cursor - 1, isForward: true, PreviewRows);
        var pane = turn.State.Pane(kind);
        turn.State = turn.State.WithPane(kind, pane with { Cursor = row ?? origin.Cursor, Follows = false });
    }

    public static StringComparison Comparison(string text) => text.Any(char.IsUpper) ? StringComparison.Ordinal : StringComparison.OrdinalIgnoreCase;

    private static int? Find(PaneRows rows, string text, int from, bool isForward, int limit)
    {
        var has = rows.Having(text, Comparison(text));
        for (var step = 1; step <= Math.Min(rows.Count, limit); step++)
        {
            var row = (int)((((long)from + (isForward ? step : -step)) % rows.Count + rows.Count) % rows.Count);
            if (has(row))
            {
                return row;
            }
        }

        return null;
    }
}
