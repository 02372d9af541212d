// SGR (ECMA-48 8.3.117): 30–37 and 40–47 the eight colours, 90–97 and 100–107 the bright ones (aixterm), 38;5;n the 256 (xterm), 38;2;r;g;b all of them.
// A colour that is one of the sixteen is always written as such: then it is the one that the person has chosen for it.
// 39 and 49 take a colour back. Decorations are only ever added: what switches one off (22, 27 …) is not known everywhere, 0 is.
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
    private readonly List<Parts> _parts = [new Parts("", "", "", IsSeenOnBlanks: false)];
    private readonly Dictionary<(int From, int To), byte[]> _changes = [];
    private Style _last = Style.Plain;
    private int _lastNumber;

    /// <summary>A style taken apart.</summary>
    /// <param name="IsSeenOnBlanks">A blank in this style is another than a plain one.</param>
    private sealed record Parts(string Decorations, string Foreground, string Background, bool IsSeenOnBlanks);

    public int NumberOf(Style style)
    {
        if (ReferenceEquals(style, _last))
        {
            return _lastNumber;
        }

        if (!_numbers.TryGetValue(style, out int number))
        {
            Parts parts = PartsOf(style);
            byte[] code = Joined([.. parts.Decorations.Select(d => d.ToString()), parts.Foreground, parts.Background]);

            // Without colours many styles are the same.
            number = code.Length == 0 ? 0 : _codes.FindIndex(known => known.AsSpan().SequenceEqual(code));
            if (number < 0 && _codes.Count < MostStyles)
            {
                _codes.Add(code);
                _parts.Add(parts);
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

    /// <summary>Whether a blank in this style is seen: it has a background, or a line through or below it.</summary>
    public bool IsSeenOnBlanks(int number) => _parts[number].IsSeenOnBlanks;

    /// <summary>The parameters of SGR that make one style out of another, as few bytes as there can be: <c>1;32</c>, or <c>0;32</c>. Empty for plain.</summary>
    public ReadOnlySpan<byte> Change(int from, int to)
    {
        if (from == 0 || to == 0)
        {
            return _codes[to];
        }

        if (!_changes.TryGetValue((from, to), out byte[]? change))
        {
            change = ChangeOf(from, to);
            if (_changes.Count < MostStyles)
            {
                _changes.Add((from, to), change);
            }
        }

        return change;
    }

    private byte[] ChangeOf(int from, int to)
    {
        (Parts old, Parts wanted) = (_parts[from], _parts[to]);
        byte[] anew = [(byte)'0', (byte)';', .. _codes[to]];
        if (old.Decorations.Except(wanted.Decorations).Any())
        {
            return anew;
        }

        byte[] changed = Joined(
        [
            .. wanted.Decorations.Except(old.Decorations).Select(d => d.ToString()),
            wanted.Foreground == old.Foreground ? "" : wanted.Foreground.Length > 0 ? wanted.Foreground : "39",
            wanted.Background == old.Background ? "" : wanted.Background.Length > 0 ? wanted.Background : "49",
        ]);
        return changed.Length < anew.Length ? changed : anew;
    }

    private static byte[] Joined(IEnumerable<string> parameters) => System.Text.Encoding.ASCII.GetBytes(string.Join(';', parameters.Where(p => p.Length > 0)));

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

    private Parts PartsOf(Style style)
    {
        const Decoration OnBlanks = Decoration.Underline | Decoration.Invert | Decoration.Strikethrough;
        string background = ColourOf(style.Background, 40);
        return new Parts(
            string.Concat(Decorations.Where(d => (style.Decoration & d.Decoration) != 0).Select(d => d.Code)), ColourOf(style.Foreground, 30), background,
            background.Length > 0 || (style.Decoration & OnBlanks) != 0);
    }

    private string ColourOf(Color colour, int first)
    {
        if (depth == State.ColourDepth.None || colour == Color.Default)
        {
            return "";
        }

        int basic = Nearest(colour, 0, 16);
        if (depth == State.ColourDepth.Sixteen || Distance(colour, Color.FromInt32(basic)) == 0)
        {
            const int ToBright = 60 - 8;
            return (first + basic + (basic < 8 ? 0 : ToBright)).ToString(CultureInfo.InvariantCulture);
        }

        return depth == State.ColourDepth.TwoHundredFiftySix
            ? string.Create(CultureInfo.InvariantCulture, $"{first + 8};5;{Nearest(colour, 16, 240)}")
            : string.Create(CultureInfo.InvariantCulture, $"{first + 8};2;{colour.R};{colour.G};{colour.B}");
    }
}
