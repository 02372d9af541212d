using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Tests.Support;
using KTrace.Tui.Terminal;

namespace KTrace.Tests.Tui.Terminal;

/// <summary>The real terminal, seen from outside: tmux says what is on the screen, stty what the line is set to.</summary>
public sealed partial class PosixTerminalTests : IDisposable
{
    private static readonly TerminalSize Size = new(80, 24);

    private readonly TmuxSession _tmux = new(Size);

    public void Dispose() => _tmux.Dispose();

    [Theory]
    [InlineData("q", "ended: Quit", 0)]
    [InlineData("u", "failed: updating by key u: InvalidOperationException: an update", 2)]
    [InlineData("t", "Unhandled exception", 134)]
    [InlineData("e", "", 3)]
    public async Task However_it_ends_the_terminal_is_as_it_was(string key, string says, int exitCode)
    {
        await StartAsync();
        _tmux.Send(key);
        await AssertWholeAsync(says, exitCode);
    }

    [Theory]
    [InlineData("TERM", 143)]
    [InlineData("HUP", 129)]
    [InlineData("QUIT", 131)]
    public async Task A_signal_from_outside_gives_the_terminal_back_first(string signal, int exitCode)
    {
        int process = await StartAsync();
        PeerProgram.Run("kill", ["-" + signal, $"{process}"]);
        await AssertWholeAsync("", exitCode);
    }

    [Fact]
    public async Task So_does_SIGINT_from_outside()
    {
        // bash gives up the rest of a line whose program ended by it.
        PeerProgram.Run("kill", ["-INT", $"{await StartAsync()}"]);
        await _tmux.UntilAsync(text => text.TrimEnd().EndsWith("ready>", StringComparison.Ordinal), "the shell");
        AssertSane();
    }

    [Fact]
    public async Task While_it_runs_the_terminal_is_its_own()
    {
        await StartAsync();
        Assert.Equal("1", _tmux.Ask("alternate_on"));
        Assert.Equal("1", _tmux.Ask("mouse_button_flag"));
        Assert.Equal("1", _tmux.Ask("mouse_sgr_flag"));
        Assert.Equal("0", _tmux.Ask("wrap_flag"));
        _tmux.Send("a", "é", "C-c", "Up", "M-x", "F5", "C-d");
        await _tmux.UntilShowsAsync("typed 'aéC-cUpA-xF5C-d'");
    }

    [Fact]
    public async Task Ctrl_Z_stops_it_with_a_whole_terminal_and_fg_brings_the_screen_back()
    {
        await StartAsync();
        _tmux.Type("a");
        await _tmux.UntilShowsAsync("typed 'a'");
        for (int round = 0; round < 2; round++)
        {
            _tmux.Send("C-z");
            await _tmux.UntilAsync(text => text.Contains("Stopped", StringComparison.Ordinal) && text.TrimEnd().EndsWith("ready>", StringComparison.Ordinal), "the shell");
            Assert.Equal("0", _tmux.Ask("alternate_on"));
            AssertSane();
            _tmux.Run("clear; fg");
            await _tmux.UntilShowsAsync("typed 'a'");
            Assert.Equal("1", _tmux.Ask("alternate_on"));
        }

        // The line is raw again: what is typed comes without Enter, and Ctrl-C is a key.
        _tmux.Send("b", "C-c");
        await _tmux.UntilShowsAsync("typed 'abC-c'");
        await QuitAsync();
    }

    [Fact]
    public async Task More_keys_than_it_reads_at_once_do_not_hold_a_suspension_up()
    {
        await StartAsync();
        _tmux.Type(new string('a', 5000) + "\x1a");
        await _tmux.UntilAsync(text => text.Contains("Stopped", StringComparison.Ordinal), "the shell");
        _tmux.Run("clear; fg");
        await _tmux.UntilShowsAsync("typed 'aaaa");
        await QuitAsync();
    }

    [Fact]
    public async Task Stopped_from_outside_it_gives_the_terminal_back_too()
    {
        int process = await StartAsync();
        PeerProgram.Run("kill", ["-TSTP", $"{process}"]);
        await _tmux.UntilAsync(text => text.Contains("Stopped", StringComparison.Ordinal), "the shell");
        Assert.Equal("0", _tmux.Ask("alternate_on"));
        _tmux.Run("fg");
        await _tmux.UntilShowsAsync("typed ''");
        PeerProgram.Run("kill", ["-STOP", $"{process}"]);
        await _tmux.UntilAsync(_ => ProcessState(process) == 'T', "a stopped process");
        _tmux.Run("clear; fg");
        await _tmux.UntilShowsAsync("typed ''");
        _tmux.Send("b", "C-c");
        await _tmux.UntilShowsAsync("typed 'bC-c'");
        await QuitAsync();
    }

