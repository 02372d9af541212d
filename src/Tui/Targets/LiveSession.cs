// A session as the screen sees it: at every stop why and where first, what hangs on it afterwards, each piece only while nothing newer is asked for.
using System.Collections.Immutable;
using KTrace.Debugger;
using KTrace.Debugger.Breakpoints;
using KTrace.Debugger.Phases;
using KTrace.Debugger.Sessions;
using KTrace.Symbols.Kernel;
using KTrace.Tracing;
using KTrace.Tui.Commands;
using KTrace.Tui.Views;

namespace KTrace.Tui.Targets;

/// <summary>Does what is asked of a machine that stands, and tells where it stands. One caller at a time.</summary>
internal sealed class LiveSession
{
    private const int MaximumMemory = 64 << 10;

    private readonly NewsQueue _news;
    private readonly SessionTimeline _timeline;
    private readonly Func<bool> _isOvertaken;
    private readonly RegisterRows _registers = new();
    private readonly LiveInspection _inspection;
    private readonly LiveCompletion _completion;
    private ImmutableArray<KernelModule> _modules;
    private IReadOnlyList<string> _watches = [];
    private TraceRecord.Hit? _path;
    private long _stop;
    private int _frame;

    /// <param name="isOvertaken">Something that lets the machine run is asked for already: details of this stop are not worth their time.</param>
    public LiveSession(DebugSession session, CapturedOutput output, SourceTree sources, SessionTimeline timeline, NewsQueue news, Func<bool> isOvertaken)
    {
        (Session, Output, _timeline, _news, _isOvertaken) = (session, output, timeline, news, isOvertaken);
        _inspection = new LiveInspection(session) { Sources = sources };
        _completion = new LiveCompletion(session);
        Executor = new CommandExecutor(session, output, sources);
    }

    public DebugSession Session { get; }

    public CommandExecutor Executor { get; private set; }

    public CapturedOutput Output { get; }

    /// <summary>Tells of a stop: what it is at once, then the innermost frame, watches, breakpoints and modules.</summary>
    /// <param name="isNew">The machine has run; otherwise another CPU is looked at, or something was changed.</param>
    public async ValueTask ShowStopAsync(bool isNew, CancellationToken cancellationToken)
    {
        var stopped = (SessionStop.Stopped)Session.LastStop;
        _path = null;
        _frame = 0;
        string phase;
        try
        {
            phase = (await Session.LocateAsync(cancellationToken)).Words;
            _path = await IsInKernelAsync(stopped, cancellationToken) ? await Session.CallPathAsync(cancellationToken) : null;
        }
        catch (TargetException e)
        {
            phase = e.Message;
        }

        long? hit = null;
        if (isNew && stopped.Cause is StopCause.AtBreakpoint { Breakpoints: var reached } && _path is not null)
        {
            hit = _timeline.Add(reached[0], _path);
        }

        _timeline.Flush();
        _stop += isNew ? 1 : 0;
        var pc = await Session.Machine.LinearPcAsync(Session.Cpu, cancellationToken);
        var registers = _registers.Of(Session.Cpu, await Session.Machine.RegisterBlockAsync(Session.Cpu, cancellationToken), Session.Map);
        ImmutableArray<Debugger.Cpus.CpuState> cpus = [.. await Session.CpusAsync(cancellationToken)];
        _news.Send(new TargetNews.Stopped(new StopSnapshot(
            Cause(stopped.Cause), phase, Session.Cpu, pc, _path, cpus, registers, isNew ? await ResultAsync(stopped.Cause, cancellationToken) : null) { Number = _stop, Hit = hit }));
        await ShowDetailsAsync(pc, cancellationToken);
    }

    /// <summary>Breakpoints as they are now.</summary>
    public void ShowBreakpoints() => _news.Send(new TargetNews.Breakpoints(LiveBreakpoints.Rows(Session)));

