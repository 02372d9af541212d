// Keys as terminals send them.
//   xterm ctlseqs, "PC-Style Function Keys": ESC [ 1 ; m A (arrows, Home, End), ESC [ n ; m ~ (the others), ESC O P (F1 to F4); m is 1 + Shift 1, Alt 2, Control 4, Meta 8.
//   xterm "modifyOtherKeys": ESC [ 27 ; m ; code ~, and with formatOtherKeys or kitty's protocol ESC [ code ; m u (kitty: code:shifted:base ; m:event ; text).
//   rxvt: ESC [ n $ with Shift, ESC [ n ^ with Control, ESC [ n @ with both; ESC [ a … d arrows with Shift, ESC O a … d with Control; ESC [ 7 ~ and 8 ~ are Home and End.
//   The Linux console: ESC [ [ A … E are F1 to F5, the rest as the VT220; ESC [ 1 ~ and 4 ~ are Home and End.
//   The application keypad (DECPAM): ESC O j … y, ESC O M.
using System.Text;

namespace KTrace.Tui.Terminal;

/// <summary>Which key a sequence means.</summary>
internal static class KeySequences
{
    private const int Released = 3;

    /// <summary>Kitty's names for the keypad's keys: 57399 is its 0.</summary>
    private const string KittyKeypad = "0123456789./*-+\r=,";

    private const string ApplicationKeypad = "*+,-./0123456789";

    /// <summary>A key that a control sequence stands for; null: none, or one that is not told apart.</summary>
    public static InputEvent.Key? Of(ControlSequence sequence)
    {
        if (sequence.Prefix != 0 || sequence.Parameter(1, part: 1) == Released)
        {
            return null;
        }

        KeyModifiers modifiers = Modifiers(sequence.Parameter(1, missing: 1));
        switch (sequence.Final)
        {
            case '~' when sequence.Parameter(0) == 27:
                return Typed(sequence.Parameter(2), sequence.Parameter(2), modifiers);
            case '~':
                return Numbered(sequence.Parameter(0), modifiers);
            case '$':
                return Numbered(sequence.Parameter(0), KeyModifiers.Shift);
            case '^':
                return Numbered(sequence.Parameter(0), KeyModifiers.Control);
            case '@':
                return Numbered(sequence.Parameter(0), KeyModifiers.Control | KeyModifiers.Shift);
            case 'u':
                int code = sequence.Parameter(0);
                return Typed(code, sequence.Parameter(0, part: 1, missing: code), modifiers);
            case 'Z':
                return new InputEvent.Key(KeyName.Tab, Modifiers: modifiers | KeyModifiers.Shift);
            case >= 'a' and <= 'd':
                return new InputEvent.Key(Lettered((char)(sequence.Final - 'a' + 'A'))!.Value, Modifiers: KeyModifiers.Shift);
            case 'R' when sequence.Parameter(0, missing: 1) != 1:
                // Where the cursor is, which nobody asked.
                return null;
            default:
                return Lettered(sequence.Final) is { } name ? new InputEvent.Key(name, Modifiers: modifiers) : null;
        }
    }

    /// <summary>A key of <c>ESC O</c>.</summary>
    /// <param name="final">The last byte.</param>
    /// <param name="modifier">As a parameter before it, which old versions of konsole and xterm write; 1 without.</param>
    public static InputEvent.Key? OfApplicationMode(char final, int modifier)
    {
        KeyModifiers modifiers = Modifiers(modifier);
        return final switch
        {
            'M' => new InputEvent.Key(KeyName.Enter, Modifiers: modifiers),
            'I' => new InputEvent.Key(KeyName.Tab, Modifiers: modifiers),
            'X' => InputEvent.Key.Of('=', modifiers),
            ' ' => InputEvent.Key.Of(' ', modifiers),
            >= 'a' and <= 'd' => new InputEvent.Key(Lettered((char)(final - 'a' + 'A'))!.Value, Modifiers: KeyModifiers.Control),
            >= 'j' and <= 'y' => InputEvent.Key.Of(ApplicationKeypad[final - 'j'], modifiers),
            _ => Lettered(final) is { } name ? new InputEvent.Key(name, Modifiers: modifiers) : null,
        };
    }

    /// <summary>A function key of the Linux console: <c>ESC [ [ A</c>.</summary>
    public static InputEvent.Key? OfLinuxConsole(char final) => final is >= 'A' and <= 'E' ? new InputEvent.Key(KeyName.F1 + (final - 'A')) : null;

