using System.Collections.Immutable;
using KTrace.Tui.Panes;
using KTrace.Tui.State;
using KTrace.Tui.Targets;
using KTrace.Tui.Views;

namespace KTrace.Tui.Update;

/// <summary>One update under way: the state as it has become so far, and what is to be done.</summary>
internal sealed class Turn(UiState state)
{
    private readonly ImmutableArray<UiEffect>.Builder _effects = ImmutableArray.CreateBuilder<UiEffect>();
    private UiState _state = state;

    public UiState State
    {
        get => _state;
        set => _state = value;
    }

    public ImmutableArray<UiEffect> Effects => _effects.ToImmutable();

    public void Do(UiEffect effect) => _effects.Add(effect);

    public void Ask(TargetRequest request) => _effects.Add(new UiEffect.Ask(request));

    public void Say(Message message) => State = State with { Message = message };

    public void Say(string text, string? remedy = null) => Say(new Message(text, remedy));

    public void Focus(PaneKind kind) => State = State.Raise(kind, focus: true);

    /// <summary>Keeps what is to be kept between sessions.</summary>
    public void Remember(Remembered remembered)
    {
        State = State with { Remembered = remembered };
        if (!_effects.OfType<UiEffect.Remember>().Any())
        {
            Do(new UiEffect.Remember());
        }
    }

    /// <summary>The rows of a pane as wide as it is on the screen; of one that is not on it, as wide as the screen.</summary>
    public PaneRows Rows(PaneKind kind) => PaneCatalog.Of(kind).Rows(State, WidthOf(Arrangement.Of(State).Find(kind)));

    /// <summary>Rows of a pane that are on the screen at once; at least one.</summary>
    public int Page(PaneKind kind) => Arrangement.Of(State).Find(kind) is { } placed ? PageOf(placed, Rows(kind)) : 1;

    public static int PageOf(PlacedPane placed, PaneRows rows) => Math.Max(1, placed.BodyRows - (rows.Head is null ? 0 : 1));

    /// <summary>Without the column of the cursor's mark.</summary>
    public int WidthOf(PlacedPane? placed) => Math.Max(1, (placed?.Area.Columns ?? State.Size.Columns) - 1);

    /// <summary>Adds to the output pane, which comes to the front of its place.</summary>
    public void Print(IEnumerable<TextLine> lines)
    {
        Log([.. lines]);
        State = State.Raise(PaneKind.Output, focus: State.Focus == PaneKind.Output);
    }

    /// <summary>Adds to the output pane, to be read by who looks there.</summary>
    public void Log(params TextLine[] lines)
    {
        const int Limit = 20_000;
        State = (State with { Output = State.Output.Append(lines, Limit) }).WithPane(PaneKind.Output, State.Pane(PaneKind.Output) with { Follows = true });
    }
}
