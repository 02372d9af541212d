using KTrace.Tui.Terminal;

namespace KTrace.Tests.Support;

/// <summary>A shell in a real terminal, tmux's: keys go in as they would from a keyboard, the screen comes out as a person would see it.</summary>
internal sealed class TmuxSession : IDisposable
{
    private readonly ScratchFolder _folder = new();

    /// <param name="size">Of the terminal.</param>
    /// <param name="environment">For the shell, beside its own.</param>
    public TmuxSession(TerminalSize size, IReadOnlyDictionary<string, string>? environment = null)
    {
        string[] variables = [.. (environment ?? new Dictionary<string, string>()).Select(pair => $"{pair.Key}={pair.Value}")];

        // The prompt is known, so that its coming back can be waited for; an own socket and no configuration, so that nobody's tmux is touched.
        Tmux(["-f", "/dev/null", "new-session", "-d", "-x", $"{size.Columns}", "-y", $"{size.Rows}", "env", "LC_ALL=C.UTF-8", "PS1=ready> ", .. variables, "bash", "--norc", "--noprofile"]);
        Tmux(["set-option", "-g", "status", "off"]);
        Tmux(["set-option", "-g", "escape-time", "0"]);
        Resize(size);
    }

    public string Folder => _folder.Path;

    /// <summary>The screen's rows, without blanks at their ends.</summary>
    public string[] Rows
    {
        get
        {
            string[] rows = Tmux(["capture-pane", "-p"]).Split('\n');
            return [.. rows.Take(rows.Length - 1).Select(row => row.TrimEnd())];
        }
    }

    public string Text => string.Join('\n', Rows);

    /// <summary>Keys by tmux's names (<c>Enter</c>, <c>C-z</c>), or text.</summary>
    public void Send(params string[] keys) => Tmux(["send-keys", .. keys]);

    public void Type(string text) => Tmux(["send-keys", "-l", text]);

    /// <summary>A line for the shell.</summary>
    public void Run(string line)
    {
        Type(line);
        Send("Enter");
    }

    public void Resize(TerminalSize size) => Tmux(["resize-window", "-x", $"{size.Columns}", "-y", $"{size.Rows}"]);

    /// <summary>What tmux knows of the terminal: <c>alternate_on</c>, <c>cursor_flag</c>.</summary>
    public string Ask(string variable) => Tmux(["display-message", "-p", $"#{{{variable}}}"]).Trim();

    /// <summary>Waits until the screen is as asked; how it looks instead is the failure's text.</summary>
    public async Task<string> UntilAsync(Func<string, bool> shows, string what)
    {
        var limit = DateTime.UtcNow + TimeSpan.FromMinutes(3);
        while (true)
        {
            string text = Text;
            if (shows(text))
            {
                return text;
            }

            if (DateTime.UtcNow > limit)
            {
                Assert.Fail($"the screen never showed {what}; it shows\n{text}");
            }

            await Task.Delay(20);
        }
    }

    public Task<string> UntilShowsAsync(string text) => UntilAsync(screen => screen.Contains(text, StringComparison.Ordinal), $"\"{text}\"");

    public void Dispose()
    {
        Tmux(["kill-server"]);
        _folder.Dispose();
    }

    private string Tmux(IEnumerable<string> arguments) => PeerProgram.Run("tmux", ["-u", "-S", _folder.File("tmux"), .. arguments]);
}
