// Three stops of a real boot at x86_vector_msi_compose_msg (timer set-up; e1000e's probe; ifconfig eth0 up), with what gdb 13.1 made of every argument on the same stop, the module's
// symbols added by hand: value now, value at entry (null: optimized out, or it says why it cannot tell).
using System.Globalization;
using System.Text.Json;
using KTrace.Symbols.Elf;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;
using KTrace.Symbols.Values;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Values;

public sealed class FrameVariablesStockKernelTests(Xunit.Abstractions.ITestOutputHelper output)
{
    private static JsonElement[] Stops { get; } =
        [.. JsonDocument.Parse(File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "Fixtures", "variables", "compose-msi-message.json"))).RootElement.EnumerateArray()];

    [SkippableFact]
    public void No_argument_contradicts_gdb_and_none_that_gdb_knows_is_missing()
    {
        Skip.IfNot(Stops[0].GetProperty("release").GetString() == StockKernel.Release, "captured on another kernel");
        var image = KernelImage.Open(StockKernel.Vmlinux);
        var (known, total, gdbKnown) = (0, 0, 0);
        foreach (var stop in Stops)
        {
            var map = MapOf(image, stop);
            var memory = new Blocks(stop);
            var stack = StackUnwinder.Unwind(RegistersOf(stop, image), memory, map.Unwind);
            var missing = new List<AddressRange>();
            var arguments = new FrameVariables(map).ArgumentsOf(stack, memory, missing);
            var names = NamesOf(stack, map);
            Assert.Equal(names.Count, arguments.Length);
            Assert.All(missing, range => Assert.True(range.End > range.Start));

            var frames = stop.GetProperty("frames").EnumerateArray().ToArray();
            var next = 0;
            for (var i = 0; i < names.Count; i++)
            {
                if (next >= frames.Length || frames[next].GetProperty("name").GetString() is not { } gdbName)
                {
                    break;
                }

                if (!names[i].StartsWith(gdbName, StringComparison.Ordinal))
                {
                    // A function that left by a tail call, which gdb did not find.
                    continue;
                }

                var theirs = frames[next++].GetProperty("args").EnumerateArray().ToDictionary(a => a[0].GetString()!, a => (Now: Number(a[1]), Entry: Number(a[2])));
                foreach (var argument in arguments[i])
                {
                    total++;
                    var (now, entry) = theirs.GetValueOrDefault(argument.Name);
                    known += argument.Value is null ? 0 : 1;
                    gdbKnown += (now ?? entry) is null ? 0 : 1;
                    var expected = argument.IsAtEntry ? entry : now;
                    if (argument.Value is null)
                    {
                        Assert.True((now ?? entry) is null, $"{names[i]}.{argument.Name} is unknown, by gdb {now ?? entry:x}");
                    }
                    else if (expected is not null)
                    {
                        Assert.True(expected == Unsigned(argument.Value), $"{names[i]}.{argument.Name}: {Unsigned(argument.Value):x} ({argument.Provenance}), by gdb {expected:x}");
                    }
                }
            }
        }

        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{known} of {total} arguments known by debug information alone; gdb knows {gdbKnown}"));
        Assert.True(known >= gdbKnown && gdbKnown > 100);
    }

    [SkippableFact]
    public void At_its_first_instruction_a_functions_arguments_are_in_the_registers_of_the_abi()
    {
        Skip.IfNot(Stops[0].GetProperty("release").GetString() == StockKernel.Release, "captured on another kernel");
        var image = KernelImage.Open(StockKernel.Vmlinux);
        var stop = Stops[0];
        var map = MapOf(image, stop);
        var memory = new Blocks(stop);
        var stack = StackUnwinder.Unwind(RegistersOf(stop, image), memory, map.Unwind);
        var arguments = new FrameVariables(map).ArgumentsOf(stack, memory)[0];

        var registers = RegistersOf(stop, image);
        Assert.Equal(["data", "msg"], arguments.Select(a => a.Name));
        Assert.Equal([registers[5], registers[4]], arguments.Select(a => Unsigned(a.Value!)));
        Assert.All(arguments, a => Assert.Equal((Provenance.Register, false), (a.Provenance, a.IsAtEntry)));
        Assert.Equal("struct irq_data *", arguments[0].Type.ToString());
    }

    [SkippableFact]
    public void Memory_that_was_not_fetched_is_asked_for_and_makes_the_value_known()
    {
        Skip.IfNot(Stops[0].GetProperty("release").GetString() == StockKernel.Release, "captured on another kernel");
        var image = KernelImage.Open(StockKernel.Vmlinux);
        var stop = Stops[1];
        var map = MapOf(image, stop);
        var memory = new Blocks(stop);
        var stack = StackUnwinder.Unwind(RegistersOf(stop, image), memory, map.Unwind);
        var variables = new FrameVariables(map);
        var missing = new List<AddressRange>();
        var without = variables.ArgumentsOf(stack, new NoMemory(), missing).SelectMany(list => list).Count(a => a.Value is not null);
        var with = variables.ArgumentsOf(stack, memory).SelectMany(list => list).Count(a => a.Value is not null);

        Assert.NotEmpty(missing);
        Assert.True(with > without, $"{with} with memory, {without} without");
    }

    private static KernelMap MapOf(KernelImage image, JsonElement stop)
    {
        var map = new KernelMap(image, 0);
        if (stop.GetProperty("modules").TryGetProperty("e1000e", out var sections))
        {
            map.Load(KernelModule.Load(
                "e1000e", image.Architecture, sections.EnumerateObject().ToDictionary(s => s.Name, s => Hex(s.Value)),
                [ElfFile.Open(StockKernel.DebugModule("e1000e")), ElfFile.Open(StockKernel.Module("e1000e"))]));
        }

        return map;
    }

    private static List<string> NamesOf(UnwindResult stack, KernelMap map)
    {
        var names = new List<string>();
        UnwoundFrame? callee = null;
        foreach (var frame in stack.Frames)
        {
            names.AddRange((callee is null ? [] : map.TailCallsBetween(callee, frame)).SelectMany(t => t.Frames).Select(f => f.Function));
            names.AddRange(map.Symbolize(frame.LookupAddress).SkipWhile(f => frame.Rule == UnwindRule.Registers && f.IsInline && f.Offset == 0).Select(f => f.Function));
            callee = frame;
        }

        return names;
    }

    private static RegisterSet RegistersOf(JsonElement stop, KernelImage image)
    {
        var registers = new RegisterSet(image.Architecture);
        foreach (var register in stop.GetProperty("regs").EnumerateObject())
        {
            registers[image.Architecture.IndexOf(register.Name)] = Hex(register.Value);
        }

        return registers;
    }

    private static ulong? Number(JsonElement value) => value.ValueKind == JsonValueKind.Number ? value.GetUInt64() : null;

    private static ulong Unsigned(TypedValue value)
    {
        var number = 0UL;
        for (var i = 0; i < value.Bytes.Length && i < 8; i++)
        {
            number |= (ulong)value.Bytes.Span[i] << (8 * i);
        }

        return number;
    }

    private static ulong Hex(JsonElement value) => ulong.Parse(value.GetString()!, NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    private sealed class Blocks(JsonElement stop) : IMemoryReader
    {
        private readonly (ulong Start, byte[] Bytes)[] _blocks =
            [.. stop.GetProperty("memory").EnumerateArray().Select(b => (Hex(b[0]), Convert.FromHexString(b[1].GetString()!)))];

        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            foreach (var (start, bytes) in _blocks)
            {
                if (address >= start && address - start <= (ulong)bytes.Length && (ulong)bytes.Length - (address - start) >= (ulong)destination.Length)
                {
                    bytes.AsSpan((int)(address - start), destination.Length).CopyTo(destination);
                    return MemoryReadResult.Ok;
                }
            }

            return MemoryReadResult.NotFetched;
        }
    }

    private sealed class NoMemory : IMemoryReader
    {
        public MemoryReadResult Read(ulong address, Span<byte> destination) => MemoryReadResult.NotFetched;
    }
}
