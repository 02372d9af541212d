namespace KTrace.Tui.Terminal;

/// <summary>One cell of a screen: what stands there and how it looks.</summary>
/// <param name="Text">A code point; <see cref="Continued"/> for the right half of a wide character; below that a text of <see cref="CellTexts"/>.</param>
/// <param name="Style">Of <see cref="CellStyles"/>.</param>
internal readonly record struct Cell(int Text, int Style)
{
    public const int Continued = -1;

    public static Cell Blank { get; } = new(' ', 0);

    public bool IsBlank => this == Blank;
}
