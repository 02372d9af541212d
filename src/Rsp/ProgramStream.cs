// `target remote | PROGRAM`, as gdb has it: a stub behind a program's standard input and output, such as Valgrind's vgdb, or ssh. .NET does not promise
// that a cancelled read of a pipe has consumed nothing; so a task of the stream's own reads it, and callers read what that task has put by.
using System.ComponentModel;
using System.Diagnostics;
using System.IO.Pipelines;
using System.Text;

namespace KTrace.Rsp;

/// <summary>A program's standard input and output as one stream. Disposing closes its input, and kills it if it does not end by that.</summary>
internal sealed class ProgramStream : Stream
{
    private const int MaxErrorText = 4096;

    private static readonly TimeSpan s_grace = TimeSpan.FromSeconds(2);

    private readonly Process _process;
    private readonly Pipe _arrived = new();
    private readonly StringBuilder _errors = new();
    private readonly Task _pumping;
    private int _disposed;

    /// <exception cref="RspException">Disconnected: the program cannot be started.</exception>
    public ProgramStream(IReadOnlyList<string> command)
    {
        var start = new ProcessStartInfo(command[0], command.Skip(1)) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true };
        try
        {
            _process = Process.Start(start) ?? throw new InvalidOperationException(command[0]);
        }
        catch (Win32Exception e)
        {
            throw new RspException(RspErrorKind.Disconnected, $"cannot start {PacketText.Brief(Encoding.UTF8.GetBytes(command[0]))}: {e.Message}", e);
        }

        _process.ErrorDataReceived += (_, line) => KeepError(line.Data);
        _process.BeginErrorReadLine();
        _pumping = PumpAsync();
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

    /// <exception cref="IOException">The program ended; the message has the end of what it wrote to standard error.</exception>
    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        var result = await _arrived.Reader.ReadAsync(cancellationToken).ConfigureAwait(false);
        var piece = result.Buffer.IsEmpty ? default : result.Buffer.First;
        var count = Math.Min(piece.Length, buffer.Length);
        piece[..count].CopyTo(buffer);
        _arrived.Reader.AdvanceTo(result.Buffer.GetPosition(count));
        return count > 0 || buffer.IsEmpty ? count : throw await EndingAsync(null).ConfigureAwait(false);
    }

    public override async ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(Volatile.Read(ref _disposed) != 0, this);
        try
        {
            var input = _process.StandardInput.BaseStream;
            await input.WriteAsync(buffer, cancellationToken).ConfigureAwait(false);
            await input.FlushAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (IOException e)
        {
            throw await EndingAsync(e).ConfigureAwait(false);
        }
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Flush()
    {
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing && Interlocked.Exchange(ref _disposed, 1) == 0)
        {
            _ = EndAsync();
        }

        base.Dispose(disposing);
    }

    /// <summary>The pump ends with the program's output; a reader that waits is released by that.</summary>
    private async Task PumpAsync()
    {
        try
        {
            await _process.StandardOutput.BaseStream.CopyToAsync(_arrived.Writer).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // The same to a reader as the end of the output.
        }

        await _arrived.Writer.CompleteAsync().ConfigureAwait(false);
    }

    private async Task EndAsync()
    {
        try
        {
            _process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended with some of its input unread.
        }

        try
        {
            await _process.WaitForExitAsync().WaitAsync(s_grace).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            _process.Kill(entireProcessTree: true);
        }

        // A child that inherited the pipe may keep it open longer than the program lives: closing it here ends the pump.
        _process.StandardOutput.Close();
        await _pumping.ConfigureAwait(false);
        _process.Dispose();
    }

    private void KeepError(string? line)
    {
        lock (_errors)
        {
            _errors.AppendLine(line);
            _errors.Remove(0, Math.Max(0, _errors.Length - MaxErrorText));
        }
    }

    private async Task<IOException> EndingAsync(Exception? inner)
    {
        try
        {
            // Its last words come with its end, a moment after its output has closed.
            await _process.WaitForExitAsync().WaitAsync(s_grace).ConfigureAwait(false);
        }
        catch (Exception e) when (e is TimeoutException or InvalidOperationException)
        {
            // It closed its output and lives on, or the stream was disposed meanwhile.
        }

        lock (_errors)
        {
            var said = PacketText.Escape(Encoding.UTF8.GetBytes(_errors.ToString().Trim()));
            return new IOException($"the program ended{(said.Length > 0 ? $", having said: {said}" : "")}", inner);
        }
    }
}
