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
    Source,
    Reason,
    Added,
    Removed,
    Warning,
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
