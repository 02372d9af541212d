// What is on the terminal is remembered cell by cell; a new picture is drawn beside it, and only cells that differ are written. Synchronised output (mode 2026)
// makes a frame appear at once where the terminal has it. The screen is cleared only when nothing is known of it.
using KTrace.Tui.State;
using Spectre.Console.Rendering;

namespace KTrace.Tui.Terminal;

/// <summary>Pictures → the bytes that change the terminal from the last one to this one.</summary>
public sealed class Screen
{
    private static readonly (int Column, int Row) UnknownPlace = (-1, -1);

    private readonly CellTexts _texts = new();
    private readonly CellStyles _styles;
    private readonly FrameWriter _frame;
    private readonly Capabilities _capabilities;
    private readonly TerminalLooks _looks;
    private CellGrid _shown;
    private CellGrid _next;
    private bool _isKnown;
    private (int Column, int Row)? _cursor = UnknownPlace;

    public Screen(TerminalLooks looks)
    {
        _looks = looks;
        HasSynchronisedOutput = looks.HasSynchronisedOutput;
        _styles = new CellStyles(looks.Colours);
        _frame = new FrameWriter(_styles, _texts);
        _capabilities = new Capabilities(looks);
        _shown = _next = new CellGrid(default, _texts, looks.IsUnicode);
    }

    /// <summary>DEC mode 2026, which the terminal may tell later than the rest of what it can do.</summary>
    public bool HasSynchronisedOutput { get; set; }

    /// <summary>Nothing is known of what the terminal shows: the next picture is written whole.</summary>
    public void Forget() => (_isKnown, _cursor) = (false, UnknownPlace);

    /// <summary>The bytes that bring a picture to the terminal; empty where it shows it already. Valid until the next call.</summary>
    /// <param name="picture">Lines from the top; what is missing is blank, what is too much is left out.</param>
    /// <param name="cursor">From 0; null hides it.</param>
    public ReadOnlySpan<byte> Paint(IRenderable picture, TerminalSize size, (int Column, int Row)? cursor)
    {
        if (_shown.Size != size)
        {
            _shown = new CellGrid(size, _texts, _looks.IsUnicode);
            _next = new CellGrid(size, _texts, _looks.IsUnicode);
            Forget();
        }

        var options = new RenderOptions(_capabilities, new Spectre.Console.Size(size.Columns, size.Rows));
        _next.Draw(picture.Render(options, size.Columns), _styles);

        _frame.Begin();
        if (!_isKnown)
        {
            BeginCells();
            _frame.Raw("\e[m\e[H\e[2J"u8);
            _shown.Clear();
            _isKnown = true;
        }

        WriteCells();
        (_shown, _next) = (_next, _shown);
        bool changed = _frame.Length > 0;
        if (changed || cursor != _cursor)
        {
            PlaceCursor(cursor);
        }

        if (HasSynchronisedOutput && changed)
        {
            _frame.Raw("\e[?2026l"u8);
        }

        return _frame.Bytes;
    }

    private void WriteCells()
    {
        for (int row = 0; row < _next.Size.Rows; row++)
        {
            int column = _next.Numbers(row).CommonPrefixLength(_shown.Numbers(row));
            if (column == _next.Size.Columns)
            {
                continue;
            }

            if (_frame.Length == 0)
            {
                BeginCells();
            }

            WriteRow(row, column);
        }

        _frame.Pen(0);
    }

    private void BeginCells()
    {
        // Without synchronised output a cursor that jumps over the screen while it is painted can be seen.
        _frame.Raw(HasSynchronisedOutput ? "\e[?2026h"u8 : _cursor is not null ? "\e[?25l"u8 : []);
    }

    private void WriteRow(int row, int column)
    {
        Span<Cell> cells = _next.Row(row), shown = _shown.Row(row);
        int blankFrom = cells.LastIndexOfAnyExcept(Cell.Blank) + 1;
        int written = -1;
        while (column < cells.Length)
        {
            // EL is three bytes: from there on it is shorter than blanks.
            const int WorthErasing = 4;
            if (column >= blankFrom && shown[column..].LastIndexOfAnyExcept(Cell.Blank) >= WorthErasing)
            {
                _frame.MoveTo(row, column);
                _frame.EraseToEnd();
                return;
            }

            if (written >= 0 && _frame.PassesOver(row, written, cells[written..column]))
            {
                for (; written < column; written++)
                {
                    _frame.Put(cells[written], 1, cells.Length);
                }
            }

            do
            {
                _frame.MoveTo(row, column);
                int wide = column + 1 < cells.Length && cells[column + 1].Text == Cell.Continued ? 2 : 1;
                _frame.Put(cells[column], wide, cells.Length);
                column += wide;
                written = column;
            }
            while (column < cells.Length && cells[column] != shown[column] && column < blankFrom);

            column += _next.Numbers(row)[column..].CommonPrefixLength(_shown.Numbers(row)[column..]);
        }
    }

    private void PlaceCursor((int Column, int Row)? cursor)
    {
        if (cursor is { } place)
        {
            _frame.MoveTo(Math.Clamp(place.Row, 0, Math.Max(0, _shown.Size.Rows - 1)), Math.Clamp(place.Column, 0, Math.Max(0, _shown.Size.Columns - 1)));
            _frame.Raw("\e[?25h"u8);
        }
        else if (_cursor is not null)
        {
            _frame.Raw("\e[?25l"u8);
        }

        _cursor = cursor;
    }

    /// <summary>What Spectre.Console asks of a terminal; the views here ask nothing.</summary>
    private sealed class Capabilities(TerminalLooks looks) : Spectre.Console.IReadOnlyCapabilities
    {
        public Spectre.Console.ColorSystem ColorSystem => looks.Colours switch
        {
            ColourDepth.None => Spectre.Console.ColorSystem.NoColors,
            ColourDepth.Sixteen => Spectre.Console.ColorSystem.Standard,
            ColourDepth.TwoHundredFiftySix => Spectre.Console.ColorSystem.EightBit,
            _ => Spectre.Console.ColorSystem.TrueColor,
        };

        public bool Ansi => true;

        public bool Links => false;

        public bool Legacy => false;

        public bool IsTerminal => true;

        public bool Interactive => false;

        public bool Unicode => looks.IsUnicode;
    }
}
