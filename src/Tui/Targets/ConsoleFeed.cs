// A guest that runs `yes` writes faster than anybody reads, and no slower because of us (src/Boot/Qemu/GuestConsole): what comes between two looks of the screen is put together, and
// of more than a few screens' worth the middle is left out.
using System.Globalization;
using System.Text;

namespace KTrace.Tui.Targets;

/// <summary>The guest's serial line on its way to the screen.</summary>
internal sealed class ConsoleFeed(NewsQueue news)
{
    private const int Head = 32 << 10;
    private const int Tail = 64 << 10;
    private static readonly TimeSpan s_together = TimeSpan.FromMilliseconds(30);

    private readonly Lock _lock = new();
    private readonly SemaphoreSlim _came = new(0, 1);
    private readonly StringBuilder _head = new();
    private readonly StringBuilder _tail = new();
    private readonly StringBuilder _early = new();
    private long _leftOut;
    private Action<string>? _keep;

    /// <summary>Hands all text on to who keeps it, what came before this was known first.</summary>
    public void KeepBy(Action<string> keep)
    {
        lock (_lock)
        {
            keep(_early.ToString());
            _early.Clear();
            _keep = keep;
        }
    }

    /// <summary>Reads and sends until the line ends.</summary>
    public async Task RunAsync(IGuestLine line, CancellationToken cancellationToken)
    {
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var sending = SendAsync(over.Token);
        try
        {
            await foreach (var text in line.ReadAsync(cancellationToken))
            {
                Add(text);
            }

            // What came last is seen before anybody hears that the guest has gone.
            await Task.Delay(s_together, cancellationToken);
        }
        catch (OperationCanceledException)
        {
            // The session is over.
        }
        finally
        {
            await over.CancelAsync();
            await sending;
        }

        Send();
    }

    internal void Add(string text)
    {
        lock (_lock)
        {
            if (_keep is not null)
            {
                _keep(text);
            }
            else if (_early.Length < Tail)
            {
                _early.Append(text);
            }

            var room = _tail.Length > 0 || _leftOut > 0 ? 0 : Math.Min(text.Length, Head - _head.Length);
            _head.Append(text, 0, room);
            _tail.Append(text, room, text.Length - room);
            if (_tail.Length > 2 * Tail)
            {
                _leftOut += _tail.Length - Tail;
                _tail.Remove(0, _tail.Length - Tail);
            }
        }

        try
        {
            _came.Release();
        }
        catch (SemaphoreFullException)
        {
            // It is known already that there is something.
        }
    }

    internal void Send()
    {
        string text;
        lock (_lock)
        {
            if (_head.Length == 0 && _tail.Length == 0)
            {
                return;
            }

            if (_leftOut > 0)
            {
                _head.Append(CultureInfo.InvariantCulture, $"\n[{_leftOut} characters left out: the guest writes faster than they can be shown]\n");
            }

            text = _head.Append(_tail).ToString();
            _head.Clear();
            _tail.Clear();
            _leftOut = 0;
        }

        news.Send(new TargetNews.ConsoleText(text));
    }

    private async Task SendAsync(CancellationToken cancellationToken)
    {
        try
        {
            while (true)
            {
                await _came.WaitAsync(cancellationToken);
                await Task.Delay(s_together, cancellationToken);
                await news.WaitForRoomAsync(cancellationToken);
                Send();
            }
        }
        catch (OperationCanceledException)
        {
            // Whoever cancelled sends the rest.
        }
    }
}
