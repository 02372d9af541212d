using System.Text;
using KTrace.Tui.Terminal;
using KTrace.Tui.Views;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace KTrace.Tests.Tui.Terminal;

/// <summary>Cells chosen at random, and what a terminal must show of them.</summary>
internal sealed class TestPicture(TerminalSize size, (string Text, int Style)[,] cells) : IRenderable
{
    private static readonly (Style Style, string Code)[] Styles =
    [
        (Style.Plain, ""), (new Style(decoration: Decoration.Bold), "1"), (new Style(Color.Green), "32"), (new Style(Color.Purple), "35"), (new Style(Color.Green, decoration: Decoration.Bold), "1;32"), (new Style(Color.Green, Color.Navy), "32;44"), (new Style(Color.Red, Color.Navy, Decoration.Underline), "4;91;44"),
        (new Style(decoration: Decoration.Invert), "7"),
    ];

    private static readonly string[] Texts = ["a", "B", "0", "é", "│", "─", "漢", "🐧", "e\u0301", "漢\u0301", " ", " ", " ", " "];

    public static TestPicture Random(TerminalSize size, Random random)
    {
        var cells = new (string, int)[size.Rows, size.Columns];
        for (int row = 0; row < size.Rows; row++)
        {
            Fill(cells, row, 0, size.Columns, random);
        }

        return new TestPicture(size, cells);
    }

    public TestPicture Changed(Random random)
    {
        var other = ((string Text, int Style)[,])cells.Clone();
        for (int change = random.Next(6); change >= 0; change--)
        {
            // From a whole character to a whole character.
            int row = random.Next(size.Rows), first = random.Next(size.Columns), end = Math.Min(size.Columns, first + random.Next(1, 12));
            first -= other[row, first].Text.Length == 0 ? 1 : 0;
            end += end < size.Columns && other[row, end].Text.Length == 0 ? 1 : 0;
            Fill(other, row, first, end, random);
        }

        return new TestPicture(size, other);
    }

    /// <summary>Rows of text, without blanks at their ends.</summary>
    public string[] Rows => [.. Enumerable.Range(0, size.Rows).Select(row => string.Concat(Enumerable.Range(0, size.Columns).Select(column => cells[row, column].Text)).TrimEnd())];

    public void AssertShown(TerminalEmulator terminal)
    {
        for (int row = 0; row < size.Rows; row++)
        {
            for (int column = 0; column < size.Columns; column++)
            {
                (string text, int style) = cells[row, column];
                // The colour of a blank is not seen.
                (string, string) expected = (text, text == " " && !Styles[style].Code.Split(';').Intersect(["4", "7", "44"]).Any() ? "" : Styles[style].Code);
                if (terminal[row, column] != expected)
                {
                    Assert.Fail($"row {row} column {column}: {terminal[row, column]} instead of {expected}");
                }
            }
        }
    }

    public Measurement Measure(RenderOptions options, int maxWidth) => new(0, maxWidth);

    public IEnumerable<Segment> Render(RenderOptions options, int maxWidth)
    {
        for (int row = 0; row < size.Rows; row++)
        {
            for (int column = 0; column < size.Columns;)
            {
                int style = cells[row, column].Style;
                var text = new StringBuilder();
                for (; column < size.Columns && cells[row, column].Style == style; column++)
                {
                    text.Append(cells[row, column].Text);
                }

                yield return new Segment(text.ToString(), Styles[style].Style);
            }

            yield return Segment.LineBreak;
        }
    }

    private static void Fill((string, int)[,] cells, int row, int first, int end, Random random)
    {
        // Mostly long stretches of one style, as on real screens, and empty ones.
        while (first < end)
        {
            int style = random.Next(3) == 0 ? random.Next(Styles.Length) : 0;
            bool blank = random.Next(3) == 0;
            for (int last = Math.Min(end, first + random.Next(1, 30)); first < last; first++)
            {
                string text = blank ? " " : Texts[random.Next(Texts.Length)];
                bool wide = TerminalText.Width(text) == 2;
                bool marked = text.EndsWith('\u0301');
                if (first + (wide ? 2 : 1) + (marked ? 1 : 0) > end)
                {
                    // No half characters, and no marks in the last column.
                    text = "x";
                    wide = false;
                }

                cells[row, first] = (text, style);
                if (wide)
                {
                    cells[row, ++first] = ("", style);
                }
            }
        }
    }
}
