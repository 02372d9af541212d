using KTrace.Tui.State;
using Spectre.Console;

namespace KTrace.Tui.Views;

/// <summary>How roles look. Only the 16 colours that every terminal has, and never colour alone: without it everything can still be told apart.</summary>
internal static class Theme
{
    private static readonly Style Dim = new(decoration: Decoration.Dim);
    private static readonly Style Bold = new(decoration: Decoration.Bold);
    private static readonly Style Reverse = new(decoration: Decoration.Invert);

    public static Style Of(TextRole role) => role switch
    {
        TextRole.Heading => Bold,
        TextRole.Number => Dim,
        TextRole.Module => new Style(Color.Teal),
        TextRole.Inline => Dim,
        TextRole.Value => Dim,
        TextRole.Source => Dim,
        TextRole.Reason => new Style(Color.Teal),
        TextRole.Added => new Style(Color.Green),
        TextRole.Removed => new Style(Color.Maroon),
        TextRole.Warning => new Style(Color.Olive),
        TextRole.Selected => Reverse,
        TextRole.SelectedElsewhere => Bold,
        TextRole.Border => Dim,
        TextRole.BorderFocused => new Style(Color.Teal, decoration: Decoration.Bold),
        TextRole.Title => Bold,
        TextRole.Tab => Dim,
        TextRole.Key => new Style(Color.Teal, decoration: Decoration.Bold),
        TextRole.Banner => Reverse,
        TextRole.Changed => new Style(Color.Olive, decoration: Decoration.Bold),
        TextRole.Current => new Style(Color.Green, decoration: Decoration.Bold),
        TextRole.Breakpoint => new Style(Color.Maroon, decoration: Decoration.Bold),
        TextRole.Match => new Style(Color.Olive, decoration: Decoration.Underline),
        TextRole.Error => new Style(Color.Maroon, decoration: Decoration.Bold),
        _ => Style.Plain,
    };

    /// <summary>
    /// The same for a terminal: with more colours the chosen row is a quiet bar instead of a reversed one, and on black the dark red and blue of the 16 are replaced by
    /// what can be read.
    /// </summary>
    public static Style Of(TextRole role, TerminalLooks looks) => looks.Colours switch
    {
        ColourDepth.None => new Style(decoration: Of(role).Decoration | Extra(role)),
        ColourDepth.Sixteen => looks.IsLight ? OnWhite(role) : Of(role),
        _ => Rich(role, looks.IsLight),
    };

    // xterm and others take bold for the bright colour, and bright cyan, green and yellow, and plain yellow, cannot be read on white.
    private static Style OnWhite(TextRole role) => role switch
    {
        TextRole.Key or TextRole.BorderFocused => new Style(Color.Navy, decoration: Decoration.Bold),
        TextRole.Changed => new Style(Color.Purple, decoration: Decoration.Bold),
        TextRole.Warning => new Style(Color.Purple),
        TextRole.Match => new Style(Color.Purple, decoration: Decoration.Underline),
        TextRole.Current => new Style(Color.Green),
        _ => Of(role),
    };

    /// <summary>What stands for a colour where there is none.</summary>
    private static Decoration Extra(TextRole role) => role switch
    {
        TextRole.Changed or TextRole.Error or TextRole.Warning or TextRole.Added or TextRole.Removed => Decoration.Bold,
        TextRole.Reason => Decoration.Dim,
        _ => Decoration.None,
    };

    // Numbers of the 256 colours that every such terminal has alike: 16-231 a cube, 232-255 greys.
    private static Style Rich(TextRole role, bool isLight) => role switch
    {
        TextRole.Selected => new Style(Palette(isLight ? 16 : 231), Palette(isLight ? 153 : 24)),
        TextRole.SelectedElsewhere => new Style(background: Palette(isLight ? 254 : 236)),
        TextRole.Banner => new Style(Palette(isLight ? 231 : 253), Palette(isLight ? 24 : 237)),
        TextRole.Border => new Style(Palette(isLight ? 249 : 240)),
        TextRole.BorderFocused => new Style(Palette(isLight ? 25 : 75), decoration: Decoration.Bold),
        TextRole.Title => Bold,
        TextRole.Tab or TextRole.Number or TextRole.Inline or TextRole.Source => new Style(Palette(isLight ? 241 : 245)),
        TextRole.Value => new Style(Palette(isLight ? 238 : 250)),
        TextRole.Key => new Style(Palette(isLight ? 25 : 75), decoration: Decoration.Bold),
        TextRole.Module or TextRole.Reason => new Style(Palette(isLight ? 30 : 80)),
        TextRole.Added or TextRole.Current => new Style(Palette(isLight ? 28 : 114), decoration: role == TextRole.Current ? Decoration.Bold : Decoration.None),
        TextRole.Removed or TextRole.Breakpoint or TextRole.Error =>
            new Style(Palette(isLight ? 124 : 210), decoration: role == TextRole.Removed ? Decoration.None : Decoration.Bold),
        TextRole.Warning or TextRole.Changed => new Style(Palette(isLight ? 130 : 221), decoration: role == TextRole.Changed ? Decoration.Bold : Decoration.None),
        TextRole.Match => new Style(Palette(16), Palette(isLight ? 222 : 179)),
        _ => Of(role),
    };

    private static Color Palette(int number) => Color.FromInt32(number);
}
