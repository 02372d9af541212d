// The terminal of this process. What it is put into, and taken out of again however the program ends: raw mode, the alternate screen (DEC 1049), a hidden cursor
// (25), no wrapping at the right edge (7), bracketed paste (2004), the mouse with drags (1002) in SGR form (1006). kill -9 cannot be caught: `reset` or starting
// again helps then.
//
// .NET has ideas of its own about terminals (System.Native, pal_console.c, .NET 10): Console changes termios when it reads, and on SIGCONT the runtime writes back
// the termios that it saw first, which would undo raw mode. So Console is not used while a terminal is open, and the runtime's handling of SIGCONT is cancelled.
using System.Runtime.InteropServices;
using System.Threading.Channels;
using KTrace.Tui.State;

namespace KTrace.Tui.Terminal;

/// <summary>A real terminal, given back as it was at the end, by SIGTERM, SIGHUP, SIGINT and SIGQUIT, when any thread crashes, and while it is suspended.</summary>
public sealed class PosixTerminal : ITerminal
{
    // Beyond that nothing is read: what is typed or pasted waits in the terminal until the program has kept up.
    private const int MostWaiting = 1024;

    private static readonly TimeSpan LongestGoodbye = TimeSpan.FromMilliseconds(300);

    private readonly TtyDevice _device;
    private readonly Channel<InputEvent> _input = Channel.CreateUnbounded<InputEvent>(new UnboundedChannelOptions { AllowSynchronousContinuations = true });

    private readonly InputDecoder _decoder;
    private readonly Thread _reader;
    private readonly PosixSignalRegistration[] _signals;
    private readonly Lock _output = new();
    private readonly Lock _mode = new();
    private readonly Lock _stop = new();
    private readonly ManualResetEventSlim _answered = new(true);
    private readonly ManualResetEventSlim _closing = new();
    private readonly bool _asks;
    private volatile bool _isActive;
    private volatile bool _isDisposed;

    private PosixTerminal(TtyDevice device, Func<string, string?> variable)
    {
        _device = device;
        Looks = LooksDetection.From(variable);
        _asks = LooksDetection.CanBeAsked(variable);
        _decoder = new InputDecoder(Post, OnAnswer);
        AppDomain.CurrentDomain.ProcessExit += OnProcessEnd;
        AppDomain.CurrentDomain.UnhandledException += OnProcessEnd;
#pragma warning disable CA1416 // Not on Windows: there is no libc either, and Open has failed before.
        _signals =
        [
            .. new[] { PosixSignal.SIGTERM, PosixSignal.SIGHUP, PosixSignal.SIGINT, PosixSignal.SIGQUIT }.Select(signal => PosixSignalRegistration.Create(signal, _ => GiveBack())),
            PosixSignalRegistration.Create(PosixSignal.SIGWINCH, _ => Post(new InputEvent.Resized(Size))),
            PosixSignalRegistration.Create(PosixSignal.SIGTSTP, OnStop),
            PosixSignalRegistration.Create(PosixSignal.SIGCONT, OnContinue),
        ];
#pragma warning restore CA1416
        Enter();
        if (_asks)
        {
            _answered.Reset();
            Write(LooksDetection.Questions);
        }

        _reader = new Thread(ReadInput) { IsBackground = true, Name = "terminal input" };
        _reader.Start();
    }

    public TerminalSize Size => _device.Size;

    public TerminalLooks Looks { get; private set; }

    public ChannelReader<InputEvent> Input => _input.Reader;

    private static ReadOnlySpan<byte> EnterScreen => "\e[?1049h\e[?25l\e[?7l\e[?2004h"u8;

    private static ReadOnlySpan<byte> EnterMouse => "\e[?1002h\e[?1006h"u8;

    /// <summary>
    /// In the other order; a frame that was cut short may have left synchronised output (2026) and a colour. A terminal that has no second screen (vt100, many Linux consoles) keeps what is on it: the shell
    /// goes on below.
    /// </summary>
    private static ReadOnlySpan<byte> LeaveScreen => "\e\\\e[?2026l\e[?1006l\e[?1002l\e[?2004l\e[?7h\e[m\e[999;1H\r\n\e[?1049l\e[?25h"u8;

    /// <summary>Takes the terminal of this process.</summary>
    /// <param name="variable">The environment: TERM, COLORTERM and others.</param>
    /// <exception cref="TerminalException">There is none, or it cannot place its cursor.</exception>
    public static PosixTerminal Open(Func<string, string?> variable)
    {
        TtyDevice device = TtyDevice.Open();
        if (!LooksDetection.IsDumb(variable))
        {
            return new PosixTerminal(device, variable);
        }

        device.Dispose();
        throw new TerminalException($"a terminal of type \"{variable("TERM")}\" cannot show a screen", "set TERM to what the terminal is (xterm-256color), or use ktrace debug or ktrace show");
    }

    public void Write(ReadOnlySpan<byte> frame)
    {
        lock (_output)
        {
            if (_isActive && !_device.Write(frame, () => _isActive) && _isActive)
            {
                Close();
            }
        }
    }

