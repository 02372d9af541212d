// GDB Remote Serial Protocol, "qSupported": `name+`, `name-`, `name?` or `name=value`, separated by semicolons. A stub that knows no
// qSupported answers with an empty packet; then the defaults of the protocol's older days hold.
using System.Collections.Frozen;
using System.Text;

namespace KTrace.Rsp;

/// <summary>What the stub offered in the handshake. Nothing that is not offered is used.</summary>
public sealed record StubFeatures
{
    /// <summary>What a stub without qSupported has. 400 is the packet size that gdb assumes then.</summary>
    public static StubFeatures Minimal { get; } = new();

    /// <summary>As the stub wrote it: name → `+`, `-`, `?` or the value.</summary>
    public FrozenDictionary<string, string> Raw { get; private init; } = FrozenDictionary<string, string>.Empty;

    /// <summary>The longest packet that the stub takes or sends, in bytes of payload.</summary>
    public int PacketSize { get; private init; } = 400;

    /// <summary>How many bytes one `m` may read: two digits each must fit into the reply. QEMU refuses more (E22).</summary>
    public int MaxMemoryRead => PacketSize / 2;

    /// <summary>How many bytes one `M` may write, after the longest `M`, address and length; QEMU's buffer holds a byte less than it says.</summary>
    public int MaxMemoryWrite => (PacketSize - 29) / 2;

    public bool NoAckMode => Has("QStartNoAckMode");

    public bool TargetXml => Has("qXfer:features:read");

    public bool Multiprocess => Has("multiprocess");

    public bool ReverseStep => Has("ReverseStep");

    public bool ReverseContinue => Has("ReverseContinue");

    /// <summary>Whether the stub has a mode in which threads stop one by one. The client asks it to stay out of it.</summary>
    public bool NonStop => Has("QNonStop");

    /// <summary>Whether threads come in one document, with names and cores.</summary>
    public bool ThreadDocument => Has("qXfer:threads:read");

    public bool MemoryMap => Has("qXfer:memory-map:read");

    /// <summary>Whether `x` may be used for reading, with the reply that gdb 16 defined.</summary>
    public bool BinaryUpload => Has("binary-upload");

    /// <summary>What vCont takes (c, C, s, S, t, r); empty without vCont.</summary>
    public IReadOnlyList<string> VContActions { get; init; } = [];

    /// <summary>Whether vCont is there with the actions that this client uses.</summary>
    public bool VCont => VContActions.Contains("c") && VContActions.Contains("s");

    /// <exception cref="RspException">Protocol: PacketSize is no number or too small to be used.</exception>
    public static StubFeatures Parse(ReadOnlySpan<byte> reply)
    {
        var raw = new Dictionary<string, string>();
        foreach (var part in Encoding.Latin1.GetString(reply).Split(';', StringSplitOptions.RemoveEmptyEntries))
        {
            var equals = part.IndexOf('=', StringComparison.Ordinal);
            if (equals >= 0)
            {
                raw[part[..equals]] = part[(equals + 1)..];
            }
            else if (part[^1] is '+' or '-' or '?')
            {
                raw[part[..^1]] = part[^1..];
            }
        }

        var features = new StubFeatures { Raw = raw.ToFrozenDictionary() };
        if (!raw.TryGetValue("PacketSize", out var size))
        {
            return features;
        }

        // 64 bytes is less than any request of this client needs; 16 MiB more than any stub is known to offer.
        return HexText.TryParse(Encoding.Latin1.GetBytes(size), out var value) && value is >= 64 and <= 1 << 24
            ? features with { PacketSize = (int)value }
            : throw new RspException(RspErrorKind.Protocol, $"qSupported names the packet size {PacketText.Brief(Encoding.Latin1.GetBytes(size))}");
    }

    public bool Has(string feature) => Raw.TryGetValue(feature, out var value) && value == "+";

    internal static void Require(bool offered, string what)
    {
        if (!offered)
        {
            throw new RspException(RspErrorKind.Unsupported, $"the stub does not offer {what}; it is not sent");
        }
    }
}
