using System.Threading.Channels;
using KTrace.Tui.State;

namespace KTrace.Tui.Terminal;

/// <summary>A terminal in a program's hands: its bytes go out, what a person does comes in. Disposed, it is as it was before.</summary>
public interface ITerminal : IDisposable
{
    TerminalSize Size { get; }

    /// <summary>What is known at the start; what the terminal says later comes as <see cref="InputEvent.LooksLearned"/>.</summary>
    TerminalLooks Looks { get; }

    /// <summary>Completed after <see cref="InputEvent.Closed"/>. Continuations of its waits run on the thread that writes: they must be short.</summary>
    ChannelReader<InputEvent> Input { get; }

    /// <summary>Writes one frame. Waits while the terminal does not take it; one that is gone or in the background gets nothing, and that is no error.</summary>
    void Write(ReadOnlySpan<byte> frame);

    /// <summary>Gives the terminal back and stops this process, as Ctrl-Z does; <see cref="InputEvent.Resumed"/> comes when it goes on.</summary>
    void Suspend();
}
