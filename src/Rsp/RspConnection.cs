// GDB Remote Serial Protocol, "Overview" and "Packet Acknowledgment".
//
// The way into Broken is Break(): it keeps the first reason, closes the stream, and from then on every call throws that reason. A timeout breaks
// the connection, because a late reply could not be told from the reply to the next request. A cancelled read consumes nothing (true of sockets on all
// of .NET's platforms, and of the streams in the tests), so it does not break it.
//
// Acknowledgements, while they are on: with a stub that takes a request as acknowledgement (StubProfile.TakesRequestAsAck) the `+` goes out in
// front of the next write, otherwise at once. A bad checksum is answered with `-` and the packet read again, a `-` by sending the request
// again; both a bounded number of times and only where a single request was written: in a pipeline nobody could tell which is meant, and behind a
// resume a `-` would stop QEMU's machine.
using System.Net.Sockets;
using System.Runtime.CompilerServices;

namespace KTrace.Rsp;

/// <summary>What <see cref="RspConnection.ReadAsync"/> came back with.</summary>
internal enum ReadResult
{
    Packet,

    /// <summary>A `%Stop` notification of a stub in non-stop mode; only where <see cref="RspConnection.TakesNotifiedStops"/>.</summary>
    NotifiedStop,

    /// <summary>The patience given by <see cref="RspConnection.EndPatience"/> ran out; nothing is broken.</summary>
    Impatient,
}

/// <summary>Packets over a stream: framing, acknowledgements, resends, timeouts, and the state Broken.</summary>
internal sealed class RspConnection : IAsyncDisposable
{
    private const int MaxSkippedBytes = 64 * 1024;

    private static readonly byte[] s_ack = "+"u8.ToArray();
    private static readonly byte[] s_nack = "-"u8.ToArray();
    private static readonly byte[] s_interrupt = [0x03];

    private readonly Stream _stream;
    private readonly RspClientOptions _options;
    private readonly PacketFramer _framer;
    private readonly byte[] _buffer = new byte[16 * 1024];
    private CancellationTokenSource _deadline = new();
    private ReadOnlyMemory<byte> _arrived;
    private RspException? _reason;
    private Exception? _writeFailure;
    private long _patienceEnds = long.MaxValue;
    private int _outstanding;
    private bool _ackOwed;

    public RspConnection(Stream stream, RspClientOptions options)
    {
        _stream = stream;
        _options = options;
        _framer = new PacketFramer(options.MaxPacketBytes);
    }

    /// <summary>Where requests are appended before <see cref="FlushAsync"/>.</summary>
    public PacketWriter Outgoing { get; } = new();

    /// <summary>After QStartNoAckMode was answered.</summary>
    public bool NoAckMode { get; set; }

    public StubProfile Profile { get; set; } = StubProfile.Unknown;

    /// <summary>Whether several requests may be under way at once.</summary>
    public bool MayPipeline => NoAckMode || Profile.TakesRequestAsAck;

    /// <summary>Why the connection is broken, or null.</summary>
    public RspException? Reason => _reason;

    /// <summary>The payload that the last read brought, until the next read.</summary>
    public ReadOnlySpan<byte> Payload => _framer.Payload;

    /// <exception cref="RspException">Broken.</exception>
    public void EnsureUsable()
    {
        if (_reason is { } reason)
        {
            throw new RspException(RspErrorKind.Broken, $"the connection is broken: {reason.Message}", reason);
        }
    }

    /// <summary>The one way into Broken. The first reason stays.</summary>
    public RspException Break(RspErrorKind kind, string message, Exception? inner = null)
    {
        var reason = new RspException(kind, message, inner);
        if (Interlocked.CompareExchange(ref _reason, reason, null) is null)
        {
            _stream.Dispose();
            _options.Transcript?.Ended(message);
        }

        return reason;
    }

    /// <summary>Whether the reply that is due is the one to `?`, which is a stop reply.</summary>
    public bool AwaitsHaltReason => Outgoing.PacketCount == 1 && Outgoing.Payload(0).SequenceEqual("?"u8);

    /// <summary>Whether the request under way is answered by several packets: asking again would bring the last that was sent, not the bad one.</summary>
    public bool ManyReplies { get; set; }

    /// <summary>Whether the reader wants `%Stop` notifications. Otherwise they are kept as <see cref="NotifiedStopDue"/>.</summary>
    public bool TakesNotifiedStops { get; set; }

