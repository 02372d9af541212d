using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using KTrace.Rsp;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger;

/// <summary>A stopped fake guest that has nothing but memory: what was not put there cannot be read.</summary>
internal sealed class MemoryStub : IAsyncDisposable
{
    private readonly FakeStub _stub = FakeStub.Qemu();
    private readonly SortedDictionary<ulong, byte[]> _memory = [];
    private int _reads;

    public MemoryStub() => _stub.Otherwise = Answer;

    public int Reads => _reads;

    /// <summary>Answers any read, so that a guest can be endless.</summary>
    public Func<ulong, int, byte[]?>? Everywhere { get; set; }

    public ValueTask<RspClient> ConnectAsync() => RspClient.ConnectAsync(_stub.Endpoint);

    public void Put(ulong address, ReadOnlySpan<byte> bytes) => _memory[address] = bytes.ToArray();

    public void PutWord(ulong address, ulong value)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        Put(address, bytes);
    }

    public void PutText(ulong address, string text, int length) => Put(address, Encoding.UTF8.GetBytes(text.PadRight(length, '\0')));

    public ValueTask DisposeAsync() => _stub.DisposeAsync();

    private IEnumerable<string> Answer(string request)
    {
        if (request[0] != 'm')
        {
            return [request[0] is 'Z' or 'z' ? "OK" : ""];
        }

        _reads++;
        var parts = request[1..].Split(',');
        var (address, length) = (ulong.Parse(parts[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture), int.Parse(parts[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture));
        return [Read(address, length) is { } bytes ? Convert.ToHexStringLower(bytes) : "E14"];
    }

    private byte[]? Read(ulong address, int length)
    {
        var bytes = new byte[length];
        var filled = new bool[length];
        foreach (var (start, piece) in _memory)
        {
            for (var i = 0; i < piece.Length; i++)
            {
                if (start + (ulong)i - address is var at && at < (ulong)length)
                {
                    (bytes[at], filled[at]) = (piece[i], true);
                }
            }
        }

        return filled.All(f => f) ? bytes : Everywhere?.Invoke(address, length);
    }
}
