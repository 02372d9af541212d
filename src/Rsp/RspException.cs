namespace KTrace.Rsp;

/// <summary>What kind of trouble an <see cref="RspException"/> reports.</summary>
public enum RspErrorKind
{
    /// <summary>The stub sent something the protocol does not allow. The connection is broken by it.</summary>
    Protocol,

    /// <summary>The stub answered `Enn` or `E.text`: it understood and refused. The connection lives on.</summary>
    ErrorReply,

    /// <summary>The stub answered with an empty packet, or never offered the feature. Nothing harmful was sent; the connection lives on.</summary>
    Unsupported,

    /// <summary>The stub closed the connection, or it could not be opened. The connection is broken by it.</summary>
    Disconnected,

    /// <summary>The stub was silent for too long. The connection is broken by it: a late reply could not be told from the next one.</summary>
    Timeout,

    /// <summary>The connection broke before this call; the inner exception is the reason.</summary>
    Broken,

    /// <summary>The call does not fit the client's state, such as a memory read while the target runs. Nothing was sent.</summary>
    WrongState,
}

/// <summary>
/// Everything that goes wrong between this client and a stub. Messages name the packet in question with control characters
/// made visible and at a bounded length, so that they can be shown as they are.
/// </summary>
public sealed class RspException : Exception
{
    public RspException(RspErrorKind kind, string message, Exception? inner = null)
        : base(message, inner) => Kind = kind;

    public RspErrorKind Kind { get; }

    /// <summary>The number of an `Enn` reply (0 to 255; an errno for most stubs), or null for `E.text` and all other kinds.</summary>
    public int? ErrorCode { get; init; }

    /// <summary>The text of an `E.text` reply, control characters made visible.</summary>
    public string? ErrorText { get; init; }
}
