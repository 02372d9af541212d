namespace KTrace.Tui.Views;

/// <summary>Lines that were made already.</summary>
public sealed class LinesView(IReadOnlyList<TextLine> lines) : View
{
    public override IEnumerable<TextLine> Lines(int? width) => lines;
}
