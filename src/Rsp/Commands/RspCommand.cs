// Requests write themselves and read their own replies. Framing, acknowledgements, error replies and order are the connection's and the
// client's business: a request sees only the payload of a reply that is neither empty nor an error.
namespace KTrace.Rsp.Commands;

public enum RspStatus
{
    /// <summary>Not answered, or not sent: the batch failed before it.</summary>
    None,

    /// <summary>The stub did what was asked.</summary>
    Ok,

    /// <summary>The stub answered `Enn` or `E.text`.</summary>
    Refused,

    /// <summary>The stub answered with an empty packet: it does not know the request.</summary>
    Unsupported,

    /// <summary>A resume: the target runs, its stop reply comes from <see cref="RspClient.WaitForStopAsync"/>.</summary>
    Running,
}

/// <summary>What became of one request of a batch.</summary>
/// <param name="Code">The number of an `Enn` reply, otherwise 0.</param>
/// <param name="Length">The bytes that the reply carried, for requests that fill a caller's buffer.</param>
public readonly record struct RspOutcome(RspStatus Status, int Code, int Length)
{
    public bool IsOk => Status == RspStatus.Ok;
}

/// <summary>Anything that goes to the stub as one packet.</summary>
public abstract record RspRequest
{
    /// <summary>Appends the payload.</summary>
    internal abstract void Write(PacketWriter packet);

    /// <summary>What a stub that does not know the request lacks, in words that go after "no"; null where the client knows another way.</summary>
    internal virtual string? Ability => null;

    /// <summary>Refuses requests that must never reach a stub that did not offer them.</summary>
    /// <exception cref="RspException">Unsupported.</exception>
    internal virtual void EnsureOffered(StubFeatures features)
    {
    }

    /// <summary>The error for a reply that is not of this request's form.</summary>
    private protected RspException Malformed(ReadOnlySpan<byte> reply)
    {
        var packet = new PacketWriter();
        packet.BeginPacket();
        Write(packet);
        packet.EndPacket();
        return new RspException(RspErrorKind.Protocol, $"the reply to {PacketText.Brief(packet.Payload(0))} is malformed: {PacketText.Brief(reply)}");
    }
}

/// <summary>A request that may be part of a batch; its reply goes into a caller's buffer, or is only OK.</summary>
public abstract record RspCommand : RspRequest
{
    /// <summary>Whether the target runs after it. There is no reply until the target stops.</summary>
    public virtual bool Resumes => false;

    /// <summary>Whether everything stays as it is: the target, and what later requests mean.</summary>
    internal virtual bool OnlyReads => false;

    /// <summary>Takes the reply; the result is how many bytes it filled into the caller's buffer.</summary>
    /// <exception cref="RspException">Protocol: the reply is malformed.</exception>
    internal virtual int Read(ReadOnlySpan<byte> reply) => reply.SequenceEqual("OK"u8) ? 0 : throw Malformed(reply);
}

/// <summary>A request with an answer of its own type, sent alone.</summary>
public abstract record RspQuery<TReply> : RspRequest
{
    /// <exception cref="RspException">Protocol: the reply is malformed.</exception>
    internal abstract TReply Read(ReadOnlySpan<byte> reply);
}
