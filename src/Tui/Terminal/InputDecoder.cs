// Bytes of a terminal. ECMA-48 (sequences), xterm ctlseqs (what is in them), UTF-8 (RFC 3629). The 8-bit forms of control characters (0x9b for ESC [) are not
// taken: in UTF-8 they are parts of characters. Assumed: what a key sends arrives without a pause of Patience between two of its bytes; a lone ESC is the Escape
// key when nothing follows for that long.
using System.Buffers;
using System.Buffers.Text;
using System.Runtime.InteropServices;
using System.Text;

namespace KTrace.Tui.Terminal;

/// <summary>
/// Turns bytes into what a person did. Takes them in any pieces, throws for none, and keeps at most <see cref="PasteLimit"/> of them.
/// </summary>
/// <param name="onInput">Gets keys, mouse and pastes in order.</param>
/// <param name="onAnswer">Gets what the terminal says of itself.</param>
internal sealed class InputDecoder(Action<InputEvent> onInput, Action<TerminalAnswer> onAnswer)
{
    /// <summary>Bytes of a paste that are kept; what is more is dropped.</summary>
    public const int PasteLimit = 1 << 20;

    // Of a sequence's parameters, or of an answer's text.
    private const int HeldLimit = 64;

    // After so many bytes something is no sequence: the terminal is sending garbage.
    private const int LongestSequence = 4096;

    private const byte Esc = 0x1b, Bell = 7, Cancel = 0x18, Substitute = 0x1a, Delete = 0x7f;

    private readonly byte[] _held = new byte[HeldLimit];
    private readonly List<byte> _paste = [];
    private State _state;
    private int _length;
    private bool _alt;
    private char _introducer;
    private int _expected;
    private int _endMatched;

    private enum State
    {
        Ground,
        Character,
        Escape,
        Sequence,
        LinuxConsole,
        ApplicationMode,
        OldMouse,
        String,
        StringEscape,
        Paste,
    }

    /// <summary>How long to wait for more bytes before <see cref="Pause"/> is to be called; null: nothing has begun.</summary>
    public TimeSpan? Patience => _state switch
    {
        State.Ground => null,
        State.Paste => TimeSpan.FromSeconds(1),
        _ => TimeSpan.FromMilliseconds(30),
    };

    private static ReadOnlySpan<byte> PasteEnd => "\e[201~"u8;

    private KeyModifiers Prefixed => _alt ? KeyModifiers.Alt : KeyModifiers.None;

    public void Feed(ReadOnlySpan<byte> bytes)
    {
        foreach (byte value in bytes)
        {
            Take(value);
        }
    }

    /// <summary>Nothing came for <see cref="Patience"/>: what has begun is all there is.</summary>
    public void Pause()
    {
        (State begun, char introducer, int length) = (_state, _introducer, _length);
        bool alt = _alt;
        Begin(State.Ground);
        switch (begun)
        {
            case State.Escape:
                EmitKey(KeyName.Escape);
                if (alt)
                {
                    EmitKey(KeyName.Escape);
                }

                break;
            case State.Sequence or State.ApplicationMode or State.String when length == 0:
                // Alt and the letter that could have begun a sequence.
                onInput(InputEvent.Key.Of(introducer, KeyModifiers.Alt));
                break;
            case State.StringEscape:
                EmitKey(KeyName.Escape);
                break;
            case State.Paste:
                EndPaste();
                break;
        }
    }

    private void Take(byte value)
    {
        switch (_state)
        {
            case State.Ground:
                TakeGround(value);
                break;
            case State.Character:
                TakeCharacter(value);
                break;
            case State.Escape:
                TakeEscape(value);
                break;
            case State.Sequence:
                TakeSequence(value);
                break;
            case State.LinuxConsole:
                FinishOr(value, value is >= 0x20 and < Delete, KeySequences.OfLinuxConsole((char)value));
                break;
            case State.ApplicationMode:
                TakeApplicationMode(value);
                break;
            case State.OldMouse:
                Hold(value);
                if (_length == 3)
                {
                    Begin(State.Ground);
                    Emit(MouseReports.Of(_held.AsSpan(0, 3)));
                }

                break;
            case State.String or State.StringEscape:
                TakeString(value);
                break;
            case State.Paste:
                TakePaste(value);
                break;
        }
    }

