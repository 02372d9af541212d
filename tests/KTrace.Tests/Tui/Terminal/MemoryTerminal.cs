using System.Threading.Channels;
using KTrace.Tui.State;
using KTrace.Tui.Terminal;

namespace KTrace.Tests.Tui.Terminal;

/// <summary>A terminal without one: input is what a test says, and frames go to a delegate on the loop's own thread.</summary>
internal sealed class MemoryTerminal(TerminalSize size, TerminalLooks looks) : ITerminal
{
    private readonly Channel<InputEvent> _input = Channel.CreateUnbounded<InputEvent>(new UnboundedChannelOptions { SingleReader = true, AllowSynchronousContinuations = true });

    public delegate void FrameTaken(ReadOnlySpan<byte> frame);

    public TerminalSize Size { get; } = size;

    public TerminalLooks Looks { get; } = looks;

    public ChannelReader<InputEvent> Input => _input.Reader;

    public FrameTaken? OnFrame { get; set; }

    public int Suspensions { get; private set; }

    public bool IsDisposed { get; private set; }

    public void Send(InputEvent input) => _input.Writer.TryWrite(input);

    public void Type(char character) => Send(InputEvent.Key.Of(character));

    public void Close()
    {
        Send(new InputEvent.Closed());
        _input.Writer.TryComplete();
    }

    public void Write(ReadOnlySpan<byte> frame) => OnFrame?.Invoke(frame);

    public void Suspend()
    {
        Suspensions++;
        Send(new InputEvent.Resumed());
    }

    public void Dispose() => IsDisposed = true;
}
