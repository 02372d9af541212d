using KTrace.Debugger;
using KTrace.Debugger.Sessions;
using KTrace.Symbols.Values.Expressions;
using KTrace.Tui.Views;

namespace KTrace.Tui.Commands;

/// <summary>Does what a command asks, and writes the answer. One command at a time.</summary>
public sealed class CommandExecutor
{
    private readonly CommandContext _context;
    private readonly BreakpointCommands _breakpoints;
    private readonly RunCommands _run;
    private readonly FrameCommands _frames;
    private readonly MemoryCommands _memory;
    private readonly DisplayCommands _displays;
    private readonly InfoCommands _info;

    public CommandExecutor(DebugSession session, ICommandOutput output, SourceTree sources)
    {
        _context = new CommandContext(session, output, sources);
        _breakpoints = new BreakpointCommands(_context);
        _frames = new FrameCommands(_context);
        _memory = new MemoryCommands(_context);
        _displays = new DisplayCommands(_context, _frames, _memory);
        _run = new RunCommands(_context, _displays);
        _info = new InfoCommands(_context, _frames, _displays);
    }

    /// <summary>True when the session is over by this command: detached, or to be quit.</summary>
    public bool IsOver { get; private set; }

    /// <summary>Index of the chosen frame in the call path.</summary>
    public int Frame => _context.Frame;

    /// <summary>Chooses a frame without showing it.</summary>
    /// <exception cref="TargetException">There is no such frame.</exception>
    public ValueTask SelectFrameAsync(int frame, CancellationToken cancellationToken) => _context.SelectFrameAsync(frame, isMove: false, cancellationToken);

    /// <summary>A number, a function's name or an expression as the address that it means.</summary>
    /// <exception cref="TargetException">It means none.</exception>
    public ValueTask<ulong> AddressAsync(string text, CancellationToken cancellationToken) => _memory.AddressAsync(text, cancellationToken);

    /// <summary>A place as it is meant where the chosen frame stands.</summary>
    public ValueTask<string> PlaceAsync(string text, CancellationToken cancellationToken) => _context.PlaceAsync(text, cancellationToken);

    /// <summary>Where the machine stands, as after every stop.</summary>
    public ValueTask ShowStopAsync(CancellationToken cancellationToken) => _run.ShowAsync(cancellationToken);

    /// <exception cref="TargetException">It cannot be done; the message says why, and what can.</exception>
    /// <exception cref="Rsp.RspException">The stub refuses, or the connection broke.</exception>
    public async ValueTask ExecuteAsync(DebuggerCommand command, CancellationToken cancellationToken)
    {
        try
        {
            await DispatchAsync(command, cancellationToken);
        }
        catch (ExpressionSyntaxException e)
        {
            throw new TargetException(e.Message, null);
        }
    }

    private async ValueTask DispatchAsync(DebuggerCommand command, CancellationToken cancellationToken)
    {
        switch (command)
        {
            case DebuggerCommand.Break or DebuggerCommand.Watch or DebuggerCommand.Delete or DebuggerCommand.Enable or DebuggerCommand.Condition or DebuggerCommand.Ignore:
                await _breakpoints.ExecuteAsync(command, cancellationToken);
                break;
            case DebuggerCommand.Continue or DebuggerCommand.Step or DebuggerCommand.Finish or DebuggerCommand.Until or DebuggerCommand.Advance or DebuggerCommand.Reverse:
                await _run.ExecuteAsync(command, cancellationToken);
                break;
            case DebuggerCommand.Backtrace or DebuggerCommand.Frame or DebuggerCommand.SelectCpu or DebuggerCommand.Print or DebuggerCommand.List or DebuggerCommand.Type:
                await _frames.ExecuteAsync(command, cancellationToken);
                break;
            case DebuggerCommand.Set or DebuggerCommand.Examine or DebuggerCommand.Disassemble:
                await _memory.ExecuteAsync(command, cancellationToken);
                break;
            case DebuggerCommand.Display or DebuggerCommand.Undisplay:
                await _displays.ExecuteAsync(command, cancellationToken);
                break;
            case DebuggerCommand.Info info:
                await _info.ExecuteAsync(info, cancellationToken);
                break;
            case DebuggerCommand.Monitor { Text: var text }:
                var (answer, _) = await _context.Session.Machine.Client.MonitorAsync(text, cancellationToken);
                _context.Output.Write(new LinesView([.. answer.ReplaceLineEndings("\n").TrimEnd('\n').Split('\n').Select(l => new TextLine().Add(l))]));
                break;
            case DebuggerCommand.Send { Text: var line }:
                await _context.Output.SendToConsoleAsync(line + "\n", cancellationToken);
                break;
            case DebuggerCommand.Detach:
                await _context.Session.DetachAsync(cancellationToken);
                _context.Say("detached: the guest runs on");
                IsOver = true;
                break;
            case DebuggerCommand.Quit:
                IsOver = true;
                break;
            case DebuggerCommand.Help { Topic: var topic }:
                _context.Output.Write(new CommandHelpView(topic));
                break;
        }
    }
}
