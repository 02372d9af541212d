// xterm ctlseqs, "Mouse Tracking". SGR (1006): ESC [ < b ; x ; y M, m for a release. Terminals that do not know it answer in the old ways:
// ESC [ M b x y as bytes, each + 32 (X10, 1000), or ESC [ b ; x ; y M with b + 32 (urxvt, 1015).
namespace KTrace.Tui.Terminal;

/// <summary>What a mouse report says.</summary>
internal static class MouseReports
{
    private const int OldOffset = 32;

    /// <summary>A report of 1006 or 1015; null where nothing is meant by it (a move without a button, a wheel to the side).</summary>
    public static InputEvent.Mouse? Of(ControlSequence sequence)
    {
        int column = sequence.Parameter(1), row = sequence.Parameter(2);
        return sequence.Prefix == '<'
            ? Of(sequence.Parameter(0), column, row, released: sequence.Final == 'm')
            : Old(sequence.Parameter(0), column, row);
    }

    /// <summary>The three bytes of the oldest form.</summary>
    public static InputEvent.Mouse? Of(ReadOnlySpan<byte> bytes) => Old(bytes[0], bytes[1] - OldOffset, bytes[2] - OldOffset);

    private static InputEvent.Mouse? Old(int code, int column, int row)
    {
        code -= OldOffset;

        // It does not say which button was let go.
        const int AnyRelease = 3;
        bool released = (code & (AnyRelease | 64 | 32)) == AnyRelease;
        return code < 0 ? null : Of(released ? code & ~AnyRelease : code, column, row, released);
    }

    private static InputEvent.Mouse? Of(int code, int column, int row, bool released)
    {
        const int Moved = 32, Wheel = 64, Others = 128;
        if (column < 1 || row < 1 || code >= Others)
        {
            return null;
        }

        KeyModifiers modifiers = ((code & 4) != 0 ? KeyModifiers.Shift : 0) | ((code & 8) != 0 ? KeyModifiers.Alt : 0) | ((code & 16) != 0 ? KeyModifiers.Control : 0);
        int button = code & 3;
        if ((code & Wheel) != 0)
        {
            return button > 1 || released ? null : new InputEvent.Mouse(button == 0 ? MouseAction.WheelUp : MouseAction.WheelDown, 0, column - 1, row - 1, modifiers);
        }

        if (button == 3)
        {
            return null;
        }

        MouseAction action = released ? MouseAction.Release : (code & Moved) != 0 ? MouseAction.Drag : MouseAction.Press;
        return new InputEvent.Mouse(action, button, column - 1, row - 1, modifiers);
    }
}