    private void TakeGround(byte value)
    {
        switch (value)
        {
            case Esc:
                Begin(State.Escape);
                break;
            case < 0x20 or Delete:
                Finish(KeySequences.OfControl(value, Prefixed));
                break;
            case < 0x80:
                Finish(InputEvent.Key.Of((char)value, Prefixed));
                break;
            case >= 0xc2 and <= 0xf4:
                bool alt = _alt;
                Begin(State.Character);
                _alt = alt;
                _expected = value < 0xe0 ? 2 : value < 0xf0 ? 3 : 4;
                Hold(value);
                break;
            default:
                Begin(State.Ground);
                break;
        }
    }

    private void TakeCharacter(byte value)
    {
        if ((value & 0xc0) != 0x80)
        {
            // Cut short: what is there cannot be shown, what comes is looked at anew.
            Begin(State.Ground);
            Take(value);
            return;
        }

        Hold(value);
        if (_length == _expected)
        {
            bool whole = Rune.DecodeFromUtf8(_held.AsSpan(0, _length), out Rune rune, out int consumed) == OperationStatus.Done && consumed == _length;
            Finish(whole ? new InputEvent.Key(KeyName.Character, rune, Prefixed) : null);
        }
    }

    private void TakeEscape(byte value)
    {
        if (value == Esc)
        {
            // ESC ESC [ A is Alt and an arrow (rxvt); of three the first was a key of its own.
            if (_alt)
            {
                EmitKey(KeyName.Escape);
            }

            _alt = true;
            return;
        }

        if (value is (byte)'[' or (byte)'O' or (byte)']' or (byte)'P')
        {
            bool alt = _alt;
            Begin(value == '[' ? State.Sequence : value == 'O' ? State.ApplicationMode : State.String);
            _introducer = (char)value;
            _alt = alt;
            return;
        }

        if (_alt)
        {
            EmitKey(KeyName.Escape);
        }

        Begin(State.Ground);
        _alt = true;
        TakeGround(value);
    }

    private void TakeSequence(byte value)
    {
        if (value == '[' && _length == 0)
        {
            _state = State.LinuxConsole;
        }
        else if (value is < 0x20 or >= Delete)
        {
            Begin(State.Ground);
            Take(value);
        }
        else if (value < 0x40 && !(value == '$' && _length > 0 && _held[0] != '?'))
        {
            Hold(value);
        }
        else if (value == 'M' && _length == 0)
        {
            Begin(State.OldMouse);
        }
        else
        {
            FinishSequence((char)value);
        }
    }

    private void FinishSequence(char final)
    {
        // One that is longer than what is kept means nothing that is known.
        var sequence = new ControlSequence(_held.AsSpan(0, Math.Min(_length, HeldLimit)), _length > HeldLimit ? '\0' : final);
        KeyModifiers prefixed = Prefixed;
        Begin(State.Ground);
        switch (sequence.Final)
        {
            case '~' when sequence.Prefix == 0 && sequence.Parameter(0) == 200:
                Begin(State.Paste);
                break;
            case 'c' when sequence.Prefix == '?':
                onAnswer(new TerminalAnswer.Attributes());
                break;
            case 'y' when sequence is { Prefix: '?', Intermediate: '$' }:
                onAnswer(new TerminalAnswer.Mode(sequence.Parameter(0), sequence.Parameter(1)));
                break;
            case 'M' or 'm' when sequence.Prefix is '<' or '\0' && sequence.HasParameters:
                Emit(MouseReports.Of(sequence));
                break;
            default:
                Emit(KeySequences.Of(sequence) is { } key ? key with { Modifiers = key.Modifiers | prefixed } : null);
                break;
        }
    }

    private void TakeApplicationMode(byte value)
    {
        if (value is >= (byte)'0' and <= (byte)'9' or (byte)';')
        {
            Hold(value);
            return;
        }

        // A modifier is the last of the parameters: ESC O 5 P, ESC O 1 ; 5 P.
        var parameters = new ControlSequence(_held.AsSpan(0, Math.Min(_length, HeldLimit)), 'O');
        InputEvent.Key? key = KeySequences.OfApplicationMode((char)value, parameters.Parameter(1, missing: parameters.Parameter(0, missing: 1)));
        FinishOr(value, value is >= 0x20 and < Delete, key is null ? null : key with { Modifiers = key.Modifiers | Prefixed });
    }