    /// <summary>A `%Stop` came that nobody waited for: the stub sends no other until vStopped.</summary>
    public bool NotifiedStopDue { get; set; }

    /// <summary>What was just read answers no request: the reply is still due.</summary>
    public void Unanswered() => _outstanding++;

    /// <summary>Starts a new write; acknowledges what is owed.</summary>
    public void Begin()
    {
        EnsureUsable();
        Outgoing.Clear();
        ManyReplies = false;
        if (_ackOwed)
        {
            Outgoing.Bare((byte)'+');
            _ackOwed = false;
        }
    }

    /// <summary>Writes all that was appended.</summary>
    /// <param name="replies">How many replies will come, not counting a resume's.</param>
    public ValueTask FlushAsync(int replies)
    {
        if (_options.Transcript is { } transcript)
        {
            for (var i = 0; i < Outgoing.PacketCount; i++)
            {
                transcript.Request(Outgoing.Payload(i));
            }
        }

        _outstanding = replies;
        return WriteAsync(Outgoing.Written);
    }

    /// <summary>Writes a bare 0x03.</summary>
    public ValueTask InterruptAsync()
    {
        EnsureUsable();
        _options.Transcript?.Interrupt();
        return WriteAsync(s_interrupt);
    }

    /// <summary>Lets a read that waits without a limit, or the next such, come back as Impatient after this time.</summary>
    public void EndPatience(TimeSpan after)
    {
        Interlocked.Exchange(ref _patienceEnds, Environment.TickCount64 + (long)after.TotalMilliseconds);
        try
        {
            // A little later than the time that the reader compares with, so that it finds it in the past.
            Volatile.Read(ref _deadline).CancelAfter(after + TimeSpan.FromMilliseconds(20));
        }
        catch (ObjectDisposedException)
        {
            // The reader has just replaced it; it looks at _patienceEnds before it waits again.
        }
    }

    public void RestorePatience() => Interlocked.Exchange(ref _patienceEnds, long.MaxValue);

    /// <summary>Reads one packet; its payload is <see cref="Payload"/>.</summary>
    /// <param name="timeout">For the whole packet, or <see cref="Timeout.InfiniteTimeSpan"/>: until patience ends.</param>
    /// <exception cref="RspException">Protocol, Disconnected or Timeout: the connection is broken now; Broken: it was before.</exception>
    /// <exception cref="OperationCanceledException">Cancelled; a packet under way is not lost, the next read goes on with it.</exception>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    public async ValueTask<ReadResult> ReadAsync(TimeSpan timeout, CancellationToken cancellationToken)
    {
        EnsureUsable();
        var ends = timeout == Timeout.InfiniteTimeSpan ? long.MaxValue : Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        for (var resends = 0; ;)
        {
            switch (NextEvent())
            {
                case FramerEvent.Packet:
                    _options.Transcript?.Reply(_framer.Payload);
                    _outstanding = Math.Max(0, _outstanding - 1);
                    await AcknowledgeAsync().ConfigureAwait(false);
                    return ReadResult.Packet;

                case FramerEvent.Notification:
                    _options.Transcript?.Notification(_framer.Payload);
                    if (_framer.Payload.StartsWith("Stop:"u8))
                    {
                        NotifiedStopDue = true;
                        if (TakesNotifiedStops)
                        {
                            return ReadResult.NotifiedStop;
                        }
                    }

                    break;

                case FramerEvent.BadPacket when !NoAckMode && Outgoing.PacketCount == 1 && !ManyReplies && resends < _options.MaxResends:
                    resends++;
                    await WriteAsync(s_nack).ConfigureAwait(false);
                    break;

                case FramerEvent.BadPacket:
                    throw Break(RspErrorKind.Protocol, $"a packet of the stub is bad{Awaited()}: {_framer.Fault}; it began {PacketText.Brief(_framer.Payload)}");

                case FramerEvent.TooLarge:
                    throw Break(RspErrorKind.Protocol, $"a packet of the stub is longer than {_options.MaxPacketBytes} bytes{Awaited()}; it began {PacketText.Brief(_framer.Payload)}");

                case FramerEvent.Nack when !NoAckMode && _outstanding == 1 && Outgoing.PacketCount == 1 && resends < _options.MaxResends:
                    resends++;
                    await WriteAsync(Outgoing.Written).ConfigureAwait(false);
                    break;

                case FramerEvent.Nack when !NoAckMode:
                    throw Break(RspErrorKind.Protocol, $"the stub did not take the request{Awaited()}: it answered `-` {resends + 1} times");

                case FramerEvent.NeedMore when _framer.SkippedBytes > MaxSkippedBytes:
                    throw Break(RspErrorKind.Protocol, $"the peer sent {_framer.SkippedBytes} bytes that are no packets{Awaited()}: is it a gdb stub?");

                case FramerEvent.NeedMore:
                    if (!await FillAsync(ends, timeout, cancellationToken).ConfigureAwait(false))
                    {
                        return ReadResult.Impatient;
                    }

                    break;
            }
        }
    }