    [Fact]
    public async Task A_stopped_one_ends_by_SIGTERM_when_it_goes_on_in_the_background()
    {
        int process = await StartAsync();
        _tmux.Send("C-z");
        await _tmux.UntilAsync(text => text.Contains("Stopped", StringComparison.Ordinal), "the shell");
        PeerProgram.Run("kill", ["-TERM", $"{process}"]);
        _tmux.Run("bg");
        await _tmux.UntilAsync(_ => !Directory.Exists($"/proc/{process}"), "the end of the process");
        AssertSane();
    }

    [Fact]
    public async Task Child_processes_that_use_the_terminal_do_not_change_its_mode()
    {
        await StartAsync();
        _tmux.Send("c");
        await _tmux.UntilShowsAsync("typed 'c'");
        _tmux.Send("C-z");
        await _tmux.UntilAsync(text => text.Contains("Stopped", StringComparison.Ordinal), "the shell");
        _tmux.Run("clear; fg");
        await _tmux.UntilShowsAsync("typed 'c'");
        _tmux.Send("c", "b", "C-c");
        await _tmux.UntilShowsAsync("typed 'ccbC-c'");
        await QuitAsync();
    }

    [Fact]
    public async Task Another_terminal_shows_the_same_pictures_cell_by_cell()
    {
        await StartAsync();
        for (int number = 1; number <= 30; number++)
        {
            _tmux.Send("p");
            string[] expected = ScreenHost.Picture(Size, number).Rows;
            await _tmux.UntilAsync(text => text.TrimEnd('\n') == string.Join('\n', expected).TrimEnd('\n'), $"picture {number}:\n{string.Join('\n', expected)}\n");
        }
    }

    [Fact]
    public async Task After_a_storm_of_sizes_the_last_one_is_shown_whole()
    {
        await StartAsync();
        _tmux.Send("p");
        var random = new Random(4);
        for (int i = 0; i < 40; i++)
        {
            _tmux.Resize(new TerminalSize(random.Next(10, 200), random.Next(3, 60)));
        }

        var last = new TerminalSize(97, 31);
        _tmux.Resize(last);
        string[] expected = ScreenHost.Picture(last, 1).Rows;
        await _tmux.UntilAsync(text => text.TrimEnd('\n') == string.Join('\n', expected).TrimEnd('\n'), "the picture in its last size");
    }

    [Fact]
    public async Task Without_a_terminal_the_error_names_the_remedy()
    {
        _tmux.Run(ScreenHost.InShell + " | cat");
        await _tmux.UntilShowsAsync("failed: standard output is no terminal");
        _tmux.Run("clear; " + ScreenHost.InShell + " </dev/null");
        await _tmux.UntilShowsAsync("failed: standard input is no terminal");
        _tmux.Run("clear; TERM=dumb " + ScreenHost.InShell);
        await _tmux.UntilShowsAsync("failed: a terminal of type \"dumb\" cannot show a screen");
    }

    /// <returns>The process.</returns>
    private async Task<int> StartAsync()
    {
        _tmux.Run($"stty -a > {_tmux.Folder}/before; {ScreenHost.InShell}; echo exit=$?.");
        string text = await _tmux.UntilAsync(text => text.Contains("typed ''", StringComparison.Ordinal), "the program");
        return int.Parse(ProcessNumber().Match(text).Groups[1].Value, CultureInfo.InvariantCulture);
    }

    private async Task AssertWholeAsync(string says, int exitCode)
    {
        string text = await _tmux.UntilShowsAsync($"exit={exitCode}.");
        Assert.Contains(says, text, StringComparison.Ordinal);
        Assert.Equal("0", _tmux.Ask("alternate_on"));
        AssertSane();
    }

    /// <summary>Of a program that was stopped once: its line's echo is over.</summary>
    private async Task QuitAsync()
    {
        _tmux.Send("q");
        await _tmux.UntilShowsAsync("ended: Quit");
        AssertSane();
    }

    private void AssertSane()
    {
        _tmux.Run($"stty -a > {_tmux.Folder}/after; echo compared >> {_tmux.Folder}/after");
        for (int i = 0; i < 1000 && !(File.Exists(_tmux.Folder + "/after") && File.ReadAllText(_tmux.Folder + "/after").EndsWith("compared\n", StringComparison.Ordinal)); i++)
        {
            Thread.Sleep(10);
        }

        Assert.Equal(File.ReadAllText(_tmux.Folder + "/before") + "compared\n", File.ReadAllText(_tmux.Folder + "/after"));
        File.Delete(_tmux.Folder + "/after");
        Assert.Equal("0", _tmux.Ask("alternate_on"));
        Assert.Equal("1", _tmux.Ask("cursor_flag"));
        Assert.Equal("1", _tmux.Ask("wrap_flag"));
        Assert.Equal("0", _tmux.Ask("mouse_any_flag"));
    }

    private static char ProcessState(int process)
    {
        string stat = File.ReadAllText($"/proc/{process}/stat");
        return stat[stat.LastIndexOf(')') + 2];
    }

    [GeneratedRegex(@"pid (\d+)\.")]
    private static partial Regex ProcessNumber();
}
