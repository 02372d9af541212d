using KTrace.Boot;
using KTrace.Boot.Qemu;
using KTrace.Debugger;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Modules;
using KTrace.Debugger.Sessions;
using KTrace.Rsp;
using KTrace.Tracing;
using KTrace.Tui.Commands;
using KTrace.Tui.Views;

namespace KTrace.Cli.Sessions;

/// <summary>
/// Reads commands and writes answers, one after the other. On a terminal there is a prompt, an empty line repeats the last command, and Ctrl-C stops the guest; from a pipe every
/// line is a command, and one that failed makes the exit code 2. Guest output stands between answers, each line behind a bar.
/// </summary>
internal sealed class Prompt : ICommandOutput, ISessionProgress, IDisposable
{
    private const string Text = "(ktrace) ";

    private readonly PromptSettings _settings;
    private readonly GuestConsole? _console;
    private readonly ViewOutput _output = ViewOutput.For(Console.Out);
    private readonly Lock _lock = new();
    private readonly bool _isInteractive;

    /// <param name="console">The guest's, where there is one.</param>
    public Prompt(PromptSettings settings, GuestConsole? console)
    {
        (_settings, _console) = (settings, console);
        _isInteractive = !settings.IsBatch && !Console.IsInputRedirected && !Console.IsOutputRedirected;
        if (console is not null)
        {
            _ = ShowConsoleAsync(console);
        }
    }

    /// <returns>The exit code.</returns>
    public async Task<int> RunAsync(DebugSession session, SourceTree sources, CancellationToken cancellationToken)
    {
        Signals.OnInterrupt = () => _ = InterruptAsync(session);
        var executor = new CommandExecutor(session, this, sources);
        var failed = false;
        await executor.ShowStopAsync(cancellationToken);
        foreach (var line in _settings.Commands)
        {
            Echo(line);
            failed |= !await TryAsync(executor, line, cancellationToken);
            if (executor.IsOver || session.LastStop is SessionStop.Ended)
            {
                return ExitCode(failed);
            }
        }

        var last = "";
        while (!_settings.IsBatch && !executor.IsOver && session.LastStop is not SessionStop.Ended)
        {
            if (_isInteractive)
            {
                Console.Out.Write(Text);
            }

            if (await Task.Run(Console.In.ReadLine, cancellationToken) is not { } line)
            {
                break;
            }

            line = line.Trim();
            if (!_isInteractive)
            {
                Echo(line);
            }

            last = line.Length == 0 && _isInteractive ? last : line;
            failed |= !await TryAsync(executor, last, cancellationToken);
        }

        return ExitCode(failed);
    }

    public void Write(View view)
    {
        lock (_lock)
        {
            _output.Write(view);
            Console.Out.Flush();
        }
    }

    /// <exception cref="TargetException">The guest's console is not ours.</exception>
    public async ValueTask SendToConsoleAsync(string text, CancellationToken cancellationToken) =>
        await (_console ?? throw new TargetException("the guest's console is not connected to ktrace", "type where its QEMU runs")).WriteAsync(text, cancellationToken);

    public void Identified(ulong slide) => Say(slide == 0 ? "kernel identified by its build id, no KASLR" : $"kernel identified by its build id, KASLR slide 0x{slide:x}", false);

    public void Module(ModuleEvent happened)
    {
        switch (happened)
        {
            case ModuleEvent.Loading { Loaded.Module: var module }:
                Say($"module {module.Name} is being loaded at 0x{module.TextBase:x}", false);
                break;
            case ModuleEvent.Unloaded { Module.Name: var name }:
                Say($"module {name} was unloaded", false);
                break;
            case ModuleEvent.Unreadable:
                Say("a module was loaded and could not be read; its frames have no names", true);
                break;
        }
    }

    public void Hit(Breakpoint at, TraceRecord.Hit hit) => Write(new LinesView(
        [new TextLine().Add($"hit {hit.Sequence}", TextRole.Heading).Add($"  {at.Text}  cpu {hit.Cpu}  {hit.Task}  ").Add(string.Join(" ← ", hit.Path.Frames.Take(6).Select(f => f.Function)), TextRole.Function)]));

    public void Note(string text, bool isWarning) => Say(text, isWarning);

    public void Dispose() => Signals.OnInterrupt = null;

    private static async Task InterruptAsync(DebugSession session)
    {
        try
        {
            await session.InterruptAsync();
        }
        catch (RspException)
        {
            // Whoever waits for the stop is told.
        }
    }

    private int ExitCode(bool failed) => failed && !_isInteractive ? CommandRunner.Error : CommandRunner.Success;

    /// <summary>A command that cannot be done is told, and the next may come; a lost connection ends the session.</summary>
    private static async ValueTask<bool> TryAsync(CommandExecutor executor, string line, CancellationToken cancellationToken)
    {
        try
        {
            await executor.ExecuteAsync(CommandParser.Parse(line), cancellationToken);
            return true;
        }
        catch (CommandSyntaxException e)
        {
            CommandRunner.Fail(e.Message, e.Remedy);
        }
        catch (TargetException e)
        {
            CommandRunner.Fail(e.Message, e.Remedy);
        }
        catch (BootException e)
        {
            CommandRunner.Fail(e.Message, e.Remedy);
        }
        catch (RspException e) when (e.Kind is RspErrorKind.ErrorReply or RspErrorKind.Unsupported or RspErrorKind.WrongState)
        {
            CommandRunner.Fail(e.Message);
        }

        return false;
    }

    /// <summary>Where nobody typed it, the command stands above its answer.</summary>
    private void Echo(string line)
    {
        if (line.Length > 0)
        {
            Say(Text + line, false);
        }
    }

    private void Say(string text, bool isWarning) => Write(new LinesView([new TextLine().Add(isWarning ? "warning: " + text : text, isWarning ? TextRole.Warning : TextRole.Plain)]));

    private async Task ShowConsoleAsync(GuestConsole console)
    {
        // Pieces that are not fetched would be forgotten one by one; fetched they are in any case.
        await foreach (var piece in console.Output.ReadAllAsync())
        {
            if (_settings.ShowConsole && piece.Text.Length > 0)
            {
                Write(new LinesView([new TextLine().Add("| ", TextRole.Source).Add(piece.Text)]));
            }
        }
    }
}
