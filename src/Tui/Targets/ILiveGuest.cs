using KTrace.Debugger.Sessions;
using KTrace.Tracing;

namespace KTrace.Tui.Targets;

/// <summary>A machine that is started here or attached to. Made where QEMU and debugger meet; disposing ends a guest that was started here, and lets another one run on.</summary>
public interface ILiveGuest : IAsyncDisposable
{
    /// <summary>What is known before it runs.</summary>
    TargetAbilities Abilities { get; }

    /// <summary>Brings it to where its first stop can be shown. May take minutes: a kernel is fetched, an initramfs built, a guest boots.</summary>
    /// <exception cref="Debugger.TargetException">It cannot be debugged; the message says why, and what would help.</exception>
    /// <exception cref="Rsp.RspException">Its stub is broken, or nobody listens.</exception>
    /// <exception cref="OperationCanceledException">Somebody gave it up.</exception>
    Task<DebugSession> StartAsync(ILiveNews news, CancellationToken cancellationToken);

    /// <summary>What a trace of the session says of it. After <see cref="StartAsync"/>.</summary>
    Task<TraceRecord.Header> HeaderAsync(CancellationToken cancellationToken);

    /// <summary>Why there is no machine any more, in words, after its stub or its process was lost.</summary>
    Task<string> EndedAsync(Exception? cause);

    /// <summary>An exception of <see cref="StartAsync"/> that this kind of guest declares besides, as message and remedy; null: it is none.</summary>
    (string Message, string? Remedy)? Explain(Exception exception);
}

/// <summary>News of a guest while it comes up and runs. Called from any thread: return quickly.</summary>
public interface ILiveNews : ISessionProgress
{
    /// <param name="fraction">From 0 to 1; null where nobody knows.</param>
    void Working(string text, double? fraction);

    /// <summary>Its machine runs.</summary>
    /// <param name="line">Its serial line, or null where that is somebody else's.</param>
    /// <param name="gone">Ends when the machine has.</param>
    void Connected(IGuestLine? line, Task gone);
}

/// <summary>The guest's serial line.</summary>
public interface IGuestLine
{
    /// <summary>What the guest writes, as it comes; ends with the guest. For one reader.</summary>
    IAsyncEnumerable<string> ReadAsync(CancellationToken cancellationToken);

    /// <exception cref="Debugger.TargetException">It is closed.</exception>
    ValueTask TypeAsync(string text, CancellationToken cancellationToken);
}
