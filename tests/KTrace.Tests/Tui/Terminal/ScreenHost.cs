// The tests' own assembly as a program in a terminal (see StartupHook): a screen with the real terminal and the real loop, and a program so small that what is
// seen is theirs. Keys: q quit, p the next picture, Ctrl-Z suspend, u an update that throws, t a thread that throws, e Environment.Exit, c a child process that
// uses the terminal, k SIGTERM from within, others are shown.
using System.Diagnostics;
using KTrace.Tests.Tui.App;
using KTrace.Tui.App;
using KTrace.Tui.State;
using KTrace.Tui.Terminal;
using KTrace.Tui.Views;

namespace KTrace.Tests.Tui.Terminal;

internal static class ScreenHost
{
    public const int Seed = 77;

    /// <summary>The host as a line for a shell.</summary>
    public static string InShell
    {
        get
        {
            string assembly = typeof(ScreenHost).Assembly.Location;
            return $"DOTNET_STARTUP_HOOKS={assembly} KTRACE_TEST_SCREEN_HOST=1 dotnet {assembly}";
        }
    }

    public static TestPicture Picture(TerminalSize size, int number) => TestPicture.Random(size, new Random(Seed + number));

    public static int Run(string mode)
    {
        _ = mode;
        try
        {
            using PosixTerminal terminal = PosixTerminal.Open(Environment.GetEnvironmentVariable);
            var target = new MemoryTarget();
            var app = new TuiApp(terminal, target, new UiProgram(Update, static state => (View(state), (0, 0)), static _ => false), _ => { });
            UiState begin = UiState.Begin(terminal.Size, terminal.Looks, target.Abilities, Remembered.Nothing with { History = [""] });
            TuiEnd end = app.RunAsync(begin, CancellationToken.None).GetAwaiter().GetResult();
            terminal.Dispose();
            Console.WriteLine($"ended: {end}");
            return 0;
        }
        catch (Exception e) when (e is TuiFailure or TerminalException)
        {
            Console.WriteLine($"failed: {e.Message}");
            return 2;
        }
    }

    private static (UiState, System.Collections.Immutable.ImmutableArray<UiEffect>) Update(UiState state, UiEvent happened)
    {
        switch (happened)
        {
            case UiEvent.Input { What: InputEvent.Resized resized }:
                return (state with { Size = resized.Size }, []);
            case UiEvent.Input { What: InputEvent.Key { Modifiers: KeyModifiers.Control } key } when key.Character.Value == 'z':
                return (state, [new UiEffect.Suspend()]);
            case UiEvent.Input { What: InputEvent.Key key }:
                switch (key.Character.ToString())
                {
                    case "q":
                        return (state, [new UiEffect.Quit()]);
                    case "p":
                        return (state with { Ticks = state.Ticks + 1 }, []);
                    case "u":
                        throw new InvalidOperationException("an update");
                    case "t":
                        new Thread(() => throw new InvalidOperationException("a thread")).Start();
                        return (state, []);
                    case "e":
                        Environment.Exit(3);
                        return (state, []);
                    case "c":
                        using (Process child = Process.Start("true")!)
                        {
                            child.WaitForExit();
                        }

                        break;
                }

                return (state with { Remembered = state.Remembered with { History = [state.Remembered.History[0] + InputText.Of(key)] } }, []);
            default:
                return (state, []);
        }
    }

    private static Spectre.Console.Rendering.IRenderable View(UiState state) =>
        state.Ticks > 0 ? Picture(state.Size, (int)state.Ticks) : new Words(state);

    private sealed class Words(UiState state) : View
    {
        public override IEnumerable<TextLine> Lines(int? width)
        {
            yield return new TextLine().Add($"size {state.Size.Columns}x{state.Size.Rows} pid {Environment.ProcessId}.");
            yield return new TextLine().Add($"typed '{state.Remembered.History[0]}'");
            yield return new TextLine().Add($"colours {state.Looks.Colours}, unicode {state.Looks.IsUnicode}, light {state.Looks.IsLight}");
        }
    }
}
