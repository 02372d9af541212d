using System.Text;
using KTrace.Tui.Terminal;

namespace KTrace.Tui.Update;

/// <summary>A key with its modifiers, as a table names it. Shift counts only where it does not already make another character.</summary>
public readonly record struct KeyChord(KeyName Name, Rune Character = default, KeyModifiers Modifiers = KeyModifiers.None)
{
    public static implicit operator KeyChord(char character) => new(KeyName.Character, new Rune(character));

    public static implicit operator KeyChord(KeyName name) => new(name);

    public static KeyChord Control(char letter) => new(KeyName.Character, new Rune(letter), KeyModifiers.Control);

    public static KeyChord Shift(KeyName name) => new(name, default, KeyModifiers.Shift);

    public static KeyChord Of(InputEvent.Key key) => key.Name == KeyName.Character
        ? new KeyChord(key.Name, key.Character, key.Modifiers & ~KeyModifiers.Shift)
        : new KeyChord(key.Name, default, key.Modifiers);

    public InputEvent.Key ToInput() => new(Name, Character, Modifiers);

    /// <summary>As help and footer write it: <c>Ctrl-D</c>, <c>Shift-Tab</c>, <c>j</c>.</summary>
    public override string ToString()
    {
        var key = Name switch
        {
            KeyName.Character when Character.Value == ' ' => "Space",
            KeyName.Character => Modifiers.HasFlag(KeyModifiers.Control) ? Rune.ToUpperInvariant(Character).ToString() : Character.ToString(),
            KeyName.Escape => "Esc",
            KeyName.PageDown => "PgDn",
            KeyName.PageUp => "PgUp",
            _ => Name.ToString(),
        };
        return (Modifiers.HasFlag(KeyModifiers.Control) ? "Ctrl-" : "") + (Modifiers.HasFlag(KeyModifiers.Alt) ? "Alt-" : "") + (Modifiers.HasFlag(KeyModifiers.Shift) ? "Shift-" : "") + key;
    }
}
