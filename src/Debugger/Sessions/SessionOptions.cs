using KTrace.Debugger.Phases;

namespace KTrace.Debugger.Sessions;

/// <summary>What a session may be told.</summary>
public sealed record SessionOptions
{
    /// <summary>Takes news while the guest runs; null: nobody does.</summary>
    public ISessionProgress? Progress { get; init; }

    /// <summary>The code that runs before the kernel, for names: setup code and decompressor.</summary>
    public BootCode BootCode { get; init; } = BootCode.None;

    /// <summary>Says why the machine ended (QMP knows), for whoever started it; a null answer means that it was powered off.</summary>
    public Func<Task<string?>>? EndReason { get; init; }
}
