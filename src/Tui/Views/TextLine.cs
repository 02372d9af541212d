using System.Text;

namespace KTrace.Tui.Views;

/// <summary>What a piece of text is; <see cref="Theme"/> says how it looks.</summary>
public enum TextRole
{
    Plain,
    Heading,
    Number,
    Function,
    Module,
    Inline,
    Value,
    Source,
    Reason,
    Added,
    Removed,
    Warning,

    /// <summary>The chosen row of the focused pane; of another pane.</summary>
    Selected,
    SelectedElsewhere,

    /// <summary>Lines between panes; those of the focused one.</summary>
    Border,
    BorderFocused,

    /// <summary>A pane's name; a tab that is behind it.</summary>
    Title,
    Tab,

    /// <summary>A key that can be pressed, in the footer and the help.</summary>
    Key,

    /// <summary>The session's line at the top.</summary>
    Banner,

    /// <summary>It has another value than at the stop before.</summary>
    Changed,

    /// <summary>Where the machine stands.</summary>
    Current,
    Breakpoint,

    /// <summary>What a search found.</summary>
    Match,
    Error,
}

/// <summary>One line of a view, built from left to right. Everything that is added is made safe for a terminal first.</summary>
public sealed class TextLine
{
    private readonly List<(string Text, TextRole Role)> _spans = [];

    public IReadOnlyList<(string Text, TextRole Role)> Spans => _spans;

    /// <summary>Cells.</summary>
    public int Width { get; private set; }

    public TextLine Add(string text, TextRole role = TextRole.Plain)
    {
        if (text.Length > 0)
        {
            AddSafe(TerminalText.Sanitize(text), role);
        }

        return this;
    }

    /// <summary>Adds blanks until the line is <paramref name="cells"/> wide.</summary>
    public TextLine PadTo(int cells)
    {
        if (cells > Width)
        {
            AddSafe(new string(' ', cells - Width), TextRole.Plain);
        }

        return this;
    }

    /// <summary>Adds another line's text, all of it in one role when one is given.</summary>
    public TextLine Add(TextLine other, TextRole? role = null)
    {
        foreach ((string text, TextRole own) in other._spans)
        {
            AddSafe(text, role ?? own);
        }

        return this;
    }

    /// <summary>This line in at most <paramref name="cells"/> cells; null leaves it whole.</summary>
    public TextLine Fit(int? cells)
    {
        if (cells is not { } width || Width <= width)
        {
            return this;
        }

        var fitted = new TextLine();
        foreach ((string text, TextRole role) in _spans)
        {
            int room = width - fitted.Width;
            // What follows is cut too, so that a piece that just fits must leave room for the ellipsis.
            bool fits = TerminalText.Width(text) < room;
            fitted.AddSafe(fits ? text : TerminalText.KeepStart(text + "…", room), role);
            if (!fits)
            {
                break;
            }
        }

        return fitted;
    }

    /// <summary>
    /// A sentence after this line, continued below its beginning where it does not fit: at blanks, and within words that are longer than a line.
    /// </summary>
    /// <param name="text">The sentence.</param>
    /// <param name="role">What it is.</param>
    /// <param name="width">Cells of the terminal, or null for a pipe.</param>
    public IEnumerable<TextLine> Wrap(string text, TextRole role, int? width)
    {
        int indent = Width;
        TextLine line = this;
        const int Narrowest = 10;
        if (width is not { } cells || cells - indent < Narrowest)
        {
            yield return line.Add(text, role);
            yield break;
        }

        bool first = true;
        foreach (string word in TerminalText.Sanitize(text).Split(' '))
        {
            string rest = word;
            if (!first && line.Width + 1 + TerminalText.Width(rest) > cells)
            {
                yield return line;
                line = new TextLine().PadTo(indent);
                first = true;
            }

            line.AddSafe(first ? "" : " ", role);
            while (TerminalText.Width(rest) > cells - line.Width)
            {
                string part = TerminalText.KeepStart(rest, cells - line.Width + 1)[..^1];
                line.AddSafe(part, role);
                yield return line;
                line = new TextLine().PadTo(indent);
                rest = rest[part.Length..];
            }

            line.AddSafe(rest, role);
            first = false;
        }

        yield return line;
    }

    /// <summary>The text alone, without blanks at its end.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        foreach ((string span, _) in _spans)
        {
            text.Append(span);
        }

        return text.ToString().TrimEnd(' ');
    }

    private void AddSafe(string text, TextRole role)
    {
        if (text.Length > 0)
        {
            _spans.Add((text, role));
            Width += TerminalText.Width(text);
        }
    }
}