    public ValueTask DisposeAsync()
    {
        Break(RspErrorKind.Disconnected, "the client closed the connection");
        return ValueTask.CompletedTask;
    }

    private FramerEvent NextEvent()
    {
        var input = _arrived.Span;
        var found = _framer.Read(ref input);
        _arrived = _arrived[^input.Length..];
        return found;
    }

    private ValueTask AcknowledgeAsync()
    {
        if (NoAckMode)
        {
            return ValueTask.CompletedTask;
        }

        _ackOwed = Profile.TakesRequestAsAck;
        return _ackOwed ? ValueTask.CompletedTask : WriteAsync(s_ack);
    }

    /// <summary>Waits for bytes; false when patience ended first.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<bool> FillAsync(long ends, TimeSpan timeout, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        if (_deadline.IsCancellationRequested)
        {
            Volatile.Write(ref _deadline, new CancellationTokenSource());
        }

        var deadline = _deadline;
        try
        {
            var reading = _stream.ReadAsync(_buffer, deadline.Token);
            int count;
            if (reading.IsCompleted)
            {
                count = await reading.ConfigureAwait(false);
            }
            else
            {
                using var cancel = cancellationToken.UnsafeRegister(static source => ((CancellationTokenSource)source!).Cancel(), deadline);
                var until = ends == long.MaxValue ? Interlocked.Read(ref _patienceEnds) : ends;
                if (until != long.MaxValue)
                {
                    deadline.CancelAfter(TimeSpan.FromMilliseconds(Math.Max(1, until - Environment.TickCount64 + 1)));
                }

                count = await reading.ConfigureAwait(false);
            }

            // A timer that was armed must not end the next read; one that has fired is replaced there.
            deadline.TryReset();
            if (count == 0)
            {
                throw Break(RspErrorKind.Disconnected, $"the stub closed the connection{Awaited()}, {Progress()}", _writeFailure);
            }

            _arrived = _buffer.AsMemory(0, count);
            return true;
        }
        catch (OperationCanceledException)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (ends == long.MaxValue)
            {
                return Environment.TickCount64 < Interlocked.Read(ref _patienceEnds);
            }

            if (Environment.TickCount64 < ends)
            {
                return true;
            }

            throw Break(RspErrorKind.Timeout, $"the stub was silent for {timeout.TotalSeconds:0.###} s{Awaited()}, {Progress()}");
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            EnsureUsable();
            throw Break(RspErrorKind.Disconnected, $"the connection was lost{Awaited()}, {Progress()}: {e.Message}", e);
        }
    }

    private async ValueTask WriteAsync(ReadOnlyMemory<byte> bytes)
    {
        // Half a packet cannot be taken back, so a write is never cancelled: it completes, or the connection is broken.
        try
        {
            var writing = _stream.WriteAsync(bytes, CancellationToken.None);
            if (writing.IsCompleted)
            {
                await writing.ConfigureAwait(false);
            }
            else
            {
                await writing.AsTask().WaitAsync(_options.RequestTimeout).ConfigureAwait(false);
            }
        }
        catch (TimeoutException e)
        {
            throw Break(RspErrorKind.Timeout, $"the stub took no bytes for {_options.RequestTimeout.TotalSeconds:0.###} s{Awaited()}", e);
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // The stub has closed; but the last that it said may lie unread, and be that the target exited. The read that follows every write finds out.
            EnsureUsable();
            _writeFailure = e;
        }
    }

    /// <summary>Words for the request whose reply is due.</summary>
    private string Awaited()
    {
        var packet = Outgoing.PacketCount - _outstanding;
        return _outstanding > 0 && packet >= 0 && packet < Outgoing.PacketCount
            ? $" while the reply to {PacketText.Brief(Outgoing.Payload(packet))} was awaited"
            : " while a stop reply was awaited";
    }

    private string Progress() => _framer.InPacket
        ? $"{_framer.Payload.Length} bytes into a packet that began {PacketText.Brief(_framer.Payload)}"
        : "between packets";
}
