// The stub's part of a recorded transcript as a stream in memory, for tests that need thousands of sessions. What is between the recorded replies and the
// client can be damaged: cut at a byte, by a packet, or silenced.
using System.Text;
using KTrace.Rsp;

namespace KTrace.Tests.Support;

/// <summary>Answers each request of a transcript with its replies; a request that was not recorded, with an empty packet.</summary>
internal sealed class ReplayStream(string transcript) : Stream
{
    private readonly Queue<TranscriptEntry> _entries = new(RspTranscript.Read(new StringReader(transcript)));
    private readonly List<byte> _request = [];
    private readonly Queue<byte> _arrived = new();
    private readonly SemaphoreSlim _news = new(0);
    private byte[] _last = [];
    private int _replies;
    private long _sent;
    private bool _closed;

    /// <summary>How many bytes the stub sends before it closes.</summary>
    public long CloseAfter { get; init; } = long.MaxValue;

    /// <summary>Whether it closes as a connection that is reset does.</summary>
    public bool Reset { get; init; }

    /// <summary>Gives the bytes to send for a reply's payload, its number and whether it is sent for the second time.</summary>
    public Func<byte[], int, bool, byte[]> Frame { get; init; } = (payload, _, _) => FakeStub.Frame(Encoding.Latin1.GetString(payload));

    /// <summary>Whether nothing is left to be said.</summary>
    public bool IsAtEnd => _entries.Count == 0;

    /// <summary>How many replies were sent.</summary>
    public int Replies => _replies;

    /// <summary>How many bytes were sent.</summary>
    public long Sent => _sent;

    /// <summary>Closes now.</summary>
    public void End()
    {
        _closed = true;
        _news.Release();
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

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (_arrived.Count == 0)
        {
            if (_closed)
            {
                return Reset ? throw new IOException("Connection reset by peer") : 0;
            }

            await _news.WaitAsync(cancellationToken);
        }

        var count = Math.Min(buffer.Length, _arrived.Count);
        for (var i = 0; i < count; i++)
        {
            buffer.Span[i] = _arrived.Dequeue();
        }

        return count;
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_closed)
        {
            return ValueTask.FromException(new IOException("Broken pipe"));
        }

        foreach (var b in buffer.Span)
        {
            Take(b);
        }

        return ValueTask.CompletedTask;
    }

    public override void Flush()
    {
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    private void Take(byte b)
    {
        switch (_request.Count)
        {
            case 0 when b == '-':
                Send(_last);
                break;
            case 0 when b == 3:
                Answer(TranscriptEntryKind.Interrupt, []);
                break;
            case 0 when b != '$':
                break;
            default:
                _request.Add(b);
                if (_request.Count > 3 && _request[^3] == '#')
                {
                    var payload = _request.GetRange(1, _request.Count - 4).ToArray();
                    _request.Clear();
                    Send([(byte)'+']);
                    Answer(TranscriptEntryKind.Request, payload);
                }

                break;
        }
    }

    private void Answer(TranscriptEntryKind kind, byte[] payload)
    {
        if (!_entries.TryPeek(out var next) || next.Kind != kind || !next.Payload.Span.SequenceEqual(payload))
        {
            if (kind == TranscriptEntryKind.Request)
            {
                SendReply([]);
            }

            return;
        }

        // Where requests went out in one write, all their replies stand after the last of them.
        _entries.Dequeue();
        while (_entries.TryPeek(out var entry) && entry.Kind == TranscriptEntryKind.Reply)
        {
            SendReply(_entries.Dequeue().Payload.ToArray());
        }
    }

    private void SendReply(byte[] payload)
    {
        _last = Frame(payload, _replies, true);
        Send(Frame(payload, _replies++, false));
    }

    private void Send(byte[] bytes)
    {
        var count = (int)Math.Min(bytes.Length, CloseAfter - _sent);
        foreach (var b in bytes.AsSpan(0, count))
        {
            _arrived.Enqueue(b);
        }

        _sent += count;
        _closed |= _sent >= CloseAfter;
        _news.Release();
    }
}
