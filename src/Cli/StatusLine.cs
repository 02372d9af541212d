using System.Diagnostics;
using KTrace.Tui.Views;

namespace KTrace.Cli;

/// <summary>
/// One line on stderr that is written over and over on a terminal, and now and then as a plain line elsewhere.
/// Results go to stdout and are never touched by this.
/// </summary>
internal sealed class StatusLine : IDisposable
{
    private static readonly TimeSpan TerminalInterval = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan PipeInterval = TimeSpan.FromSeconds(10);

    private readonly bool _terminal = !Console.IsErrorRedirected && Environment.GetEnvironmentVariable("TERM") is not (null or "" or "dumb");
    private readonly Stopwatch _sinceLast = new();
    private readonly Lock _lock = new();
    private bool _shown;

    /// <summary>
    /// Shows <paramref name="text"/> (already free of control characters), at most ten times a second on a terminal; elsewhere every ten seconds at most, and not
    /// before the first ten are over: what is quickly done needs no progress in a log.
    /// </summary>
    public void Show(string text, bool now = false)
    {
        lock (_lock)
        {
            var interval = _terminal ? TerminalInterval : PipeInterval;
            if (!now && !_terminal && !_sinceLast.IsRunning)
            {
                _sinceLast.Start();
                return;
            }

            if (!now && _sinceLast.IsRunning && _sinceLast.Elapsed < interval)
            {
                return;
            }

            _sinceLast.Restart();
            if (_terminal)
            {
                Write("\r" + Cut(text) + "\u001b[K");
                _shown = true;
            }
            else
            {
                Write(text + "\n");
            }
        }
    }

    /// <summary>A message that stays, above the line.</summary>
    public void Say(string text)
    {
        lock (_lock)
        {
            Erase();
            Write(text + "\n");
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            Erase();
        }
    }

    private void Erase()
    {
        if (_shown)
        {
            Write("\r\u001b[K");
            _shown = false;
        }
    }

    /// <summary>A terminal that was closed must not end a recording: what it would have shown is lost, nothing else.</summary>
    private static void Write(string text)
    {
        try
        {
            Console.Error.Write(text);
        }
        catch (IOException)
        {
            // Nobody looks any more.
        }
    }

    private static string Cut(string text)
    {
        int width;
        try
        {
            width = Console.WindowWidth - 1;
        }
        catch (IOException)
        {
            width = 79;
        }

        if (width <= 0)
        {
            width = 79;
        }

        return TerminalText.Width(text) <= width ? text : TerminalText.KeepStart(text, width);
    }
}
