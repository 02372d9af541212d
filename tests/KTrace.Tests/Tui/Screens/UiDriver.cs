using KTrace.Tui.Panes;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Terminal;
using KTrace.Tui.Update;
using KTrace.Tui.Views;

namespace KTrace.Tests.Tui.Screens;

/// <summary>A person at the screen without a terminal: presses keys, hears news, and keeps what was asked of the outside.</summary>
internal sealed class UiDriver(UiState state)
{
    private readonly List<UiEffect> _effects = [];

    public UiState State { get; private set; } = state;

    public IReadOnlyList<UiEffect> Effects => _effects;

    /// <summary>What was asked of the target, in order.</summary>
    public IEnumerable<TargetRequest> Asked => _effects.OfType<UiEffect.Ask>().Select(a => a.Request);

    public UiDriver Do(UiEvent happened)
    {
        (State, var effects) = Updater.Update(State, happened);
        _effects.AddRange(effects);
        return this;
    }

    public UiDriver Hear(params TargetNews[] news)
    {
        foreach (var one in news)
        {
            Do(new UiEvent.News(one));
        }

        return this;
    }

    public UiDriver Press(KeyChord key) => Do(new UiEvent.Input(key.ToInput()));

    /// <summary>A key for each character; <c>\n</c> is Enter, <c>\t</c> Tab, <c>\e</c> Escape.</summary>
    public UiDriver Type(string keys)
    {
        foreach (var rune in keys.EnumerateRunes())
        {
            Do(new UiEvent.Input(rune.Value switch
            {
                '\n' => new InputEvent.Key(KeyName.Enter),
                '\t' => new InputEvent.Key(KeyName.Tab),
                '\e' => new InputEvent.Key(KeyName.Escape),
                _ => new InputEvent.Key(KeyName.Character, rune),
            }));
        }

        return this;
    }

    public UiDriver Resize(int columns, int rows) => Do(new UiEvent.Input(new InputEvent.Resized(new TerminalSize(columns, rows))));

    public UiDriver Mouse(MouseAction action, int column, int row, int button = 0) => Do(new UiEvent.Input(new InputEvent.Mouse(action, button, column, row)));

    public UiDriver Forget()
    {
        _effects.Clear();
        return this;
    }

    /// <summary>The screen as text: as many lines as it has rows.</summary>
    public string[] Screen() => [.. new RootView(State).Lines(State.Size.Columns).Select(l => l.ToString())];

    public string Text() => string.Concat(Screen().Select(l => l + "\n"));

    /// <summary>The same as roles: a letter for each cell, a point where nothing is said about it.</summary>
    public string Roles()
    {
        var text = new System.Text.StringBuilder();
        foreach (var line in new RootView(State).Lines(State.Size.Columns))
        {
            var row = string.Concat(line.Spans.Select(s => new string(Letter(s.Role), TerminalText.Width(s.Text))));
            text.Append(row.TrimEnd('.')).Append('\n');
        }

        return text.ToString();
    }

    private static char Letter(TextRole role) => role switch
    {
        TextRole.Plain => '.',
        TextRole.Selected => 'S',
        TextRole.SelectedElsewhere => 's',
        TextRole.Border => '-',
        TextRole.BorderFocused => '=',
        TextRole.Title => 'T',
        TextRole.Tab => 't',
        TextRole.Banner => 'A',
        TextRole.Breakpoint => 'B',
        TextRole.Source => 'o',
        TextRole.Module => 'm',
        TextRole.Match => '#',
        TextRole.Removed => 'x',
        _ => char.ToLowerInvariant(role.ToString()[0]),
    };
}
