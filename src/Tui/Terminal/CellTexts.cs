using System.Text;

namespace KTrace.Tui.Terminal;

/// <summary>Characters with marks that combine with them: each is one number, so that a cell stays small and comparing is cheap.</summary>
internal sealed class CellTexts
{
    // Text that a guest can choose: neither the marks on a character nor the number of such characters may grow without end.
    private const int LongestText = 16, MostTexts = 4096;

    private readonly Dictionary<string, int> _numbers = [];
    private readonly List<string> _texts = [];

    /// <summary>What stands in a cell, as text.</summary>
    public string this[int number] => number < Cell.Continued ? _texts[Cell.Continued - 1 - number] : char.ConvertFromUtf32(number);

    /// <summary>The number of a cell's text with a mark added; the same number where there is no room for one more.</summary>
    public int Combine(int text, Rune mark)
    {
        string combined = this[text] + mark;
        if (_numbers.TryGetValue(combined, out int known))
        {
            return known;
        }

        if (combined.Length > LongestText || _texts.Count == MostTexts)
        {
            return text;
        }

        _texts.Add(combined);
        int number = Cell.Continued - _texts.Count;
        _numbers.Add(combined, number);
        return number;
    }
}
