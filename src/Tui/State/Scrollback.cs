// The guest's serial line as lines of text. What a terminal would do with it is done only as far as lines need it: CR, LF, BS, TAB and the escape sequences that colour or erase
// (ECMA-48) are taken out of the text; cursor addressing is not followed, full-screen programs of the guest look torn. Nothing else reaches the screen: lines are sanitised when shown.
using System.Text;

namespace KTrace.Tui.State;

/// <summary>The last lines of the guest's console. The last of them is still being written.</summary>
public sealed record Scrollback
{
    /// <summary>Lines that are kept.</summary>
    public const int Limit = 50_000;

    private const int LongestLine = 4096;
    private const int TabStop = 8;

    public static Scrollback Empty { get; } = new();

    public AppendOnlyList<string> Lines { get; private init; } = AppendOnlyList<string>.Empty;

    /// <summary>Lines that were forgotten.</summary>
    public long Forgotten { get; private init; }

    /// <summary>What the guest wrote of its last line.</summary>
    public string Open { get; private init; } = "";

    /// <summary>Characters of <see cref="Open"/> before the guest's cursor.</summary>
    public int Column { get; private init; }

    // An escape sequence that is not over yet.
    private EscapeState Escape { get; init; }

    private enum EscapeState
    {
        None,
        Started,
        Control,
        Text,
        TextEscape,
    }

    /// <summary>Finished lines and the open one.</summary>
    public int Count => Lines.Count + 1;

    public string this[int index] => index < Lines.Count ? Lines[index] : Open;

    public Scrollback Append(string text)
    {
        var done = new List<string>();
        var line = new StringBuilder(Open);
        var column = Column;
        var escape = Escape;
        foreach (var c in text)
        {
            if (escape != EscapeState.None)
            {
                escape = Follow(escape, c, line, column);
                continue;
            }

            switch (c)
            {
                case '\n':
                    done.Add(line.ToString());
                    line.Clear();
                    column = 0;
                    break;
                case '\r':
                    column = 0;
                    break;
                case '\b':
                    column = Math.Max(0, column - 1);
                    break;
                case '\t':
                    var stop = Math.Min(LongestLine, (column / TabStop * TabStop) + TabStop);
                    line.Append(' ', Math.Max(0, stop - line.Length));
                    column = stop;
                    break;
                case '\x1b':
                    escape = EscapeState.Started;
                    break;
                case '\a' or '\0' or '\x0e' or '\x0f':
                    break;
                case var _ when column >= LongestLine:
                    break;
                case var _ when column < line.Length:
                    line[column++] = c;
                    break;
                default:
                    line.Append(' ', column - line.Length).Append(c);
                    column++;
                    break;
            }
        }

        var lines = Lines.Append(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(done), Limit);
        return new Scrollback
        {
            Lines = lines,
            Forgotten = Forgotten + Lines.Count + done.Count - lines.Count,
            Open = line.ToString(),
            Column = column,
            Escape = escape,
        };
    }

    /// <summary>One more character of an escape sequence.</summary>
    private static EscapeState Follow(EscapeState state, char c, StringBuilder line, int column)
    {
        switch (state)
        {
            case EscapeState.Started:
                return c switch { '[' => EscapeState.Control, ']' or 'P' or '_' or '^' or 'X' => EscapeState.Text, >= ' ' and <= '/' => EscapeState.Started, _ => EscapeState.None };
            case EscapeState.Control:
                if (c is 'K' && column < line.Length)
                {
                    line.Length = column;
                }

                return c is >= '@' and <= '~' or < ' ' ? EscapeState.None : EscapeState.Control;
            case EscapeState.Text:
                // A string that never ends would swallow the console: the line's end ends it, too.
                return c switch { '\a' or '\n' => EscapeState.None, '\x1b' => EscapeState.TextEscape, _ => EscapeState.Text };
            default:
                return c == '\\' ? EscapeState.None : EscapeState.Text;
        }
    }
}
