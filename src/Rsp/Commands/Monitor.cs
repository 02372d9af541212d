// GDB Remote Serial Protocol, `qRcmd`: the command in hexadecimal; any number of `O` packets with output in hexadecimal, then OK. Some
// stubs put the output into the last packet instead of OK.
using System.Text;

namespace KTrace.Rsp.Commands;

/// <summary>`qRcmd`: a command for the stub's own console (QEMU's human monitor).</summary>
internal sealed record MonitorCommand(string Text, int MaxOutput) : RspRequest
{
    private readonly MemoryStream _output = new();

    /// <summary>Whether output was cut at the limit.</summary>
    public bool Truncated { get; private set; }

    public string Output => Encoding.UTF8.GetString(_output.GetBuffer().AsSpan(0, (int)_output.Length));

    internal override string Ability => "monitor commands (qRcmd)";

    internal override void Write(PacketWriter packet) => packet.Text("qRcmd,"u8).HexUtf8(Text);

    /// <summary>Takes one reply packet; true when it was the last.</summary>
    /// <exception cref="RspException">Protocol: the packet is neither output nor an end.</exception>
    internal bool Read(ReadOnlySpan<byte> reply)
    {
        if (reply.SequenceEqual("OK"u8))
        {
            return true;
        }

        var isOutput = reply[0] == 'O';
        var hex = isOutput ? reply[1..] : reply;
        var bytes = new byte[hex.Length / 2];
        if (!HexText.TryDecode(hex, bytes, out var count))
        {
            throw Malformed(reply);
        }

        var room = Math.Max(0, MaxOutput - (int)_output.Length);
        Truncated |= count > room;
        _output.Write(bytes.AsSpan(0, Math.Min(count, room)));
        return !isOutput;
    }
}
