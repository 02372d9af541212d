using System.Collections.Immutable;
using KTrace.Tui.State;
using KTrace.Tui.Terminal;

namespace KTrace.Tui.Update;

/// <summary>What a state becomes by an event, and what is to be done outside. Pure: no clock, no file, no target.</summary>
public static class Updater
{
    // What a terminal could be: sizes beyond are a mistake of somebody.
    private const int MostCells = 2000;

    public static (UiState State, ImmutableArray<UiEffect> Effects) Update(UiState state, UiEvent happened)
    {
        var turn = new Turn(state);
        switch (happened)
        {
            case UiEvent.Input { What: var input }:
                Input(turn, input);
                break;
            case UiEvent.News { What: var news }:
                NewsUpdate.Apply(turn, news);
                break;
            case UiEvent.Tick:
                Tick(turn);
                break;
            case UiEvent.Lasted { Change: var change } when turn.State.HeldBack == change:
                turn.State = turn.State with { Session = turn.State.Session.WithoutBrief() };
                break;
        }

        Movement.Settle(turn);
        return (turn.State, turn.Effects);
    }

    private static void Input(Turn turn, InputEvent input)
    {
        switch (input)
        {
            case InputEvent.Resized { Size: var size }:
                turn.State = turn.State with { Size = new TerminalSize(Math.Clamp(size.Columns, 0, MostCells), Math.Clamp(size.Rows, 0, MostCells)), Dragged = null };
                break;
            case InputEvent.Resumed:
                turn.Do(new UiEffect.Repaint());
                break;
            case InputEvent.Closed:
                turn.Do(new UiEffect.Remember());
                turn.Do(new UiEffect.Quit());
                break;
            case InputEvent.Paste { Text: var text }:
                Paste(turn, text);
                break;
            case InputEvent.Mouse mouse:
                MouseUpdate.Apply(turn, mouse);
                break;
            case InputEvent.Key key:
                Key(turn, key);
                break;
        }
    }

    private static void Key(Turn turn, InputEvent.Key key)
    {
        turn.State = turn.State with { Message = null };
        switch (turn.State)
        {
            case { Confirmation: { } confirmation }:
                turn.State = turn.State with { Confirmation = null };
                if (key is { Name: KeyName.Character, Modifiers: KeyModifiers.None or KeyModifiers.Shift } && key.Character.Value is 'y' or 'Y')
                {
                    turn.Do(new UiEffect.Remember());
                    turn.Do(confirmation.Effect);
                }

                break;
            case { Prompt: not null }:
                PromptKeys.Apply(turn, key);
                break;
            case { IsTyping: true }:
                GuestTyping.Apply(turn, key);
                break;
            case { Help: { } top }:
                HelpKeys.Apply(turn, key, top);
                break;
            default:
                if (KeyMap.Find(turn.State.Focus, KeyChord.Of(key)) is { } binding)
                {
                    if (Obstacles.Of(turn.State, binding) is { } obstacle)
                    {
                        turn.Say(obstacle);
                    }
                    else
                    {
                        KeyCommands.Run(turn, binding.Command);
                    }
                }

                break;
        }
    }

    /// <summary>Pasted text goes where text is written, and is never taken for keys.</summary>
    private static void Paste(Turn turn, string text)
    {
        switch (turn.State)
        {
            case { Prompt: not null }:
                PromptKeys.Insert(turn, text);
                break;
            case { IsTyping: true }:
                GuestTyping.Send(turn, text);
                break;
            default:
                turn.Say("pasted text goes into the command line (:) or the guest's console");
                break;
        }
    }

    private static void Tick(Turn turn)
    {
        var message = turn.State.Message;
        turn.State = turn.State with
        {
            Ticks = turn.State.Ticks + 1,
            Message = message is null or { TicksLeft: <= 1 } ? null : message with { TicksLeft = message.TicksLeft - 1 },
        };
    }
}
