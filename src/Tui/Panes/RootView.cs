using System.Collections.Immutable;
using KTrace.Tui.State;
using KTrace.Tui.Views;
using Spectre.Console;

namespace KTrace.Tui.Panes;

/// <summary>The whole screen of a state: exactly as many lines as it has rows, none wider than its columns.</summary>
public sealed class RootView : View
{
    private readonly UiState _state;
    private readonly Arrangement _arrangement;

    public RootView(UiState state)
    {
        _state = state.OnScreen;
        _arrangement = Arrangement.Of(_state);
        Cursor = FindCursor();
    }

    /// <summary>Where the terminal's cursor stands (a command line, the guest's console); null: hidden.</summary>
    public (int Column, int Row)? Cursor { get; }

    /// <summary>One for each row of the state's terminal, whatever <paramref name="width"/> says beyond that.</summary>
    public override IEnumerable<TextLine> Lines(int? width)
    {
        var (columns, rows) = _state.Size;
        var lines = new List<TextLine>(rows);
        if (rows > 1)
        {
            lines.Add(Banner.Line(_state));
        }

        var body = Arrangement.Body(_state);
        if (_state.Help is { } top)
        {
            lines.AddRange(HelpOverlay.Page(_state, top, body));
        }
        else
        {
            lines.AddRange(Body(body));
        }

        PutCompletions(lines);
        while (lines.Count < rows - 1)
        {
            lines.Add(new TextLine());
        }

        if (rows > 0)
        {
            lines.Add(Footer.Line(_state));
        }

        foreach (var line in lines.Take(rows))
        {
            var fitted = line.Fit(columns);
            yield return _state.Looks.IsUnicode ? fitted : AsciiText.Of(fitted);
        }
    }

    protected override Style StyleOf(TextRole role) => Theme.Of(role, _state.Looks);

    private IEnumerable<TextLine> Body(Area body)
    {
        // Each pane's lines once, then row by row from left to right.
        var panes = _arrangement.Panes.Select(p => (p.Area, Lines: PaneBody.Lines(_state, p))).OrderBy(p => p.Area.Column).ToArray();
        var separators = _arrangement.Borders.Where(b => b.IsColumns).ToArray();
        for (var row = body.Row; row < body.Row + body.Rows; row++)
        {
            var line = new TextLine();
            foreach (var (area, lines) in panes)
            {
                if (row < area.Row || row >= area.Row + area.Rows)
                {
                    continue;
                }

                if (line.Width < area.Column)
                {
                    line.PadTo(area.Column - 1).Add(Separator(area, row), TextRole.Border);
                }

                line.Add(lines[row - area.Row].Fit(area.Columns)).PadTo(area.Column + area.Columns);
            }

            yield return line;
        }

        // Where a pane's title meets the line beside it they are joined.
        string Separator(Area right, int row)
        {
            var isTitleRight = row == right.Row;
            var isTitleLeft = _arrangement.Panes.Any(p => p.Area.Row == row && p.Area.Column + p.Area.Columns == right.Column - 1);
            var isTop = separators.Any(s => s.Line.Column == right.Column - 1 && s.Line.Row == row);
            return (isTitleLeft, isTitleRight, isTop) switch
            {
                (true, true, true) => "┬",
                (true, true, false) => "┼",
                (true, false, true) => "┐",
                (false, true, true) => "┌",
                (true, false, false) => "┤",
                (false, true, false) => "├",
                _ => "│",
            };
        }
    }

    /// <summary>The words that could complete the command line, above it.</summary>
    private void PutCompletions(List<TextLine> lines)
    {
        if (_state.Prompt is not { Completions: { IsEmpty: false } words } prompt || lines.Count < 3)
        {
            return;
        }

        const int MostRows = 6;
        const int Gap = 2;
        var width = Math.Clamp(words.Max(w => TerminalText.Width(TerminalText.Sanitize(w))) + Gap, 4, Math.Max(4, _state.Size.Columns));
        var perRow = Math.Max(1, _state.Size.Columns / width);
        var rows = Math.Min(Math.Min(MostRows, lines.Count - 2), (words.Length + perRow - 1) / perRow);
        var first = prompt.Completion < 0 ? 0 : Math.Max(0, (prompt.Completion / perRow) - rows + 1) * perRow;
        for (var row = 0; row < rows; row++)
        {
            var line = new TextLine();
            for (var i = first + (row * perRow); i < Math.Min(words.Length, first + ((row + 1) * perRow)); i++)
            {
                line.Add(i == prompt.Completion ? "▸" : " ", TextRole.Key).Add(TerminalText.KeepStart(TerminalText.Sanitize(words[i]), width - Gap), i == prompt.Completion ? TextRole.Selected : TextRole.Value);
                line.PadTo((i - first - (row * perRow) + 1) * width);
            }

            var isLast = row == rows - 1;
            var more = words.Length - first - (rows * perRow);
            if (isLast && more > 0)
            {
                var text = $" {more} more";
                line = line.Fit(Math.Max(1, _state.Size.Columns - text.Length)).Add(text, TextRole.Tab);
            }

            lines[lines.Count - rows + row] = line.PadTo(_state.Size.Columns);
        }
    }

    private (int Column, int Row)? FindCursor()
    {
        var (columns, rows) = _state.Size;
        if (columns < 1 || rows < 1)
        {
            return null;
        }

        if (_state.Prompt is { } prompt)
        {
            return (Footer.PromptCursor(prompt, columns), rows - 1);
        }

        if (_state.IsTyping && _arrangement.Find(PaneKind.Console) is { BodyRows: > 0 } placed)
        {
            var pane = _state.Pane(PaneKind.Console);
            var open = _state.Console.Open;
            var column = TerminalText.Width(TerminalText.Sanitize(open[..Math.Min(open.Length, _state.Console.Column)])) - pane.Left;
            var line = (open.Length > 0 || _state.Console.Lines.Count == 0 ? _state.Console.Lines.Count : _state.Console.Lines.Count) - pane.Top;
            return (placed.Area.Column + 1 + Math.Clamp(column, 0, Math.Max(0, placed.Area.Columns - 2)), placed.Area.Row + 1 + Math.Clamp(line, 0, placed.BodyRows - 1));
        }

        return null;
    }
}