    private void TakeString(byte value)
    {
        if (_state == State.StringEscape)
        {
            if (value == '\\')
            {
                FinishString();
            }
            else
            {
                Begin(State.Escape);
                Take(value);
            }
        }
        else if (value == Bell)
        {
            FinishString();
        }
        else if (value == Esc)
        {
            _state = State.StringEscape;
        }
        else if (value is Cancel or Substitute)
        {
            Begin(State.Ground);
        }
        else if (value is < 0x20 or Delete)
        {
            Begin(State.Ground);
            Take(value);
        }
        else
        {
            Hold(value);
        }
    }

    private void FinishString()
    {
        ReadOnlySpan<byte> text = _held.AsSpan(0, Math.Min(_length, HeldLimit));
        bool known = _introducer == ']' && _length <= HeldLimit && text.StartsWith("11;"u8);
        TerminalAnswer.Background? background = known ? ParseColour(text[3..]) : null;
        Begin(State.Ground);
        if (background is not null)
        {
            onAnswer(background);
        }
    }

    /// <summary>XParseColor's <c>rgb:rrrr/gggg/bbbb</c> with one to four digits a part, <c>rgba:</c>, or <c>#rrggbb</c>.</summary>
    private static TerminalAnswer.Background? ParseColour(ReadOnlySpan<byte> text)
    {
        Span<double> parts = stackalloc double[3];
        bool sharp = text.StartsWith("#"u8);
        if (!sharp && !text.StartsWith("rgb:"u8) && !text.StartsWith("rgba:"u8))
        {
            return null;
        }

        ReadOnlySpan<byte> rest = sharp ? text[1..] : text[(text.IndexOf((byte)':') + 1)..];
        int each = rest.Length / 3;
        foreach (ref double part in parts)
        {
            int slash = rest.IndexOf((byte)'/');
            ReadOnlySpan<byte> digits = sharp ? rest[..Math.Min(each, rest.Length)] : slash < 0 ? rest : rest[..slash];
            if (digits.Length is 0 or > 4 || !Utf8Parser.TryParse(digits, out uint value, out int consumed, 'x') || consumed != digits.Length)
            {
                return null;
            }

            part = value / (Math.Pow(16, digits.Length) - 1);
            rest = sharp ? rest[digits.Length..] : slash < 0 ? [] : rest[(slash + 1)..];
        }

        return new TerminalAnswer.Background(parts[0], parts[1], parts[2]);
    }

    private void TakePaste(byte value)
    {
        if (value == PasteEnd[_endMatched])
        {
            if (++_endMatched == PasteEnd.Length)
            {
                _endMatched = 0;
                Begin(State.Ground);
                EndPaste();
            }

            return;
        }

        // The end begins with ESC and has no second one.
        KeepPasted(PasteEnd[.._endMatched]);
        _endMatched = 0;
        if (value == Esc)
        {
            _endMatched = 1;
        }
        else
        {
            KeepPasted([value]);
        }
    }

    private void KeepPasted(ReadOnlySpan<byte> bytes)
    {
        if (_paste.Count + bytes.Length <= PasteLimit)
        {
            _paste.AddRange(bytes);
        }
    }

    private void EndPaste()
    {
        _endMatched = 0;
        string text = Encoding.UTF8.GetString(CollectionsMarshal.AsSpan(_paste));
        _paste.Clear();
        if (_paste.Capacity > HeldLimit * 64)
        {
            _paste.Capacity = 0;
        }

        // Terminals send a carriage return for a line's end, as for the key.
        onInput(new InputEvent.Paste(text.Replace("\r\n", "\n").Replace('\r', '\n')));
    }

    private void Hold(byte value)
    {
        if (_length < HeldLimit)
        {
            _held[_length] = value;
        }

        if (++_length > LongestSequence)
        {
            Begin(State.Ground);
        }
    }

    private void Begin(State state)
    {
        _state = state;
        _length = 0;
        _alt = false;
    }

    private void FinishOr(byte value, bool ends, InputEvent? input)
    {
        Finish(ends ? input : null);
        if (!ends)
        {
            Take(value);
        }
    }

    private void Finish(InputEvent? input)
    {
        Begin(State.Ground);
        Emit(input);
    }

    private void Emit(InputEvent? input)
    {
        if (input is not null)
        {
            onInput(input);
        }
    }

    private void EmitKey(KeyName name) => onInput(new InputEvent.Key(name));
}
