// What goes out: cursor moves CUP, CUF, CR LF; colours SGR; blank line ends EL (ECMA-48 8.3). The terminal is in raw mode: a line feed does not return the carriage.
using System.Buffers;
using System.Buffers.Text;
using System.Text;

namespace KTrace.Tui.Terminal;

/// <summary>Puts one frame's bytes together, and knows where they leave the cursor and the pen. A frame begins and ends with a plain pen.</summary>
internal sealed class FrameWriter(CellStyles styles, CellTexts texts)
{
    private const int Unknown = -2;

    private readonly ArrayBufferWriter<byte> _bytes = new(16 << 10);
    private int _row;
    private int _column;
    private int _pen;

    public ReadOnlySpan<byte> Bytes => _bytes.WrittenSpan;

    public int Length => _bytes.WrittenCount;

    public void Begin()
    {
        _bytes.ResetWrittenCount();
        (_row, _column, _pen) = (Unknown, Unknown, 0);
    }

    public void Raw(ReadOnlySpan<byte> bytes) => _bytes.Write(bytes);

    public void MoveTo(int row, int column)
    {
        if (row == _row && column == _column)
        {
            return;
        }

        if (row == _row && column > _column && _column >= 0)
        {
            Csi(column - _column == 1 ? 0 : column - _column, 0, 'C');
        }
        else if (_row >= 0 && row == _row + 1 && column == 0)
        {
            Raw("\r\n"u8);
        }
        else
        {
            Csi(row == 0 && column == 0 ? 0 : row + 1, column == 0 ? 0 : column + 1, 'H');
        }

        (_row, _column) = (row, column);
    }

    /// <summary>Whether cells that need not change can be written as they are instead of a move over them.</summary>
    public bool PassesOver(int row, int column, ReadOnlySpan<Cell> cells)
    {
        // CUF is four bytes.
        if (row != _row || column != _column || cells.Length > 4)
        {
            return false;
        }

        foreach (Cell cell in cells)
        {
            if ((cell.Style != _pen && !IsBlankInThisPen(cell)) || cell.Text is < ' ' or > '~')
            {
                return false;
            }
        }

        return true;
    }

    /// <param name="width">Of the whole screen: at its right edge terminals differ in where the cursor is then.</param>
    public void Put(Cell cell, int cells, int width)
    {
        if (!IsBlankInThisPen(cell))
        {
            Pen(cell.Style);
        }

        if (cell.Text is >= 0 and < 0x80)
        {
            Byte((byte)cell.Text);
        }
        else if (cell.Text >= 0)
        {
            Span<byte> utf8 = stackalloc byte[4];
            Raw(utf8[..new Rune(cell.Text).EncodeToUtf8(utf8)]);
        }
        else
        {
            Raw(Encoding.UTF8.GetBytes(texts[cell.Text]));
        }

        _column += cells;
        if (_column >= width || !IsWidthSure(cell.Text))
        {
            _column = Unknown;
        }
    }

    /// <summary>Makes the rest of the row blank.</summary>
    public void EraseToEnd()
    {
        if (styles.IsSeenOnBlanks(_pen))
        {
            Pen(0);
        }

        Raw("\e[K"u8);
    }

    /// <summary>A plain blank that this pen writes as well as a plain one: its colour would not be seen.</summary>
    private bool IsBlankInThisPen(Cell cell) => cell.IsBlank && !styles.IsSeenOnBlanks(_pen);

    public void Pen(int style)
    {
        if (style == _pen)
        {
            return;
        }

        Raw("\e["u8);
        Raw(styles.Change(_pen, style));
        Byte((byte)'m');
        _pen = style;
    }

    /// <summary>
    /// Terminals do not agree on how wide emoji, marks that combine and new scripts are. Behind such a character the cursor is placed anew: a wrong guess
    /// then moves nothing else on the line.
    /// </summary>
    private static bool IsWidthSure(int text) => text is >= 0 and < 0x300 or (>= 0x2000 and < 0x2600);

    private void Byte(byte value)
    {
        _bytes.GetSpan(1)[0] = value;
        _bytes.Advance(1);
    }

    private void Csi(int first, int second, char final)
    {
        Raw("\e["u8);
        Number(first);
        if (second > 0)
        {
            Byte((byte)';');
            Number(second);
        }

        Byte((byte)final);
    }

    private void Number(int value)
    {
        if (value > 0)
        {
            Utf8Formatter.TryFormat(value, _bytes.GetSpan(11), out int written);
            _bytes.Advance(written);
        }
    }
}
