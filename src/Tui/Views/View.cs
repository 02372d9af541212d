using Spectre.Console;
using Spectre.Console.Rendering;

namespace KTrace.Tui.Views;

/// <summary>
/// A picture of a state: lines for a width. On a terminal it is a Spectre.Console renderable, for a pipe it is plain text of any length;
/// both come from the same layout.
/// </summary>
public abstract class View : IRenderable
{
    /// <param name="width">Cells of the terminal, or null for a pipe: then nothing is shortened or dropped.</param>
    public abstract IEnumerable<TextLine> Lines(int? width);

    /// <summary>How a role looks.</summary>
    protected virtual Style StyleOf(TextRole role) => Theme.Of(role);

    public Measurement Measure(RenderOptions options, int maxWidth) => new(Math.Min(maxWidth, 40), maxWidth);

    public IEnumerable<Segment> Render(RenderOptions options, int maxWidth)
    {
        foreach (TextLine line in Lines(maxWidth))
        {
            foreach ((string text, TextRole role) in line.Fit(maxWidth).Spans)
            {
                yield return new Segment(text, StyleOf(role));
            }

            yield return Segment.LineBreak;
        }
    }
}
