// A terminal as a file: /dev/tty, or what standard input is. It is opened anew, so that not blocking (O_NONBLOCK belongs to the open file) is ours alone and
// the shell's standard input stays as it is. Raw mode is what cfmakeraw(3) says, and what was there before is given back byte for byte.
using System.Runtime.InteropServices;

namespace KTrace.Tui.Terminal;

/// <summary>What <see cref="TtyDevice.Read"/> came back with, where it is not a number of bytes.</summary>
internal enum TtyEvent
{
    Bytes,
    Pause,
    Woken,
    Gone,
}

/// <summary>The open terminal: raw mode, size, bytes. Thread-safe as far as one reader and one writer are.</summary>
internal sealed unsafe class TtyDevice : IDisposable
{
    // A terminal that claims to be larger is not believed: a screen's memory grows with it.
    private const int MostColumns = 1000, MostRows = 500;

    private readonly int _descriptor;
    private readonly int _wakeRead;
    private readonly int _wakeWrite;
    private readonly byte[] _before = new byte[LibC.OpaqueSize];

    private TtyDevice(int descriptor)
    {
        _descriptor = descriptor;
        int* ends = stackalloc int[2];
        _ = LibC.Pipe(ends, LibC.NonBlocking | LibC.CloseOnExec);
        (_wakeRead, _wakeWrite) = (ends[0], ends[1]);
        fixed (byte* before = _before)
        {
            _ = LibC.GetAttributes(descriptor, before);
        }
    }

    /// <summary>Columns and rows as the terminal has them now; 80×24 where it does not know.</summary>
    public TerminalSize Size
    {
        get
        {
            LibC.WindowDimensions size = default;
            return LibC.Control(_descriptor, LibC.WindowSize, &size) == 0 && size is { Columns: > 0, Rows: > 0 }
                ? new TerminalSize(Math.Min((int)size.Columns, MostColumns), Math.Min((int)size.Rows, MostRows))
                : new TerminalSize(80, 24);
        }
    }

    /// <summary>False in the background, where touching the terminal would stop this process.</summary>
    public bool IsForeground => LibC.GetForegroundGroup(_descriptor) == LibC.GetGroup();

    /// <exception cref="TerminalException">Standard input or output is none.</exception>
    public static TtyDevice Open()
    {
        foreach ((int descriptor, string name) in new[] { (0, "input"), (1, "output") })
        {
            if (LibC.IsTerminal(descriptor) != 1)
            {
                throw new TerminalException($"standard {name} is no terminal", "start it in a terminal, without a pipe or a redirection");
            }
        }

        const int Flags = LibC.ReadWrite | LibC.NoControllingTerminal | LibC.NonBlocking | LibC.CloseOnExec;
        foreach (ReadOnlySpan<byte> path in (ReadOnlySpan<byte[]>)["/dev/tty\0"u8.ToArray(), "/proc/self/fd/0\0"u8.ToArray()])
        {
            fixed (byte* name = path)
            {
                int opened = LibC.Open(name, Flags, 0);
                if (opened >= 0)
                {
                    return new TtyDevice(opened);
                }
            }
        }

        throw new TerminalException("the terminal cannot be opened: " + Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError()), "start it in a terminal of your own (not after su or sudo -u)");
    }

    /// <summary>No line editing, no signals from keys, no translation of line ends: every byte as it is.</summary>
    public void MakeRaw()
    {
        byte* raw = stackalloc byte[LibC.OpaqueSize];
        _before.CopyTo(new Span<byte>(raw, LibC.OpaqueSize));
        LibC.MakeRaw(raw);
        _ = LibC.SetAttributes(_descriptor, LibC.SetNow, raw);
    }

    /// <summary>As it was when it was opened; what was typed and not read is dropped. Does not wait for the terminal to take what was written.</summary>
    public void Restore()
    {
        _ = LibC.Flush(_descriptor, LibC.FlushInput);
        fixed (byte* before = _before)
        {
            _ = LibC.SetAttributes(_descriptor, LibC.SetNow, before);
        }
    }

    /// <summary>Waits for bytes.</summary>
    /// <param name="patience">Until <see cref="TtyEvent.Pause"/>; null: no limit.</param>
    /// <param name="listens">Otherwise only for <see cref="Wake"/>.</param>
    public TtyEvent Read(Span<byte> buffer, TimeSpan? patience, bool listens, out int count)
    {
        count = 0;
        LibC.Polled* polled = stackalloc LibC.Polled[2];
        polled[0] = new LibC.Polled { Descriptor = _wakeRead, Events = LibC.PollIn };
        polled[1] = new LibC.Polled { Descriptor = _descriptor, Events = LibC.PollIn };
        int ready = LibC.Poll(polled, listens ? 2u : 1u, patience is { } limit ? (int)limit.TotalMilliseconds : -1);
        if (ready == 0)
        {
            return TtyEvent.Pause;
        }

        if (ready < 0 || polled[0].Happened != 0)
        {
            DrainWakes();
            return TtyEvent.Woken;
        }

        fixed (byte* bytes = buffer)
        {
            nint read = LibC.Read(_descriptor, bytes, buffer.Length);
            if (read > 0)
            {
                count = (int)read;
                return TtyEvent.Bytes;
            }

            bool again = read < 0 && Marshal.GetLastPInvokeError() is LibC.TryAgain or LibC.Interrupted;
            bool hungUp = (polled[1].Happened & (LibC.PollHangup | LibC.PollError)) != 0;
            return again && !hungUp ? TtyEvent.Woken : TtyEvent.Gone;
        }
    }

    /// <summary>Ends a <see cref="Read"/> that waits.</summary>
    public void Wake()
    {
        byte any = 0;
        _ = LibC.Write(_wakeWrite, &any, 1);
    }

    /// <summary>Writes all of it, in one call where the terminal takes it.</summary>
    /// <param name="goesOn">Asked while the terminal takes nothing; false gives up.</param>
    /// <returns>False: the terminal is gone, or it was given up.</returns>
    public bool Write(ReadOnlySpan<byte> bytes, Func<bool> goesOn)
    {
        const int LookAgain = 50; // ms
        fixed (byte* start = bytes)
        {
            for (int written = 0; written < bytes.Length;)
            {
                nint count = LibC.Write(_descriptor, start + written, bytes.Length - written);
                if (count >= 0)
                {
                    written += (int)count;
                    continue;
                }

                if (Marshal.GetLastPInvokeError() is not (LibC.TryAgain or LibC.Interrupted) || !goesOn())
                {
                    return false;
                }

                var polled = new LibC.Polled { Descriptor = _descriptor, Events = LibC.PollOut };
                _ = LibC.Poll(&polled, 1, LookAgain);
            }
        }

        return true;
    }

    public void Dispose()
    {
        _ = LibC.Close(_descriptor);
        _ = LibC.Close(_wakeRead);
        _ = LibC.Close(_wakeWrite);
    }

    private void DrainWakes()
    {
        byte* bytes = stackalloc byte[64];
        while (LibC.Read(_wakeRead, bytes, 64) > 0)
        {
        }
    }
}
