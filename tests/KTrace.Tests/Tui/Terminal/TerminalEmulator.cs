using System.Globalization;
using System.Text;
using KTrace.Tui.Terminal;
using KTrace.Tui.Views;

namespace KTrace.Tests.Tui.Terminal;

/// <summary>
/// A terminal in memory: applies bytes as one does, and throws for what it does not know, so that nothing is written that was not meant. Halves of wide
/// characters that are written over become blank.
/// </summary>
internal sealed class TerminalEmulator
{
    private (string Text, string Style)[,] _cells = new (string, string)[0, 0];
    private Pen _pen = Pen.Plain;
    private int _row;
    private int _column;

    public TerminalEmulator(TerminalSize size) => Resize(size);

    public TerminalSize Size { get; private set; }

    public bool IsCursorShown { get; private set; } = true;

    public (int Column, int Row) Cursor => (_column, _row);

    public bool IsSynchronised { get; private set; }

    /// <summary>Times that the whole screen was cleared.</summary>
    public int Clears { get; private set; }

    public (string Text, string Style) this[int row, int column] => _cells[row, column];

    /// <summary>Rows of text; the right half of a wide character is nothing.</summary>
    public string[] Rows => [.. Enumerable.Range(0, Size.Rows).Select(row => string.Concat(Enumerable.Range(0, Size.Columns).Select(column => _cells[row, column].Text)).TrimEnd())];

    /// <summary>As terminals do it: what was there stays where it fits, and may be anything.</summary>
    public void Resize(TerminalSize size)
    {
        Size = size;
        _cells = new (string, string)[size.Rows, size.Columns];
        for (int row = 0; row < size.Rows; row++)
        {
            for (int column = 0; column < size.Columns; column++)
            {
                _cells[row, column] = ("?", "");
            }
        }

        (_row, _column) = (0, 0);
    }

    public void Apply(ReadOnlySpan<byte> bytes)
    {
        string text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes);
        for (int at = 0; at < text.Length;)
        {
            if (text[at] == '\e')
            {
                at = ApplySequence(text, at);
            }
            else if (text[at] is '\r' or '\n')
            {
                _column = text[at] == '\r' ? 0 : _column;
                _row = text[at] == '\n' ? Math.Min(_row + 1, Size.Rows - 1) : _row;
                at++;
            }
            else
            {
                Rune rune = Rune.GetRuneAt(text, at);
                Put(rune);
                at += rune.Utf16SequenceLength;
            }
        }
    }

    private int ApplySequence(string text, int at)
    {
        if (text[at + 1] != '[')
        {
            throw new InvalidDataException($"not known: ESC {text[at + 1]}");
        }

        int end = at + 2;
        while (text[end] is >= ' ' and < '@')
        {
            end++;
        }

        string parameters = text[(at + 2)..end];
        int Number(int index) => parameters.Split(';') is var all && index < all.Length && all[index].Length > 0 ? int.Parse(all[index], CultureInfo.InvariantCulture) : 1;
        switch (text[end], parameters)
        {
            case ('H', _):
                (_row, _column) = (Math.Clamp(Number(0) - 1, 0, Size.Rows - 1), Math.Clamp(Number(1) - 1, 0, Size.Columns - 1));
                break;
            case ('C', _):
                _column = Math.Min(_column + Number(0), Size.Columns - 1);
                break;
            case ('K', ""):
                for (int column = _column; column < Size.Columns; column++)
                {
                    Set(_row, column, " ");
                }

                break;
            case ('J', "2"):
                Clears++;
                for (int row = 0; row < Size.Rows; row++)
                {
                    for (int column = 0; column < Size.Columns; column++)
                    {
                        _cells[row, column] = (" ", _pen.StyleOf(" "));
                    }
                }

                break;
            case ('m', _):
                _pen = _pen.With(parameters.Split(';'));
                break;
            case ('h' or 'l', "?25"):
                IsCursorShown = text[end] == 'h';
                break;
            case ('h' or 'l', "?2026"):
                IsSynchronised = text[end] == 'h';
                break;
            default:
                throw new InvalidDataException($"not known: ESC [ {parameters} {text[end]}");
        }

        return end + 1;
    }

    private void Put(Rune rune)
    {
        if (Rune.IsControl(rune))
        {
            throw new InvalidDataException($"a control character: {rune.Value:x}");
        }

        int width = TerminalText.Width(rune);
        if (width == 0)
        {
            int under = _column > 0 ? _column - 1 : 0;
            under -= _cells[_row, under].Text.Length == 0 ? 1 : 0;
            _cells[_row, under].Text += rune.ToString();
            return;
        }

        // Wrapping is off: what does not fit is written over the last column.
        int column = Math.Min(_column, Size.Columns - width);
        Set(_row, column, rune.ToString());
        if (width == 2)
        {
            Set(_row, column + 1, "");
        }

        _column = column + width;
    }

    private void Set(int row, int column, string text)
    {
        if (_cells[row, column].Text.Length == 0 && column > 0 && text.Length > 0)
        {
            _cells[row, column - 1].Text = " ";
        }

        if (column + 1 < Size.Columns && _cells[row, column + 1].Text.Length == 0 && _cells[row, column].Text.Length > 0)
        {
            _cells[row, column + 1].Text = " ";
        }

        _cells[row, column] = (text, _pen.StyleOf(text));
    }

    /// <summary>What SGR said since the last reset.</summary>
    private sealed record Pen(string Decorations, string Foreground, string Background)
    {
        public static Pen Plain { get; } = new("", "", "");

        /// <summary>As the parameters that make it out of plain. Of a blank only what is seen counts.</summary>
        public string StyleOf(string text) =>
            text == " " && Background.Length == 0 && Decorations.IndexOfAny(['4', '7', '9']) < 0 ? ""
            : string.Join(';', Decorations.Select(d => d.ToString()).Append(Foreground).Append(Background).Where(p => p.Length > 0));

        public Pen With(ReadOnlySpan<string> parameters)
        {
            Pen pen = this;
            while (!parameters.IsEmpty)
            {
                int length = parameters[0] is "38" or "48" ? parameters[1] == "5" ? 3 : 5 : 1;
                string colour = string.Join(';', parameters[..length].ToArray());
                pen = (parameters[0].Length > 0 ? int.Parse(parameters[0], CultureInfo.InvariantCulture) : 0) switch
                {
                    0 => Plain,
                    >= 1 and <= 9 and var decoration => pen with { Decorations = string.Concat($"{pen.Decorations}{decoration}".Distinct().Order()) },
                    39 => pen with { Foreground = "" },
                    49 => pen with { Background = "" },
                    (>= 30 and <= 38) or (>= 90 and <= 97) => pen with { Foreground = colour },
                    (>= 40 and <= 48) or (>= 100 and <= 107) => pen with { Background = colour },
                    var other => throw new InvalidDataException($"not known: SGR {other}"),
                };
                parameters = parameters[length..];
            }

            return pen;
        }
    }
}
