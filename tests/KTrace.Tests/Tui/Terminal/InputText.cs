using KTrace.Tui.Terminal;

namespace KTrace.Tests.Tui.Terminal;

/// <summary>Input events as a line of text, for tables of tests.</summary>
internal static class InputText
{
    public static string Of(IEnumerable<object> events) => string.Join(' ', events.Select(Of));

    public static string Of(object happened) => happened switch
    {
        InputEvent.Key { Name: KeyName.Character } key => Modifiers(key.Modifiers) + (key.Character.Value == ' ' ? "Space" : key.Character.ToString()),
        InputEvent.Key key => Modifiers(key.Modifiers) + key.Name,
        InputEvent.Mouse mouse => $"{Modifiers(mouse.Modifiers)}{mouse.Action}{mouse.Button}@{mouse.Column},{mouse.Row}",
        InputEvent.Paste paste => $"Paste({paste.Text})",
        _ => happened.ToString()!,
    };

    private static string Modifiers(KeyModifiers modifiers) =>
        (modifiers.HasFlag(KeyModifiers.Control) ? "C-" : "") + (modifiers.HasFlag(KeyModifiers.Alt) ? "A-" : "") + (modifiers.HasFlag(KeyModifiers.Shift) ? "S-" : "");
}
