namespace KTrace.Tui.Views;

/// <summary>Lines of our own words between other views.</summary>
public sealed class TextView(params string[] lines) : View
{
    public override IEnumerable<TextLine> Lines(int? width) => lines.Select(line => new TextLine().Add(line).Fit(width));
}
