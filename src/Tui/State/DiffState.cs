using KTrace.Tui.Views;

namespace KTrace.Tui.State;

/// <summary>What two hits or two traces have in common and where they differ.</summary>
/// <param name="Title">What is compared.</param>
/// <param name="Lines">As <c>ktrace diff</c> shows it, laid out for a width when it is first seen in that width.</param>
public sealed record DiffState(string Title, LaidOutLines Lines);

/// <summary>A view's lines for the width that was asked for last. The same width gives the same lines: to everybody else it is a constant.</summary>
public sealed class LaidOutLines(View view)
{
    /// <summary>More lines than these nobody reads.</summary>
    private const int Limit = 200_000;

    private (int Width, TextLine[] Lines)? _last;

    public IReadOnlyList<TextLine> At(int width)
    {
        lock (view)
        {
            if (_last is not { } last || last.Width != width)
            {
                _last = last = (width, [.. view.Lines(width).Take(Limit)]);
            }

            return last.Lines;
        }
    }
}
