using System.Globalization;
using System.Text.Json;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Symbols.Unwind;

/// <summary>
/// A stopped CPU as gdb saw it over QEMU's stub: registers, stack bytes, where the modules are, and the frames that gdb found. The fixtures
/// also hold what was established as the truth ("expected", one function per physical frame).
/// </summary>
internal sealed class StackCapture : IMemoryReader
{
    private readonly List<(ulong Start, byte[] Bytes)> _memory = [];

    private StackCapture(JsonElement json)
    {
        Label = json.GetProperty("label").GetString()!;
        Comm = json.GetProperty("comm").GetString()!;
        Architecture architecture = json.GetProperty("regs").TryGetProperty("rip", out _) ? X86_64.Instance : I386.Instance;
        Registers = new RegisterSet(architecture);
        foreach (var register in json.GetProperty("regs").EnumerateObject())
        {
            Registers[architecture.IndexOf(register.Name)] = Hex(register.Value);
        }

        foreach (var block in json.GetProperty("memory").EnumerateArray())
        {
            _memory.Add((Hex(block[0]), Convert.FromHexString(block[1].GetString()!)));
        }

        foreach (var module in json.GetProperty("modules").EnumerateObject())
        {
            Modules[module.Name] = module.Value.EnumerateObject().ToDictionary(s => s.Name, s => Hex(s.Value));
        }

        GdbFrames = [.. json.GetProperty("gdb").EnumerateArray().Select(f => (Hex(f[0]), f[1].GetString()))];
        Expected = json.TryGetProperty("expected", out var expected) ? [.. expected.EnumerateArray().Select(e => e.GetString()!)] : [];
        Console = json.TryGetProperty("console", out var console) ? [.. console.EnumerateArray().Select(e => e.GetString()!)] : [];
        ExpectedStop = json.TryGetProperty("stop", out var stop) ? stop.GetString()! : "";
    }

    public string Label { get; }

    public string Comm { get; }

    /// <summary>The kernel's release.</summary>
    public string Release { get; private init; } = "";

    public RegisterSet Registers { get; }

    public Dictionary<string, Dictionary<string, ulong>> Modules { get; } = [];

    /// <summary>pc and name of gdb's physical frames; what follows the first frame without a name is garbage.</summary>
    public (ulong Pc, string? Name)[] GdbFrames { get; }

    /// <summary>"rule function+0xoffset" per frame.</summary>
    public string[] Expected { get; }

    public string ExpectedStop { get; }

    /// <summary>"function+0xoffset" of the call trace that the kernel printed from there, without its guesses ("?").</summary>
    public string[] Console { get; }

    /// <summary>What was read of the guest's memory.</summary>
    public IReadOnlyList<(ulong Start, byte[] Bytes)> Blocks => _memory;

    public static StackCapture Parse(string json)
    {
        var root = JsonDocument.Parse(json).RootElement;
        return new StackCapture(root) { Release = root.TryGetProperty("release", out var release) ? release.GetString()! : "" };
    }

    public MemoryReadResult Read(ulong address, Span<byte> destination)
    {
        foreach (var (start, bytes) in _memory)
        {
            if (address >= start && address - start <= (ulong)bytes.Length && (ulong)bytes.Length - (address - start) >= (ulong)destination.Length)
            {
                bytes.AsSpan((int)(address - start), destination.Length).CopyTo(destination);
                return MemoryReadResult.Ok;
            }
        }

        return MemoryReadResult.NotFetched;
    }

    /// <summary>The bytes from the stack pointer on, as far as they were captured, zeros behind.</summary>
    public byte[] Words(int length)
    {
        var words = new byte[length];
        for (var at = 0; at + 8 <= length && Read(Registers.StackPointer + (ulong)at, words.AsSpan(at, 8)) == MemoryReadResult.Ok; at += 8)
        {
        }

        return words;
    }

    private static ulong Hex(JsonElement value) => ulong.Parse(value.GetString()!, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
}