    public void Suspend() => Stop(wholeGroup: true);

    public void Dispose()
    {
        if (_isDisposed)
        {
            return;
        }

        _isDisposed = true;
        _closing.Set();
        Leave();
        _device.Wake();
        _input.Writer.TryComplete();
        _reader.Join();
        AppDomain.CurrentDomain.ProcessExit -= OnProcessEnd;
        AppDomain.CurrentDomain.UnhandledException -= OnProcessEnd;
        foreach (PosixSignalRegistration signal in _signals)
        {
            signal.Dispose();
        }

        _device.Dispose();
    }

    private void Enter()
    {
        lock (_mode)
        {
            _device.MakeRaw();
            _isActive = true;
            Write(EnterScreen);
            if (Looks.HasMouse)
            {
                Write(EnterMouse);
            }
        }
    }

    /// <summary>Gives the terminal back. May be called by any thread, at any time, more than once; does not wait for a terminal that takes nothing.</summary>
    private void Leave()
    {
        // An answer that comes later would be typed into the shell.
        if (_isActive && Environment.CurrentManagedThreadId != _reader?.ManagedThreadId)
        {
            _answered.Wait(LongestGoodbye / 2);
            _answered.Set();
        }

        lock (_mode)
        {
            if (!_isActive)
            {
                return;
            }

            // A frame that waits for the terminal gives up by this.
            _isActive = false;
            _device.Wake();
            long begun = Environment.TickCount64;
            bool mine = _output.TryEnter(LongestGoodbye);
            try
            {
                _device.Write(LeaveScreen, () => Environment.TickCount64 - begun < LongestGoodbye.TotalMilliseconds);
            }
            finally
            {
                if (mine)
                {
                    _output.Exit();
                }
            }

            if (_device.IsForeground)
            {
                _device.Restore();
            }
        }
    }

    private void Stop(bool wholeGroup)
    {
        if (!_stop.TryEnter())
        {
            // Ctrl-Z and SIGTSTP at once: one stop is enough.
            return;
        }

        try
        {
            Leave();
            JobControl.Stop(wholeGroup);

            // Continued in the background (bg): there is nothing to do without the terminal. SIGTERM may have come along and must get its turn.
            while (!_device.IsForeground && !_closing.Wait(LongestGoodbye))
            {
                JobControl.Stop(wholeGroup: false);
            }

            if (!_closing.IsSet)
            {
                Enter();
                _device.Wake();
                Post(new InputEvent.Resized(Size));
                Post(new InputEvent.Resumed());
            }
        }
        finally
        {
            _stop.Exit();
        }
    }

    private void OnStop(PosixSignalContext context)
    {
        context.Cancel = true;
        Stop(wholeGroup: false);
    }

    private void OnContinue(PosixSignalContext context)
    {
        // Otherwise the runtime would set the termios that it knows.
        context.Cancel = true;

        // Inactive: Stop goes on by itself. Active: SIGSTOP came from outside, and nobody knows what was done to the terminal meanwhile.
        if (!_isActive)
        {
            return;
        }

        if (_device.IsForeground)
        {
            Enter();
            Post(new InputEvent.Resized(Size));
            Post(new InputEvent.Resumed());
        }
        else
        {
            Stop(wholeGroup: false);
        }
    }

    /// <summary>
    /// Whatever a signal does next: the terminal is whole again before it. What it does is not the terminal's to say: the default action ends the process with
    /// the signal's exit code, or the program has a handler that ends it in order. Ending the loop here would race with both.
    /// </summary>
    private void GiveBack()
    {
        _closing.Set();
        Leave();
        _device.Wake();
    }

    /// <summary>There is no terminal any more: that ends the loop.</summary>
    private void Close()
    {
        GiveBack();
        Post(new InputEvent.Closed());
        _input.Writer.TryComplete();
    }

    private void OnProcessEnd(object? sender, EventArgs e) => Leave();

    private void OnAnswer(TerminalAnswer answer)
    {
        if (answer is TerminalAnswer.Attributes)
        {
            _answered.Set();
        }

        TerminalLooks looks = LooksDetection.With(Looks, answer);
        if (looks != Looks)
        {
            Looks = looks;
            Post(new InputEvent.LooksLearned(looks));
        }
    }

    private void ReadInput()
    {
        Span<byte> buffer = stackalloc byte[4096];
        while (!_isDisposed && !_closing.IsSet)
        {
            if (_input.Reader.Count > MostWaiting)
            {
                Thread.Sleep(1);
                continue;
            }

            switch (_device.Read(buffer, _decoder.Patience, _isActive, out int count))
            {
                case TtyEvent.Bytes:
                    _decoder.Feed(buffer[..count]);
                    break;
                case TtyEvent.Pause:
                    _decoder.Pause();
                    break;
                case TtyEvent.Gone when _isActive:
                    Close();
                    break;
            }
        }
    }

    /// <summary>Never waits: it is called by the loop itself and by signals too.</summary>
    private void Post(InputEvent input) => _input.Writer.TryWrite(input);
}