    /// <summary>A byte below 0x20, or DEL.</summary>
    public static InputEvent.Key OfControl(byte value, KeyModifiers modifiers) => value switch
    {
        0 => InputEvent.Key.Of(' ', modifiers | KeyModifiers.Control),
        8 or 0x7f => new InputEvent.Key(KeyName.Backspace, Modifiers: modifiers),
        9 => new InputEvent.Key(KeyName.Tab, Modifiers: modifiers),

        // A line feed is Enter too: text that is pasted where bracketed paste is not known.
        10 or 13 => new InputEvent.Key(KeyName.Enter, Modifiers: modifiers),
        0x1b => new InputEvent.Key(KeyName.Escape, Modifiers: modifiers),
        < 0x1b => InputEvent.Key.Of((char)(value - 1 + 'a'), modifiers | KeyModifiers.Control),
        _ => InputEvent.Key.Of((char)(value + '@'), modifiers | KeyModifiers.Control),
    };

    public static KeyModifiers Modifiers(int parameter)
    {
        const int Alt = 2, Super = 8, KittyMeta = 32;
        int bits = Math.Max(0, parameter - 1);
        return ((bits & 1) != 0 ? KeyModifiers.Shift : 0)
            | ((bits & (Alt | Super | KittyMeta)) != 0 ? KeyModifiers.Alt : 0)
            | ((bits & 4) != 0 ? KeyModifiers.Control : 0);
    }

    private static InputEvent.Key? Typed(int code, int shifted, KeyModifiers modifiers)
    {
        switch (code)
        {
            case 8 or 9 or 10 or 13 or 27 or 127:
                return OfControl((byte)code, modifiers);
            case >= 57399 and < 57417:
                char key = KittyKeypad[code - 57399];
                return key < ' ' ? OfControl((byte)key, modifiers) : InputEvent.Key.Of(key, modifiers);
            case >= 57417 and <= 57426:
                ReadOnlySpan<KeyName> keypad =
                [
                    KeyName.Left, KeyName.Right, KeyName.Up, KeyName.Down, KeyName.PageUp, KeyName.PageDown, KeyName.Home, KeyName.End, KeyName.Insert, KeyName.Delete,
                ];
                return new InputEvent.Key(keypad[code - 57417], Modifiers: modifiers);
        }

        // The rest of the private use area are keys without a character: Caps Lock, the modifiers themselves.
        if (code < ' ' || code is >= 0x80 and < 0xa0 or >= 0xe000 and < 0xf900 || !Rune.TryCreate(code, out Rune rune))
        {
            return null;
        }

        if ((modifiers & KeyModifiers.Control) != 0)
        {
            return new InputEvent.Key(KeyName.Character, Rune.ToLowerInvariant(rune), modifiers);
        }

        // As without these protocols: a capital is a character of its own, and no letter with Shift.
        if ((modifiers & KeyModifiers.Shift) != 0 && code != ' ')
        {
            rune = shifted != code && shifted >= ' ' && Rune.TryCreate(shifted, out Rune other) ? other : Rune.ToUpperInvariant(rune);
            modifiers &= ~KeyModifiers.Shift;
        }

        return new InputEvent.Key(KeyName.Character, rune, modifiers);
    }

    private static KeyName? Lettered(char final) => final switch
    {
        'A' => KeyName.Up,
        'B' => KeyName.Down,
        'C' => KeyName.Right,
        'D' => KeyName.Left,
        'F' => KeyName.End,
        'H' => KeyName.Home,
        'P' => KeyName.F1,
        'Q' => KeyName.F2,
        'R' => KeyName.F3,
        'S' => KeyName.F4,
        _ => null,
    };

    private static InputEvent.Key? Numbered(int number, KeyModifiers modifiers)
    {
        KeyName? name = number switch
        {
            1 or 7 => KeyName.Home,
            2 => KeyName.Insert,
            3 => KeyName.Delete,
            4 or 8 => KeyName.End,
            5 => KeyName.PageUp,
            6 => KeyName.PageDown,
            >= 11 and <= 15 => KeyName.F1 + (number - 11),
            >= 17 and <= 21 => KeyName.F6 + (number - 17),
            23 or 24 => KeyName.F11 + (number - 23),
            _ => null,
        };
        return name is { } known ? new InputEvent.Key(known, Modifiers: modifiers) : null;
    }
}
