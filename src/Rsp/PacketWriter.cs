// GDB Remote Serial Protocol, "Overview". Requests are never run-length encoded (stubs need not understand it), and only binary
// contents need escapes: `#`, `$`, `}` and `*`.
using System.Buffers;
using System.Buffers.Text;
using System.Text;

namespace KTrace.Rsp;

/// <summary>
/// Appends framed packets to one growing buffer, so that many requests cost one write. The buffer is kept and reused. Commands
/// write their payload; framing and checksum are added here.
/// </summary>
public sealed class PacketWriter
{
    private static readonly SearchValues<byte> s_escaped = SearchValues.Create("#$}*"u8);

    private readonly List<(int Start, int Length)> _packets = [];
    private byte[] _buffer = new byte[1024];
    private int _length;
    private int _payloadStart = -1;

    /// <summary>The longest payload that the stub takes, in bytes (qSupported's PacketSize).</summary>
    public int MaxPayload { get; set; } = int.MaxValue;

    /// <summary>Everything appended since <see cref="Clear"/>.</summary>
    public ReadOnlyMemory<byte> Written => _buffer.AsMemory(0, _length);

    /// <summary>How many packets were appended since <see cref="Clear"/>.</summary>
    public int PacketCount => _packets.Count;

    /// <summary>The payload of one of the packets as it went out (escapes included).</summary>
    public ReadOnlySpan<byte> Payload(int packet) => _buffer.AsSpan(_packets[packet].Start, _packets[packet].Length);

    public void Clear()
    {
        _length = 0;
        _payloadStart = -1;
        _packets.Clear();
    }

    /// <summary>A byte outside of packets: an acknowledgement.</summary>
    public void Bare(byte value) => Reserve(1)[0] = value;

    public void BeginPacket()
    {
        Reserve(1)[0] = (byte)'$';
        _payloadStart = _length;
    }

    /// <exception cref="RspException">Unsupported: the payload is longer than <see cref="MaxPayload"/>; the packet is taken back.</exception>
    public void EndPacket()
    {
        var length = _length - _payloadStart;
        if (length > MaxPayload)
        {
            var start = PacketText.Brief(_buffer.AsSpan(_payloadStart, Math.Min(length, 40)));
            _length = _payloadStart - 1;
            throw new RspException(RspErrorKind.Unsupported, $"the packet {start} has {length} bytes, the stub takes at most {MaxPayload}");
        }

        _packets.Add((_payloadStart, length));
        var sum = PacketFramer.Sum(_buffer.AsSpan(_payloadStart, length));
        Reserve(1)[0] = (byte)'#';
        HexByte(sum);
    }

    /// <summary>ASCII without characters that need escapes.</summary>
    public PacketWriter Text(ReadOnlySpan<byte> ascii)
    {
        ascii.CopyTo(Reserve(ascii.Length));
        return this;
    }

    /// <summary>A number without leading zeros.</summary>
    public PacketWriter Hex(ulong value)
    {
        var digits = value == 0 ? 1 : (67 - System.Numerics.BitOperations.LeadingZeroCount(value)) / 4;
        Utf8Formatter.TryFormat(value, Reserve(digits), out _, new StandardFormat('x', (byte)digits));
        return this;
    }

    /// <summary>Exactly two digits.</summary>
    public PacketWriter HexByte(byte value)
    {
        Utf8Formatter.TryFormat(value, Reserve(2), out _, new StandardFormat('x', 2));
        return this;
    }

    /// <summary>Two digits a byte, in memory order.</summary>
    public PacketWriter HexBytes(ReadOnlySpan<byte> bytes)
    {
        Convert.TryToHexStringLower(bytes, Reserve(bytes.Length * 2), out _);
        return this;
    }

    /// <summary>The UTF-8 bytes of the text, two digits each (qRcmd).</summary>
    public PacketWriter HexUtf8(string text) => HexBytes(Encoding.UTF8.GetBytes(text));

    /// <summary>Bytes as they are, with escapes where needed.</summary>
    public PacketWriter Binary(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            var special = bytes.IndexOfAny(s_escaped);
            var plain = special < 0 ? bytes : bytes[..special];
            Text(plain);
            if (special < 0)
            {
                break;
            }

            var room = Reserve(2);
            room[0] = (byte)'}';
            room[1] = (byte)(bytes[special] ^ 0x20);
            bytes = bytes[(special + 1)..];
        }

        return this;
    }

    private Span<byte> Reserve(int count)
    {
        if (_buffer.Length - _length < count)
        {
            Array.Resize(ref _buffer, Math.Max(_length + count, _buffer.Length * 2));
        }

        var room = _buffer.AsSpan(_length, count);
        _length += count;
        return room;
    }
}
