using KTrace.Tracing;

namespace KTrace.Debugger;

/// <summary>A place in the kernel or a module, and where it is right now.</summary>
public sealed class Tracepoint(int id, TracepointRequest request, string symbol, string? module, ulong linkAddress, string? note)
{
    /// <summary>1-based; hits refer to it.</summary>
    public int Id { get; } = id;

    public TracepointRequest Request { get; } = request;

    /// <summary>The symbol that is armed; it may be the successor of the one that was asked for.</summary>
    public string Symbol { get; } = symbol;

    /// <summary>The module whose symbol it is (with underscores), or null for the kernel.</summary>
    public string? Module { get; } = module;

    /// <summary>In the kernel: the link-time address. Unused for modules.</summary>
    public ulong LinkAddress { get; } = linkAddress;

    /// <summary>What a person should know about it, or null.</summary>
    public string? Note { get; } = note;

    /// <summary>Run-time address of its breakpoint; null while it waits.</summary>
    public ulong? Address
    {
        get;
        internal set
        {
            field = value;
            WasArmed |= value is not null;
        }
    }

    /// <summary>It was armed at some time, and could have been hit.</summary>
    public bool WasArmed { get; private set; }

    /// <summary>Bytes past the symbol, 0 at a function's entry.</summary>
    public ulong Offset => Request.Symbol is null ? 0 : Request.Offset;

    public TraceTracepoint ToRecord() => new(
        Id, Request.Text, Symbol, Address is null ? TracepointState.Pending : TracepointState.Armed, Note, Address);
}
