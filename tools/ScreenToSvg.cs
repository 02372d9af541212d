#:property PublishAot=false
// A terminal's screen as an SVG picture, for documentation: what `tmux capture-pane -e -p` writes comes in, the picture goes out. Nothing is drawn that was not on the screen.
//   tmux capture-pane -e -p | dotnet run tools/ScreenToSvg.cs > docs/tui.svg
// tmux writes SGR sequences alone (ECMA-48 8.3.117): attributes, the 16 colours, 38;5;N, 38;2;R;G;B and the same of the background.
using System.Globalization;
using System.Text;

const double CellWidth = 8.4, CellHeight = 17, Margin = 10;
string[] palette =
[
    "#1d1f21", "#cc6666", "#b5bd68", "#e0b45c", "#81a2be", "#b294bb", "#8abeb7", "#c5c8c6",
    "#767a7d", "#e88080", "#cbd584", "#f0c674", "#9fc0de", "#cfaedb", "#a6d9d2", "#ffffff",
];
const string Paper = "#1d1f21", Ink = "#c5c8c6";

Console.OutputEncoding = new UTF8Encoding(false);
using var input = new StreamReader(Console.OpenStandardInput(), Encoding.UTF8);
var lines = input.ReadToEnd().TrimEnd('\n').Split('\n');
var (columns, svg) = (0, new StringBuilder());
var look = new Look(null, null, false, false, false, false);
for (var row = 0; row < lines.Length; row++)
{
    var column = 0;
    for (var at = 0; at < lines[row].Length;)
    {
        if (lines[row][at] == '\e')
        {
            var end = lines[row].IndexOf('m', at);
            look = Changed(look, lines[row][(at + 2)..end].Split([';', ':']));
            at = end + 1;
            continue;
        }

        var next = lines[row].IndexOf('\e', at) is var escape and >= 0 ? escape : lines[row].Length;
        Draw(row, column, lines[row][at..next], look);
        column += next - at;
        at = next;
    }

    columns = Math.Max(columns, column);
}

var (width, height) = ((columns * CellWidth) + (2 * Margin), (lines.Length * CellHeight) + (2 * Margin));
Console.Out.Write(string.Create(CultureInfo.InvariantCulture, $"""
    <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:0.#} {height:0.#}" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14">
    <rect width="100%" height="100%" rx="6" fill="{Paper}"/>
    {svg}</svg>

    """));

void Draw(int row, int column, string text, Look style)
{
    var (ink, paper) = (style.Ink ?? Ink, style.Paper);
    if (style.IsReverse)
    {
        (ink, paper) = (paper ?? Paper, ink);
    }

    var (x, y) = (Margin + (column * CellWidth), Margin + (row * CellHeight));
    if (paper is not null)
    {
        svg.Append(CultureInfo.InvariantCulture, $"<rect x=\"{x:0.#}\" y=\"{y:0.#}\" width=\"{text.Length * CellWidth:0.#}\" height=\"{CellHeight:0.#}\" fill=\"{paper}\"/>\n");
    }

    if (string.IsNullOrWhiteSpace(text))
    {
        return;
    }

    var attributes = (style.IsBold ? " font-weight=\"bold\"" : "") + (style.IsDim ? " opacity=\"0.65\"" : "") + (style.IsUnderlined ? " text-decoration=\"underline\"" : "");
    var escaped = text.Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal);
    svg.Append(CultureInfo.InvariantCulture, $"<text x=\"{x:0.#}\" y=\"{y + 13:0.#}\" textLength=\"{text.Length * CellWidth:0.#}\" fill=\"{ink}\"{attributes} xml:space=\"preserve\">{escaped}</text>\n");
}

Look Changed(Look now, string[] numbers)
{
    for (var i = 0; i < numbers.Length; i++)
    {
        var number = numbers[i].Length == 0 ? 0 : int.Parse(numbers[i], CultureInfo.InvariantCulture);
        switch (number)
        {
            case 0: now = new Look(null, null, false, false, false, false); break;
            case 1: now = now with { IsBold = true }; break;
            case 2: now = now with { IsDim = true }; break;
            case 4: now = now with { IsUnderlined = true }; break;
            case 7: now = now with { IsReverse = true }; break;
            case 22: now = now with { IsBold = false, IsDim = false }; break;
            case 24: now = now with { IsUnderlined = false }; break;
            case 27: now = now with { IsReverse = false }; break;
            case 38: now = now with { Ink = Extended(numbers, ref i) }; break;
            case 39: now = now with { Ink = null }; break;
            case 48: now = now with { Paper = Extended(numbers, ref i) }; break;
            case 49: now = now with { Paper = null }; break;
            case >= 30 and <= 37: now = now with { Ink = palette[number - 30] }; break;
            case >= 40 and <= 47: now = now with { Paper = palette[number - 40] }; break;
            case >= 90 and <= 97: now = now with { Ink = palette[number - 82] }; break;
            case >= 100 and <= 107: now = now with { Paper = palette[number - 92] }; break;
        }
    }

    return now;
}

string Extended(string[] numbers, ref int at)
{
    int Number(int offset) => int.Parse(numbers[offset], CultureInfo.InvariantCulture);
    if (Number(at + 1) == 2)
    {
        at += 4;
        return $"#{Number(at - 2):x2}{Number(at - 1):x2}{Number(at):x2}";
    }

    at += 2;
    var index = Number(at);
    if (index < 16)
    {
        return palette[index];
    }

    // xterm's 6×6×6 cube and its greys.
    int Level(int step) => step == 0 ? 0 : 55 + (step * 40);
    return index >= 232
        ? string.Create(CultureInfo.InvariantCulture, $"#{8 + ((index - 232) * 10):x2}{8 + ((index - 232) * 10):x2}{8 + ((index - 232) * 10):x2}")
        : $"#{Level((index - 16) / 36):x2}{Level((index - 16) / 6 % 6):x2}{Level((index - 16) % 6):x2}";
}

internal sealed record Look(string? Ink, string? Paper, bool IsBold, bool IsDim, bool IsUnderlined, bool IsReverse);
