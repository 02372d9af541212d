// A socket without .NET's asynchronous engine. Between two hits of a hot function lies about a millisecond; waiting for it through the engine costs
// a wake-up of its epoll thread, one of a thread-pool thread, and that pool's spinning: 250 to 400 µs of CPU time a hit, against 30 when the thread
// that wants the bytes waits for them itself (docs/rsp.md has the numbers). A socket that was once read asynchronously stays
// registered and keeps paying, so this one never is: short waits block the caller, long ones a thread of their own.
using System.Net.Sockets;

namespace KTrace.Rsp;

/// <summary>A connected socket as a stream whose reads first block their caller, shortly, and only then become asynchronous.</summary>
internal sealed class AttentiveSocketStream : Stream
{
    /// <summary>How late a long wait notices that it was cancelled.</summary>
    private static readonly TimeSpan s_slice = TimeSpan.FromMilliseconds(20);

    private readonly Socket _socket;
    private readonly bool _isAttentive;

    /// <param name="socket">Connected, and owned by the stream from now on.</param>
    /// <param name="attentiveWait">How long a read may block its caller.</param>
    /// <param name="sendTimeout">How long a write may block its caller.</param>
    public AttentiveSocketStream(Socket socket, TimeSpan attentiveWait, TimeSpan sendTimeout)
    {
        _socket = socket;
        // A receive that gives up after a while is one call of the kernel; asking first whether there is something would be two.
        _isAttentive = attentiveWait > TimeSpan.Zero;
        socket.ReceiveTimeout = _isAttentive ? (int)Math.Clamp(attentiveWait.TotalMilliseconds, 1, int.MaxValue) : 0;
        socket.SendTimeout = (int)Math.Clamp(sendTimeout.TotalMilliseconds, 1, int.MaxValue);
    }

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (_isAttentive)
        {
            var count = _socket.Receive(buffer.Span, SocketFlags.None, out var error);
            switch (error)
            {
                case SocketError.Success:
                    return new ValueTask<int>(count);
                case not (SocketError.TimedOut or SocketError.WouldBlock):
                    var reason = new SocketException((int)error);
                    throw new IOException(reason.Message, reason);
            }
        }

        return new ValueTask<int>(ReadLaterAsync(buffer, cancellationToken));
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        Write(buffer.Span);
        return ValueTask.CompletedTask;
    }

    public override int Read(Span<byte> buffer)
    {
        try
        {
            return _socket.Receive(buffer);
        }
        catch (SocketException e)
        {
            throw new IOException(e.Message, e);
        }
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        try
        {
            // A blocking socket sends all, or fails.
            while (!buffer.IsEmpty)
            {
                buffer = buffer[_socket.Send(buffer)..];
            }
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock)
        {
            throw new TimeoutException(e.Message, e);
        }
        catch (SocketException e)
        {
            throw new IOException(e.Message, e);
        }
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _socket.Dispose();
        }

        base.Dispose(disposing);
    }

    private async Task<int> ReadLaterAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        await ParkedThreads.Shared.RunAsync(() =>
        {
            while (!_socket.Poll(s_slice, SelectMode.SelectRead))
            {
                cancellationToken.ThrowIfCancellationRequested();
            }
        }).ConfigureAwait(false);
        return Read(buffer.Span);
    }
}
