// GDB Remote Serial Protocol, "Overview": `$payload#cc`, `%notification#cc`, the acknowledgements `+` and `-`, and a bare 0x03.
// `}` escapes the next byte (xor 0x20). `*` repeats the RAW byte before it (count + 29): gdbserver encodes runs after escaping,
// so runs are undone first and escapes second, also when a run follows an escaped byte. QEMU sends no runs and escapes only
// what qXfer carries. A `$` inside a packet starts a new one, as in gdb: the old one was cut short by a resend.
using System.Buffers;
using System.Numerics;

namespace KTrace.Rsp;

/// <summary>What <see cref="PacketFramer.Read"/> found.</summary>
public enum FramerEvent
{
    /// <summary>The input is used up and no event is complete.</summary>
    NeedMore,

    /// <summary>A packet whose checksum is right; see <see cref="PacketFramer.Payload"/>.</summary>
    Packet,

    /// <summary>A `%` notification whose checksum is right; see <see cref="PacketFramer.Payload"/>. It is never acknowledged.</summary>
    Notification,

    Ack,
    Nack,

    /// <summary>A bare 0x03 (what a client sends to stop the target).</summary>
    Interrupt,

    /// <summary>A packet that cannot be used; <see cref="PacketFramer.Fault"/> says why.</summary>
    BadPacket,

    /// <summary>A packet longer than the framer was told to take. The stream is not to be trusted after it.</summary>
    TooLarge,
}

/// <summary>
/// Bytes → packets, incrementally and without I/O. Feed it what arrived, in pieces of any size; memory use is bounded by the
/// payload limit. Not safe for concurrent use.
/// </summary>
public sealed class PacketFramer
{
    private static readonly SearchValues<byte> s_special = SearchValues.Create("#$}*"u8);

    private readonly int _maxPayload;
    private byte[] _payload = new byte[4096];
    private int _length;
    private State _state;
    private byte _sum;
    private byte _checksumHigh;
    private int _lastRaw;
    private bool _notification;

    /// <param name="maxPayload">The longest payload to take, in bytes after undoing runs and escapes.</param>
    public PacketFramer(int maxPayload) => _maxPayload = maxPayload;

    private enum State
    {
        Idle,
        Body,
        Escaped,
        RunLength,
        ChecksumHigh,
        ChecksumLow,
    }

    /// <summary>The payload of the last <see cref="FramerEvent.Packet"/> or <see cref="FramerEvent.Notification"/>, until the next read;
    /// inside a packet, what of it arrived so far.</summary>
    public ReadOnlySpan<byte> Payload => _payload.AsSpan(0, _length);

    /// <summary>Whether a packet was begun and not finished.</summary>
    public bool InPacket => _state != State.Idle;

    /// <summary>Why the last <see cref="FramerEvent.BadPacket"/> was bad.</summary>
    public string? Fault { get; private set; }

    /// <summary>How many bytes between packets meant nothing and were skipped, in all.</summary>
    public long SkippedBytes { get; private set; }

    /// <summary>Takes bytes off the front of <paramref name="input"/> up to the end of the next event, or all of them.</summary>
    public FramerEvent Read(ref ReadOnlySpan<byte> input)
    {
        while (!input.IsEmpty)
        {
            if (_state == State.Body)
            {
                var special = input.IndexOfAny(s_special);
                var plain = special < 0 ? input : input[..special];
                if (!plain.IsEmpty)
                {
                    _sum += Sum(plain);
                    _lastRaw = plain[^1];
                    if (!Append(plain))
                    {
                        return TooLarge();
                    }

                    input = input[plain.Length..];
                    continue;
                }
            }

            var b = input[0];
            input = input[1..];
            var found = Step(b);
            if (found != FramerEvent.NeedMore)
            {
                return found;
            }
        }

        return FramerEvent.NeedMore;
    }

