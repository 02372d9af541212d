// QEMU talks much and in small pieces: an event on the control connection at every stop and every resume (two thousand a second while a hot function is
// recorded), a byte at a time on the console. Awaiting each piece wakes .NET's epoll thread and a thread of its pool, which then spins: 250 to 400 µs of
// CPU time apiece, taken from the machine that is being traced. Here a thread of its own waits for the first byte, lets the burst come, and takes all of it.
using System.Net.Sockets;

namespace KTrace.Boot.Qemu;

/// <summary>Reads a connected socket in bursts. The socket must never be read or written asynchronously: .NET would take it over for good.</summary>
internal static class BurstReader
{
    /// <param name="settle">How long after its first byte a burst is read.</param>
    /// <param name="pause">After so long without a byte <paramref name="onPause"/> is called.</param>
    /// <param name="take">Gets the bytes; valid during the call.</param>
    /// <returns>Ends when the peer has closed the connection, or it was closed here; the text says how. Never fails.</returns>
    public static Task<string> RunAsync(Socket socket, TimeSpan settle, TimeSpan pause, ReadAction take, Action? onPause = null) => Task.Factory.StartNew(
        () => Run(socket, settle, pause, take, onPause), CancellationToken.None, TaskCreationOptions.LongRunning | TaskCreationOptions.DenyChildAttach, TaskScheduler.Default);

    public delegate void ReadAction(ReadOnlySpan<byte> bytes);

    private static string Run(Socket socket, TimeSpan settle, TimeSpan pause, ReadAction take, Action? onPause)
    {
        var buffer = new byte[16 << 10];
        try
        {
            while (true)
            {
                while (!socket.Poll(pause, SelectMode.SelectRead))
                {
                    onPause?.Invoke();
                }

                Thread.Sleep(settle);
                var read = socket.Receive(buffer);
                if (read == 0)
                {
                    return "end of stream";
                }

                take(buffer.AsSpan(0, read));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            return e.Message;
        }
    }
}
