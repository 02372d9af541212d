using Spectre.Console;

namespace KTrace.Tui.Views;

/// <summary>How roles look. Only the 16 colours that every terminal has, and never colour alone: without it everything can still be told apart.</summary>
internal static class Theme
{
    private static readonly Style Dim = new(decoration: Decoration.Dim);

    public static Style Of(TextRole role) => role switch
    {
        TextRole.Heading => new Style(decoration: Decoration.Bold),
        TextRole.Number => Dim,
        TextRole.Module => new Style(Color.Teal),
        TextRole.Inline => Dim,
        TextRole.Value => Dim,
        TextRole.Source => Dim,
        TextRole.Reason => new Style(Color.Teal),
        TextRole.Added => new Style(Color.Green),
        TextRole.Removed => new Style(Color.Maroon),
        TextRole.Warning => new Style(Color.Olive),
        _ => Style.Plain,
    };
}