    /// <summary>The sum of the bytes modulo 256. Lanes wrap as the checksum does, so they may be added as they are.</summary>
    internal static byte Sum(ReadOnlySpan<byte> bytes)
    {
        byte sum = 0;
        if (bytes.Length >= Vector<byte>.Count)
        {
            var lanes = Vector<byte>.Zero;
            for (; bytes.Length >= Vector<byte>.Count; bytes = bytes[Vector<byte>.Count..])
            {
                lanes += new Vector<byte>(bytes);
            }

            sum = Vector.Sum(lanes);
        }

        foreach (var b in bytes)
        {
            sum += b;
        }

        return sum;
    }

    private FramerEvent Step(byte b)
    {
        switch (_state)
        {
            case State.Idle:
                return StepIdle(b);

            case State.Body:
                return StepSpecial(b);

            case State.Escaped:
                if (b is (byte)'#' or (byte)'$' or (byte)'*')
                {
                    return Bad($"`{(char)b}` follows the escape character");
                }

                _sum += b;
                _lastRaw = b;
                _state = State.Body;
                return Append([(byte)(b ^ 0x20)]) ? FramerEvent.NeedMore : TooLarge();

            case State.RunLength:
                return StepRunLength(b);

            case State.ChecksumHigh:
                _checksumHigh = b;
                _state = State.ChecksumLow;
                return FramerEvent.NeedMore;

            default:
                var said = HexText.ParseByte([_checksumHigh, b]);
                if (said != _sum)
                {
                    return Bad($"its checksum is {PacketText.Brief([_checksumHigh, b])}, the bytes make {_sum:x2}");
                }

                _state = State.Idle;
                return _notification ? FramerEvent.Notification : FramerEvent.Packet;
        }
    }

    private FramerEvent StepIdle(byte b)
    {
        switch (b)
        {
            case (byte)'+':
                return FramerEvent.Ack;
            case (byte)'-':
                return FramerEvent.Nack;
            case 0x03:
                return FramerEvent.Interrupt;
            case (byte)'$':
            case (byte)'%':
                Start(notification: b == '%');
                return FramerEvent.NeedMore;
            default:
                SkippedBytes++;
                return FramerEvent.NeedMore;
        }
    }

    private FramerEvent StepSpecial(byte b)
    {
        switch (b)
        {
            case (byte)'#':
                _state = State.ChecksumHigh;
                return FramerEvent.NeedMore;
            case (byte)'$':
                Start(notification: false);
                return FramerEvent.NeedMore;
            case (byte)'}':
                _sum += b;
                _state = State.Escaped;
                return FramerEvent.NeedMore;
            default:
                _sum += b;
                _state = State.RunLength;
                return FramerEvent.NeedMore;
        }
    }

    private FramerEvent StepRunLength(byte b)
    {
        if (_lastRaw < 0)
        {
            return Bad("a run begins with nothing before it");
        }

        // 29 + 3 is the first printable character; `#` and `$` would be taken for framing.
        if (b is < 32 or > 126 or (byte)'#' or (byte)'$')
        {
            return Bad($"a run has the length byte 0x{b:x2}");
        }

        _sum += b;
        _state = State.Body;
        Span<byte> run = stackalloc byte[b - 29];
        run.Fill((byte)_lastRaw);
        return Append(run) ? FramerEvent.NeedMore : TooLarge();
    }

    private void Start(bool notification)
    {
        _notification = notification;
        _state = State.Body;
        _sum = 0;
        _length = 0;
        _lastRaw = -1;
    }

    private bool Append(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > _maxPayload - _length)
        {
            return false;
        }

        if (_payload.Length - _length < bytes.Length)
        {
            Array.Resize(ref _payload, Math.Max(_length + bytes.Length, Math.Min(_maxPayload, _payload.Length * 2)));
        }

        bytes.CopyTo(_payload.AsSpan(_length));
        _length += bytes.Length;
        return true;
    }

    private FramerEvent Bad(string fault)
    {
        Fault = fault;
        _state = State.Idle;
        return FramerEvent.BadPacket;
    }

    private FramerEvent TooLarge()
    {
        _state = State.Idle;
        return FramerEvent.TooLarge;
    }
}
