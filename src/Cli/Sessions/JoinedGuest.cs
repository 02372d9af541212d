using System.Globalization;
using KTrace.Boot;
using KTrace.Debugger;
using KTrace.Debugger.Phases;
using KTrace.Debugger.Sessions;
using KTrace.Rsp;
using KTrace.Tracing;
using KTrace.Tui.Targets;

namespace KTrace.Cli.Sessions;

/// <summary>Somebody else's guest for the terminal UI: it runs on when the screen goes.</summary>
internal sealed class JoinedGuest(RspEndpoint endpoint, AttachFiles files, IReadOnlyList<string> buildTrees, RspTranscript? transcript) : ILiveGuest
{
    private AttachedGuest? _guest;
    private DebugSession? _session;

    public TargetAbilities Abilities { get; } = new(endpoint.ToString(), "attach:" + endpoint, IsLive: true);

    public async Task<DebugSession> StartAsync(ILiveNews news, CancellationToken cancellationToken)
    {
        news.Working($"attaching to {endpoint}", null);
        _guest = await AttachedGuest.AttachAsync(endpoint, files, new RspClientOptions { Transcript = transcript }, NoTargetProgress.Instance, text => news.Note(text, false), cancellationToken);
        var options = new SessionOptions { Progress = news, BootCode = BootCode.Open(null, buildTrees) };
        return _session = await DebugSession.StartAsync(_guest.Target, _guest.Modules, options, cancellationToken);
    }

    public Task<TraceRecord.Header> HeaderAsync(CancellationToken cancellationToken) => Task.FromResult(
        BootHeader.Of(_guest!.Target.Map.Image, new Dictionary<string, object?> { ["attached"] = endpoint.ToString() }) with { Slide = _guest.Target.Map.Slide });

    public Task<string> EndedAsync(Exception? cause) => Task.FromResult("the connection was lost" + (cause is null ? "" : string.Create(CultureInfo.InvariantCulture, $": {cause.Message}")));

    public (string Message, string? Remedy)? Explain(Exception exception) => exception switch
    {
        BootException e => (e.Message, e.Remedy),
        TargetException e => (e.Message, e.Remedy),
        RspException e => (e.Message, "QEMU's -s listens at tcp:localhost:1234"),
        Symbols.MalformedFileException e => (e.Message, null),
        IOException e => (e.Message, null),
        _ => null,
    };

    public async ValueTask DisposeAsync()
    {
        if (_guest is not null)
        {
            // It leaves before anything of the session is given up.
            await _guest.DisposeAsync();
        }

        if (_session is not null)
        {
            await _session.DisposeAsync();
        }
    }

    /// <summary>What was found is in the screen's own news.</summary>
    private sealed class NoTargetProgress : ITargetProgress
    {
        public static NoTargetProgress Instance { get; } = new();

        public void Identified(ulong slide)
        {
        }
    }
}
