// xz and zstd have no implementation in the framework: their programs do the work, streamed through pipes.
using System.Diagnostics;

namespace KTrace.Boot;

/// <summary>What a filter program makes of another stream. Synchronous reads work too. A filter that fails shows as <see
/// cref="InvalidDataException"/> at the end.</summary>
internal sealed class FilterStream : ReadOnlyStream
{
    private readonly Process process;
    private readonly Task feeder;
    private readonly Task<string> errors;
    private readonly string program;
    private readonly CancellationTokenSource stop = new();
    private bool finished;

    /// <exception cref="BootException">The program is missing.</exception>
    public FilterStream(string program, IEnumerable<string> arguments, Stream input)
    {
        this.program = program;
        process = Tool.Start(program, arguments);
        errors = Tool.ReadAsync(process.StandardError.BaseStream, 8 << 10, keepEnd: true);
        feeder = Task.Run(() => FeedAsync(input));
    }

    public override int Read(Span<byte> buffer)
    {
        var read = process.StandardOutput.BaseStream.Read(buffer);
        if (read == 0 && buffer.Length > 0)
        {
            FinishAsync().GetAwaiter().GetResult();
        }

        return read;
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var read = await process.StandardOutput.BaseStream.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
        if (read == 0 && buffer.Length > 0)
        {
            await FinishAsync().ConfigureAwait(false);
        }

        return read;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            stop.Cancel();
            Tool.End(process);
            process.WaitForExit();
            feeder.Wait();
            process.Dispose();
            stop.Dispose();
        }

        base.Dispose(disposing);
    }

    private async Task FeedAsync(Stream input)
    {
        try
        {
            await input.CopyToAsync(process.StandardInput.BaseStream, 256 << 10, stop.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or ObjectDisposedException)
        {
            // The filter has ended early: its exit code tells.
        }
        finally
        {
            try
            {
                process.StandardInput.Close();
            }
            catch (IOException)
            {
                // Closing flushes; the other end is gone.
            }
        }
    }

    private async Task FinishAsync()
    {
        if (finished)
        {
            return;
        }

        finished = true;
        await process.WaitForExitAsync().ConfigureAwait(false);
        if (process.ExitCode != 0)
        {
            throw new InvalidDataException($"{program}: {AptMessages.FirstError(await errors.ConfigureAwait(false))}");
        }
    }
}