    /// <summary>Anything but what lets the machine run.</summary>
    public async ValueTask DoAsync(TargetRequest request, CancellationToken cancellationToken)
    {
        switch (request)
        {
            case TargetRequest.SelectCpu { Cpu: var cpu }:
                await Session.SelectCpuAsync(cpu, cancellationToken);
                await ShowStopAsync(false, cancellationToken);
                break;
            case TargetRequest.SelectFrame { Frame: var frame }:
                await Executor.SelectFrameAsync(frame, cancellationToken);
                await ShowFrameAsync(frame, cancellationToken);
                break;
            case TargetRequest.Command { Text: var line }:
                await CommandAsync(line, cancellationToken);
                break;
            case TargetRequest.ToggleBreakpoint or TargetRequest.EnableBreakpoint or TargetRequest.DeleteBreakpoint:
                await BreakpointAsync(request, cancellationToken);
                break;
            case TargetRequest.Watch { Expressions: var expressions }:
                _watches = expressions;
                await ShowWatchesAsync(cancellationToken);
                break;
            case TargetRequest.Expand { Expression: var expression }:
                _news.Send(await _inspection.ExpandAsync(expression, _frame, cancellationToken));
                break;
            case TargetRequest.Disassemble { Place: var place }:
                var at = await Executor.AddressAsync(place, cancellationToken);
                _news.Send(new TargetNews.Instructions(
                    await CodeListings.AtAsync(Session, _inspection.Sources, at, await Session.Machine.LinearPcAsync(Session.Cpu, cancellationToken), cancellationToken)
                    ?? throw new TargetException($"no memory at 0x{at:x}", null)));
                break;
            case TargetRequest.ReadMemory { Address: var text, Length: var length }:
                var address = await Executor.AddressAsync(text, cancellationToken);
                _news.Send(Named(new TargetNews.MemoryRead(address, await ReadAsync(address, Math.Clamp(length, 1, MaximumMemory), cancellationToken))));
                break;
            case TargetRequest.ReadInterrupts:
                _news.Send(new TargetNews.Interrupts(await Session.InterruptsAsync(cancellationToken)));
                break;
            case TargetRequest.Complete { Text: var typed, Cursor: var cursor }:
                _news.Send(await _completion.CompleteAsync(typed, cursor, _path, _frame, cancellationToken));
                break;
            case TargetRequest.UseSource { Folder: var folder }:
                if (!Directory.Exists(folder))
                {
                    throw new TargetException($"{folder}: there is no such folder", "give the top of a kernel source tree");
                }

                _inspection.Sources = new SourceTree(folder);
                Executor = new CommandExecutor(Session, Output, _inspection.Sources);
                await ShowStopAsync(false, cancellationToken);
                break;
            case TargetRequest.JumpToHit:
                throw new TargetException("the moment of a hit cannot be reached again in this session", "ktrace tui TRACE shows what was recorded; ktrace replay boots a scenario again");
        }
    }

    /// <summary>Sets what earlier sessions left: what cannot be set is told, and the rest is.</summary>
    /// <param name="disabled">Commands whose breakpoints are switched off again.</param>
    public async ValueTask RestoreAsync(IReadOnlyList<string> commands, IReadOnlyList<string> disabled, CancellationToken cancellationToken)
    {
        foreach (var line in commands)
        {
            try
            {
                if (CommandParser.Parse(line) is DebuggerCommand.Break or DebuggerCommand.Watch or DebuggerCommand.Enable or DebuggerCommand.Condition or DebuggerCommand.Ignore)
                {
                    var last = Session.Breakpoints.All.Select(b => b.Number).DefaultIfEmpty().Max();
                    await Executor.ExecuteAsync(CommandParser.Parse(line), cancellationToken);
                    foreach (var restored in disabled.Contains(line) ? Session.Breakpoints.All.Where(b => b.Number > last).ToList() : [])
                    {
                        await Session.Breakpoints.EnableAsync(restored, false, cancellationToken);
                    }
                }
            }
            catch (Exception e) when (Failures.Of(e) is { } failed)
            {
                _news.Send(new TargetNews.Note($"{line}: {failed.Message}", IsWarning: true));
            }
        }

        Output.Take();
        ShowBreakpoints();
    }

    private async ValueTask CommandAsync(string line, CancellationToken cancellationToken)
    {
        var (cpu, changes) = (Session.Cpu, Session.Machine.Client.Changes);
        var command = CommandParser.Parse(line);
        try
        {
            await Executor.ExecuteAsync(command, cancellationToken);
        }
        finally
        {
            _news.Send(new TargetNews.Output(line, Output.Take()));
        }

        if (command is DebuggerCommand.Break or DebuggerCommand.Watch or DebuggerCommand.Delete or DebuggerCommand.Enable or DebuggerCommand.Condition or DebuggerCommand.Ignore)
        {
            ShowBreakpoints();
        }

        if (cpu != Session.Cpu || command is DebuggerCommand.Set || (command is DebuggerCommand.Monitor && changes != Session.Machine.Client.Changes))
        {
            await ShowStopAsync(false, cancellationToken);
        }
        else if (command is DebuggerCommand.Frame && Executor.Frame != _frame)
        {
            await ShowFrameAsync(Executor.Frame, cancellationToken);
        }
    }

