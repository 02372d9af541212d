namespace KTrace.Tui.Targets;

/// <summary>A trace that may still be written: at its present end a read waits for more, until the trace is known to have ended or nobody wants more.</summary>
/// <param name="caughtUp">Called every time that the present end is reached.</param>
/// <param name="cancellationToken">Ends the stream where it is.</param>
internal sealed class FollowingStream(FileStream file, Action caughtUp, CancellationToken cancellationToken) : Stream
{
    private static readonly TimeSpan s_look = TimeSpan.FromMilliseconds(250);

    private bool _isCaughtUp;

    /// <summary>The end record was read: nothing follows.</summary>
    public bool IsOver { get; set; }

    /// <summary>From 0 to 1.</summary>
    public double Fraction => file.Length == 0 ? 1 : Math.Clamp((double)file.Position / file.Length, 0, 1);

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position { get => file.Position; set => throw new NotSupportedException(); }

    public override int Read(Span<byte> buffer)
    {
        while (true)
        {
            var read = cancellationToken.IsCancellationRequested ? 0 : file.Read(buffer);
            if (read > 0 || IsOver || cancellationToken.IsCancellationRequested)
            {
                _isCaughtUp = false;
                return read;
            }

            if (!_isCaughtUp)
            {
                _isCaughtUp = true;
                caughtUp();
            }

            cancellationToken.WaitHandle.WaitOne(s_look);
        }
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        file.Dispose();
        base.Dispose(disposing);
    }
}
