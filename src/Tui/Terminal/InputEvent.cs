using System.Text;
using KTrace.Tui.State;

namespace KTrace.Tui.Terminal;

/// <summary>A key that has a name; what types a character is <see cref="Character"/>.</summary>
public enum KeyName
{
    Character,
    Enter,
    Escape,
    Tab,
    Backspace,
    Delete,
    Insert,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
    F1,
    F2,
    F3,
    F4,
    F5,
    F6,
    F7,
    F8,
    F9,
    F10,
    F11,
    F12,
}

[Flags]
public enum KeyModifiers
{
    None = 0,
    Shift = 1,
    Alt = 2,
    Control = 4,
}

public enum MouseAction
{
    Press,
    Release,

    /// <summary>Moved with a button held.</summary>
    Drag,
    WheelUp,
    WheelDown,
}

/// <summary>Columns and rows of a terminal.</summary>
public readonly record struct TerminalSize(int Columns, int Rows);

/// <summary>What a person does at a terminal.</summary>
public abstract record InputEvent
{
    private InputEvent()
    {
    }

    /// <param name="Character">For <see cref="KeyName.Character"/>; with Control the letter itself in lower case (Ctrl-C: <c>c</c>).</param>
    public sealed record Key(KeyName Name, Rune Character = default, KeyModifiers Modifiers = KeyModifiers.None) : InputEvent
    {
        public static Key Of(char character, KeyModifiers modifiers = KeyModifiers.None) => new(KeyName.Character, new Rune(character), modifiers);
    }

    /// <param name="Button">0 left, 1 middle, 2 right.</param>
    /// <param name="Column">From 0.</param>
    /// <param name="Row">From 0.</param>
    public sealed record Mouse(MouseAction Action, int Button, int Column, int Row, KeyModifiers Modifiers = KeyModifiers.None) : InputEvent;

    /// <summary>Text that came in one piece (bracketed paste): never taken for keys. It may hold anything.</summary>
    public sealed record Paste(string Text) : InputEvent;

    public sealed record Resized(TerminalSize Size) : InputEvent;

    /// <summary>Back from the background: everything has to be painted again.</summary>
    public sealed record Resumed : InputEvent;

    /// <summary>The terminal has said more of itself (its background, what it can do). The loop puts it into the state.</summary>
    public sealed record LooksLearned(TerminalLooks Looks) : InputEvent;

    /// <summary>The terminal is gone (hung up, end of input), or whoever runs the loop asks to end.</summary>
    public sealed record Closed : InputEvent;
}