    private async ValueTask BreakpointAsync(TargetRequest request, CancellationToken cancellationToken)
    {
        switch (request)
        {
            case TargetRequest.ToggleBreakpoint { Place: var place }:
                await LiveBreakpoints.ToggleAsync(Session, Executor, place, cancellationToken);
                Output.Take();
                break;
            case TargetRequest.EnableBreakpoint { Number: var number, IsEnabled: var isEnabled }:
                await Session.Breakpoints.EnableAsync(LiveBreakpoints.Find(Session, number), isEnabled, cancellationToken);
                break;
            case TargetRequest.DeleteBreakpoint { Number: var number }:
                await Session.Breakpoints.DeleteAsync(LiveBreakpoints.Find(Session, number), cancellationToken);
                break;
        }

        ShowBreakpoints();
    }

    private async ValueTask ShowDetailsAsync(ulong pc, CancellationToken cancellationToken)
    {
        if (!_isOvertaken())
        {
            await ShowFrameAsync(0, cancellationToken, pc);
        }

        ShowBreakpoints();
        if (Session.Map is { } map && _modules != map.Modules)
        {
            _modules = map.Modules;
            _news.Send(new TargetNews.Modules([.. _modules.Select(m => new ModuleRow(m.Name, m.TextBase, m.Text.Sum(t => (long)(t.End - t.Start)), null, m.HasDwarf))]));
        }
    }

    private async ValueTask ShowFrameAsync(int frame, CancellationToken cancellationToken, ulong pc = 0)
    {
        _frame = frame;
        if (_path is not null && (uint)frame < (uint)_path.Path.Frames.Length)
        {
            _news.Send(new TargetNews.FrameContents(await _inspection.FrameAsync(_path, frame, _stop, cancellationToken)));
        }
        else
        {
            _news.Send(new TargetNews.FrameContents(await _inspection.WithoutKernelAsync(pc, cancellationToken)));
        }

        if (!_isOvertaken())
        {
            await ShowWatchesAsync(cancellationToken);
        }
    }

    private async ValueTask ShowWatchesAsync(CancellationToken cancellationToken) =>
        _news.Send(new TargetNews.Watched(await _inspection.WatchAsync(_watches, _frame, _stop, cancellationToken)));

    /// <summary>With the names of what its words point to.</summary>
    private TargetNews.MemoryRead Named(TargetNews.MemoryRead memory)
    {
        var size = Session.Machine.Architecture.WordSize;
        var names = ImmutableDictionary.CreateBuilder<int, string>();
        for (var at = 0; at + size <= memory.Bytes.Length; at += size)
        {
            ulong word = 0;
            var isWhole = true;
            for (var i = size - 1; i >= 0; i--)
            {
                (word, isWhole) = ((word << 8) | memory.Bytes[at + i].GetValueOrDefault(), isWhole && memory.Bytes[at + i] is not null);
            }

            if (isWhole && RegisterRows.NameOf(Session.Map, word) is { } name)
            {
                names.Add(at, name);
            }
        }

        return memory with { WordSize = size, Names = names.ToImmutable() };
    }

    private async ValueTask<ImmutableArray<byte?>> ReadAsync(ulong address, int length, CancellationToken cancellationToken)
    {
        var bytes = new byte[length];
        var read = await Session.Machine.Memory.ReadAsync(address, bytes, cancellationToken);
        var known = ImmutableArray.CreateBuilder<byte?>(length);
        foreach (var value in bytes)
        {
            known.Add(value);
        }

        foreach (var range in read.Unreadable)
        {
            var first = (long)(range.Address - address);
            for (var i = first; i < Math.Min(first + (long)range.Length, length); i++)
            {
                known[(int)i] = null;
            }
        }

        return known.MoveToImmutable();
    }

    /// <summary>As the line-mode debugger tells: the kernel's code, or a program whose kernel is up.</summary>
    private async ValueTask<bool> IsInKernelAsync(SessionStop.Stopped stopped, CancellationToken cancellationToken) => Session.Map is { } map
        && (map.Unwind.IsText(stopped.ProgramCounter) || (await Session.LocateAsync(cancellationToken)).Phase is BootPhase.Kernel or BootPhase.User);

    private async ValueTask<string?> ResultAsync(StopCause cause, CancellationToken cancellationToken) =>
        cause is StopCause.FunctionReturned { Value: { } value } ? $"{value.Type} {await Session.TextAsync(value, cancellationToken)}" : null;

    private static string Cause(StopCause cause) => cause is StopCause.AtBreakpoint { Breakpoints: var reached }
        ? string.Join("; ", reached.Select(b => $"{SessionStopView.Cause(new StopCause.AtBreakpoint([b]))}, {b.Text}"))
        : SessionStopView.Cause(cause);
}
