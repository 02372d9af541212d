using System.Runtime.InteropServices;
using System.Text;
using KTrace.Tui.Views;
using Spectre.Console.Rendering;

namespace KTrace.Tui.Terminal;

/// <summary>A screen's cells. A picture is written into it segment by segment; what has no room is left out.</summary>
/// <param name="isUnicode">The terminal takes UTF-8; otherwise everything but ASCII becomes something like it.</param>
internal sealed class CellGrid(TerminalSize size, CellTexts texts, bool isUnicode)
{
    private const int Replacement = 0xfffd;

    private readonly Cell[] _cells = new Cell[size.Columns * size.Rows];

    // In the style that is being drawn. A blank whose style is not seen is a plain one: nothing has changed where only that would.
    private Cell _blank = Cell.Blank;

    public TerminalSize Size { get; } = size;

    public Span<Cell> Row(int row) => _cells.AsSpan(row * Size.Columns, Size.Columns);

    /// <summary>For comparing: eight bytes a cell, as numbers.</summary>
    public ReadOnlySpan<long> Numbers(int row) => MemoryMarshal.Cast<Cell, long>(Row(row));

    public void Clear() => _cells.AsSpan().Fill(Cell.Blank);

    public void Draw(IEnumerable<Segment> picture, CellStyles styles)
    {
        Clear();
        int row = 0, column = 0;
        foreach (Segment segment in picture)
        {
            if (segment.IsControlCode)
            {
                continue;
            }

            int style = styles.NumberOf(segment.Style);
            _blank = new Cell(' ', styles.IsSeenOnBlanks(style) ? style : 0);
            ReadOnlySpan<char> text = segment.Text;
            while (!text.IsEmpty)
            {
                if (row >= Size.Rows)
                {
                    return;
                }

                int end = text.IndexOf('\n');
                column = Put(Row(row), column, end < 0 ? text : text[..end], style);
                if (end < 0)
                {
                    break;
                }

                (row, column) = (row + 1, 0);
                text = text[(end + 1)..];
            }
        }
    }

    /// <summary>Writes text into a row, and gives the column behind it.</summary>
    private int Put(Span<Cell> row, int column, ReadOnlySpan<char> text, int style)
    {
        int ascii = text.IndexOfAnyExceptInRange(' ', '~');
        int simple = ascii < 0 ? text.Length : ascii;
        int plain = Math.Min(simple, Math.Max(0, row.Length - column));
        for (int i = 0; i < plain; i++)
        {
            row[column + i] = text[i] == ' ' ? _blank : new Cell(text[i], style);
        }

        if (ascii < 0 || plain < simple)
        {
            // Behind the edge, where not even a mark combines with what is seen.
            return plain < simple ? row.Length + 1 : column + plain;
        }

        column += plain;
        foreach (Rune rune in text[ascii..].EnumerateRunes())
        {
            if (column > row.Length || rune.Value == '\r')
            {
                continue;
            }

            column = Put(row, column, rune, style);
        }

        return column;
    }

    private int Put(Span<Cell> row, int column, Rune rune, int style)
    {
        int code = TerminalText.IsHarmless(rune) ? rune.Value : Replacement;
        int width = code == Replacement ? 1 : TerminalText.Width(rune);
        if (!isUnicode)
        {
            code = AsciiLikeness.Of(code);
        }

        if (width == 0)
        {
            int under = column > 1 && row[column - 1].Text == Cell.Continued ? column - 2 : column - 1;

            // Not in the last column: with wrapping off tmux puts a mark there on the character before.
            if (under >= 0 && isUnicode && column < row.Length)
            {
                row[under] = new Cell(texts.Combine(row[under].Text, rune), row[under].IsBlank ? style : row[under].Style);
            }

            return column;
        }

        if (column + width > row.Length)
        {
            // Half of a wide character cannot be shown.
            if (column < row.Length)
            {
                row[column] = _blank;
            }

            return row.Length + 1;
        }

        row[column] = new Cell(code, style);
        if (width == 2)
        {
            row[column + 1] = isUnicode ? new Cell(Cell.Continued, style) : _blank;
        }

        return column + width;
    }
}
