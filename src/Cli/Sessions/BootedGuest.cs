using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using KTrace.Boot;
using KTrace.Boot.Kernels;
using KTrace.Boot.Qemu;
using KTrace.Boot.Scenarios;
using KTrace.Debugger;
using KTrace.Debugger.Sessions;
using KTrace.Rsp;
using KTrace.Symbols;
using KTrace.Tracing;
using KTrace.Tui.Targets;

namespace KTrace.Cli.Sessions;

/// <summary>A scenario's guest for the terminal UI: started when the screen is up, and gone with it.</summary>
/// <param name="buildTrees">Folders with arch/x86/boot, for names in code that runs before the kernel.</param>
/// <param name="fromReset">Begin at the machine's first instruction, not where the kernel is known.</param>
/// <param name="transcript">Takes what goes over the wire, or null.</param>
internal sealed class BootedGuest(Scenario scenario, KernelStore store, IReadOnlyList<string> buildTrees, bool fromReset, RspTranscript? transcript) : ILiveGuest
{
    private LiveBoot? _boot;
    private Machine? _machine;
    private DebugSession? _session;
    private int? _jiffies;

    public TargetAbilities Abilities { get; } = new(scenario.Name, "scenario:" + scenario.Name, IsLive: true, EndsGuest: true);

    public async Task<DebugSession> StartAsync(ILiveNews news, CancellationToken cancellationToken)
    {
        _boot = await LiveBoot.PrepareAsync(scenario, store, new Preparation(news), cancellationToken);
        foreach (var lack in _boot.Image.Lacks)
        {
            news.Note($"{_boot.Image.File.Path}: {lack}", true);
        }

        news.Working("starting QEMU", null);
        await _boot.StartAsync(cancellationToken);
        news.Connected(new SerialLine(_boot.Qemu.Console), _boot.Qemu.Exited);
        _machine = await _boot.ConnectAsync(transcript, cancellationToken);
        var options = new SessionOptions { Progress = news, EndReason = _boot.EndInWordsAsync, BootCode = _boot.OpenBootCode(buildTrees) };
        if (fromReset)
        {
            return _session = await DebugSession.StartAsync(_machine, _boot.Image, _boot.Modules, options, cancellationToken);
        }

        news.Working("waiting for the kernel", null);
        var target = await _boot.IdentifyAsync(_machine, null, cancellationToken);
        _jiffies = await BootHeader.JiffiesPerSecondAsync(target, cancellationToken);
        return _session = await DebugSession.StartAsync(target, _boot.Modules, options, cancellationToken);
    }

    public async Task<TraceRecord.Header> HeaderAsync(CancellationToken cancellationToken) =>
        await BootHeader.OfAsync(_boot!.Prepared, _boot.Image, _boot.Qemu.Version, store, cancellationToken) with { JiffiesPerSecond = _jiffies };

    public async Task<string> EndedAsync(Exception? cause)
    {
        if (cause is RspException lost)
        {
            return (await _boot!.EndedAsync(lost, "the guest was being debugged", null)).Message;
        }

        var (words, code) = (await _boot!.EndInWordsAsync(), await _boot.Qemu.Exited);
        return words ?? (code == 0 ? "the guest powered off" : string.Create(CultureInfo.InvariantCulture, $"QEMU ended with exit code {code}"));
    }

    public (string Message, string? Remedy)? Explain(Exception exception) => exception switch
    {
        BootException e => (e.Message, e.Remedy),
        RspException e when _boot is not null => ("QEMU's gdb stub cannot be used: " + e.Message, null),
        TargetException e => (e.Message, e.Remedy),
        MalformedFileException e => (e.Message, null),
        IOException e => (e.Message, null),
        _ => null,
    };

    public async ValueTask DisposeAsync()
    {
        if (_session is not null)
        {
            await _session.DisposeAsync();
        }
        else if (_machine is not null)
        {
            await _machine.DisposeAsync();
        }

        if (_boot is not null)
        {
            await _boot.DisposeAsync();
        }
    }

    /// <summary>What a boot's preparation reports, as the screen shows progress.</summary>
    private sealed class Preparation(ILiveNews news) : IBootProgress
    {
        public void Report(BootProgress progress)
        {
            var amount = progress.Done == 0 ? "" : progress.Total is { } total ? $"  {BootProgressLine.Bytes(progress.Done)} of {BootProgressLine.Bytes(total)}" : "  " + BootProgressLine.Bytes(progress.Done);
            news.Working($"{progress.Phase}  {progress.Message}{amount}", progress is { Total: > 0 and { } whole } ? Math.Clamp((double)progress.Done / whole, 0, 1) : null);
        }
    }

    /// <summary>The console of the guest's QEMU.</summary>
    private sealed class SerialLine(GuestConsole console) : IGuestLine
    {
        private const int Together = 16 << 10;

        public async IAsyncEnumerable<string> ReadAsync([EnumeratorCancellation] CancellationToken cancellationToken)
        {
            var text = new StringBuilder();
            var forgotten = console.Forgotten;
            while (await console.Output.WaitToReadAsync(cancellationToken))
            {
                while (text.Length < Together && console.Output.TryRead(out var piece))
                {
                    text.Append(piece.Text);
                    if (piece.EndsLine)
                    {
                        text.Append('\n');
                    }
                }

                yield return text.ToString();
                text.Clear();
                if (console.Forgotten is var now && now > forgotten)
                {
                    yield return string.Create(CultureInfo.InvariantCulture, $"\n[{now - forgotten} bytes left out]\n");
                    forgotten = now;
                }
            }
        }

        public async ValueTask TypeAsync(string text, CancellationToken cancellationToken)
        {
            try
            {
                await console.WriteAsync(text, cancellationToken);
            }
            catch (BootException e)
            {
                throw new TargetException(e.Message, e.Remedy);
            }
        }
    }
}
