namespace KTrace.Rsp;

/// <summary>How patient and how generous the client is.</summary>
public sealed record RspClientOptions
{
    /// <summary>How long the stub may take for one reply.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>How long a monitor command may be silent: some, such as savevm, take long.</summary>
    public TimeSpan MonitorTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long an interrupted target may take to report its stop, before the client asks by other means.</summary>
    public TimeSpan InterruptTimeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>
    /// How long a read may block its thread before it goes on asynchronously; only over sockets. A few milliseconds make a hot
    /// tracepoint cost a fraction of the CPU time; zero never blocks.
    /// </summary>
    public TimeSpan AttentiveWait { get; init; } = TimeSpan.FromMilliseconds(5);

    /// <summary>The longest packet to take from the stub, in bytes of payload.</summary>
    public int MaxPacketBytes { get; init; } = 1 << 20;

    /// <summary>How much output of one monitor command is kept, in bytes.</summary>
    public int MaxMonitorOutput { get; init; } = 4 << 20;

    /// <summary>How often a request is sent again, or a reply asked for again, when its checksum was wrong.</summary>
    public int MaxResends { get; init; } = 3;

    /// <summary>How many stop replies nobody asked for are dropped while one reply is awaited.</summary>
    public int MaxStrayStopReplies { get; init; } = 4;

    /// <summary>Where every packet is written, or null.</summary>
    public RspTranscript? Transcript { get; init; }

    /// <summary>Takes what the running target writes to the debugger's console (`O` packets), or null to drop it.</summary>
    public Action<string>? ConsoleOutput { get; init; }

    /// <summary>The stub's kind where the caller knows better than detection.</summary>
    public StubProfile? Profile { get; init; }
}
