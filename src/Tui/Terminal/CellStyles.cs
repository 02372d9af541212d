// SGR (ECMA-48 8.3.117): 30–37 and 40–47 the eight colours, 90–97 and 100–107 the bright ones (aixterm), 38;5;n the 256 (xterm), 38;2;r;g;b all of them.
// A colour that is one of the sixteen is always written as such: then it is the one that the person has chosen for it.
using System.Globalization;
using Spectre.Console;

namespace KTrace.Tui.Terminal;

/// <summary>Styles as numbers, and what each is for a terminal. Number 0 is plain.</summary>
internal sealed class CellStyles(State.ColourDepth depth)
{
    // A screen has some dozens; more would be a picture painted with colours.
    private const int MostStyles = 2048;

    private static readonly (Decoration Decoration, char Code)[] Decorations =
    [
        (Decoration.Bold, '1'), (Decoration.Dim, '2'), (Decoration.Italic, '3'), (Decoration.Underline, '4'), (Decoration.SlowBlink, '5'),
        (Decoration.RapidBlink, '6'), (Decoration.Invert, '7'), (Decoration.Conceal, '8'), (Decoration.Strikethrough, '9'),
    ];

    private readonly Dictionary<Style, int> _numbers = new() { [Style.Plain] = 0 };
    private readonly List<byte[]> _codes = [[]];
    private Style _last = Style.Plain;
    private int _lastNumber;

    public int NumberOf(Style style)
    {
        if (ReferenceEquals(style, _last))
        {
            return _lastNumber;
        }

        if (!_numbers.TryGetValue(style, out int number))
        {
            byte[] code = CodeOf(style);

            // Without colours many styles are the same.
            number = code.Length == 0 ? 0 : _codes.FindIndex(known => known.AsSpan().SequenceEqual(code));
            if (number < 0 && _codes.Count < MostStyles)
            {
                _codes.Add(code);
                number = _codes.Count - 1;
            }

            number = Math.Max(0, number);
            if (_numbers.Count < MostStyles)
            {
                _numbers.Add(style, number);
            }
        }

        (_last, _lastNumber) = (style, number);
        return number;
    }

    /// <summary>The parameters of SGR that make the style out of plain: <c>1;32</c>. Empty for plain.</summary>
    public ReadOnlySpan<byte> Code(int number) => _codes[number];

    private static int Distance(Color a, Color b)
    {
        // Weighted as the eye sees: good enough to pick a neighbour.
        int red = a.R - b.R, green = a.G - b.G, blue = a.B - b.B;
        return (2 * red * red) + (4 * green * green) + (3 * blue * blue);
    }

    private static int Nearest(Color colour, int first, int count)
    {
        int best = first;
        for (int i = first + 1; i < first + count; i++)
        {
            if (Distance(colour, Color.FromInt32(i)) < Distance(colour, Color.FromInt32(best)))
            {
                best = i;
            }
        }

        return best;
    }

    private byte[] CodeOf(Style style)
    {
        var parameters = new List<string>();
        foreach ((Decoration decoration, char code) in Decorations)
        {
            if ((style.Decoration & decoration) != 0)
            {
                parameters.Add(code.ToString());
            }
        }

        AddColour(parameters, style.Foreground, 30);
        AddColour(parameters, style.Background, 40);
        return System.Text.Encoding.ASCII.GetBytes(string.Join(';', parameters));
    }

    private void AddColour(List<string> parameters, Color colour, int first)
    {
        if (depth == State.ColourDepth.None || colour == Color.Default)
        {
            return;
        }

        int basic = Nearest(colour, 0, 16);
        if (depth == State.ColourDepth.Sixteen || Distance(colour, Color.FromInt32(basic)) == 0)
        {
            const int ToBright = 60 - 8;
            parameters.Add((first + basic + (basic < 8 ? 0 : ToBright)).ToString(CultureInfo.InvariantCulture));
        }
        else if (depth == State.ColourDepth.TwoHundredFiftySix)
        {
            parameters.Add(string.Create(CultureInfo.InvariantCulture, $"{first + 8};5;{Nearest(colour, 16, 240)}"));
        }
        else
        {
            parameters.Add(string.Create(CultureInfo.InvariantCulture, $"{first + 8};2;{colour.R};{colour.G};{colour.B}"));
        }
    }
}
