using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using KTrace.Rsp;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger;

/// <summary>A stopped fake guest that has nothing but memory: what was not put there cannot be read.</summary>
internal sealed class MemoryStub : IAsyncDisposable
{
    private const string CpuXml = """
        <?xml version="1.0"?><target><architecture>i386:x86-64</architecture><feature name="org.gnu.gdb.i386.core"><reg name="rip" bitsize="64"/><reg name="rsp" bitsize="64"/>
        <reg name="eflags" bitsize="32"/><reg name="cs" bitsize="32"/><reg name="gs_base" bitsize="64"/><reg name="cr0" bitsize="64"/></feature></target>
        """;

    private readonly FakeStub _stub;
    private readonly SortedDictionary<ulong, byte[]> _memory = [];
    private readonly string? _registers;
    private int _reads;

    public MemoryStub()
        : this(FakeStub.Qemu(), null)
    {
    }

    private MemoryStub(FakeStub stub, string? registers)
    {
        (_stub, _registers) = (stub, registers);
        _stub.Otherwise = Answer;
    }

    /// <summary>One with a CPU of x86-64 that executes the kernel.</summary>
    public static MemoryStub WithCpu(ulong pc, ulong gsBase)
    {
        var registers = new byte[40];
        BinaryPrimitives.WriteUInt64LittleEndian(registers, pc);
        BinaryPrimitives.WriteUInt64LittleEndian(registers.AsSpan(8), gsBase + 0x4000);
        registers[16] = 2;
        registers[20] = 0x10;
        BinaryPrimitives.WriteUInt64LittleEndian(registers.AsSpan(24), gsBase);
        BinaryPrimitives.WriteUInt64LittleEndian(registers.AsSpan(32), 0x8005_0033);
        var stub = new FakeStub().On(FakeStub.ClientHello, "PacketSize=1000;qXfer:features:read+;vContSupported+;multiprocess+").On("QStartNoAckMode", "OK").On("vCont?", "vCont;c;C;s;S")
            .On("qXfer:features:read:target.xml:0,ffb", "l" + CpuXml).On("qC", "QCp01.01").On("?", "T05thread:p01.01;").On("qqemu.sstepbits", "ENABLE=1,NOIRQ=2,NOTIMER=4");
        return new MemoryStub(stub, Convert.ToHexStringLower(registers));
    }

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
        if (_registers is not null && request is ("g" or "qfThreadInfo" or "qsThreadInfo"))
        {
            return [request switch { "g" => _registers!, "qfThreadInfo" => "mp01.01", _ => "l" }];
        }

        if (request.StartsWith("Hg", StringComparison.Ordinal))
        {
            return ["OK"];
        }

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
