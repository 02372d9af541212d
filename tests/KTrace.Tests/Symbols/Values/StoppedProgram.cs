using System.Globalization;
using System.Text.Json;
using KTrace.Symbols.Arch;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Values;

/// <summary>A variable as gdb has it. Null: optimized out, or not to be known.</summary>
internal sealed record GdbVariable(string Name, string? Now, string? AtEntry);

internal sealed record GdbFrame(string Name, bool IsInline, GdbVariable[] Arguments, GdbVariable[] Locals);

/// <summary>A program that gdb stopped: registers, the stack and the data, and what gdb makes of it.</summary>
internal sealed class StoppedProgram : IMemoryReader
{
    // Values as plain numbers or bytes; every failure of gdb's to know one is a null.
    private const string Script = """
        import gdb, json
        def value(v):
            if v.is_optimized_out:
                return None
            v.fetch_lazy()
            t = v.type.strip_typedefs()
            if t.code in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION, gdb.TYPE_CODE_ARRAY):
                if 'optimized out' in str(v):
                    return None
                data = b''
                def walk(v):
                    nonlocal data
                    t = v.type.strip_typedefs()
                    if t.code == gdb.TYPE_CODE_STRUCT:
                        for f in t.fields():
                            walk(v[f])
                    elif t.code == gdb.TYPE_CODE_ARRAY:
                        for i in range(t.range()[0], t.range()[1] + 1):
                            walk(v[i])
                    else:
                        data += (int(v) & ((1 << 8 * t.sizeof) - 1)).to_bytes(t.sizeof, 'little')
                walk(v)
                return 'members:' + data.hex()
            if 'synthetic' in str(v):
                return 'synthetic'
            return '%x' % (int(v) & ((1 << 8 * t.sizeof) - 1))
        def read(get):
            try:
                return value(get())
            except gdb.error:
                return None
        def frames():
            result = []
            frame = gdb.newest_frame()
            while frame is not None and frame.is_valid():
                frame.select()
                entry = {'name': frame.name(), 'inline': frame.type() == gdb.INLINE_FRAME, 'args': [], 'locals': []}
                seen = set()
                try:
                    block = frame.block()
                except RuntimeError:
                    break
                while block is not None:
                    for symbol in block:
                        if symbol.is_argument:
                            entry['args'].append([symbol.name, read(lambda: symbol.value(frame)), read(lambda: gdb.parse_and_eval(symbol.name + '@entry'))])
                        elif symbol.is_variable and symbol.name not in seen:
                            seen.add(symbol.name)
                            entry['locals'].append([symbol.name, read(lambda: symbol.value(frame)), None])
                    if block.function is not None:
                        break
                    block = block.superblock
                result.append(entry)
                frame = frame.older()
            gdb.newest_frame().select()
            return result
        def stop(registers, sp):
            inferior = gdb.selected_inferior()
            memory = []
            start = int(gdb.parse_and_eval('(unsigned long)$' + sp)) & ~0xfff
            stack = b''
            while len(stack) < 0x4000:
                try:
                    stack += bytes(inferior.read_memory(start + len(stack), 0x1000))
                except gdb.MemoryError:
                    break
            memory.append(['%x' % start, stack.hex()])
            for name in DATA:
                try:
                    memory.append(['%x' % name[0], bytes(inferior.read_memory(name[0], name[1])).hex()])
                except gdb.MemoryError:
                    pass
            values = {r: gdb.execute('p/x $' + r, to_string=True).split('= ')[1].strip()[2:] for r in registers}
            return {'regs': values, 'memory': memory, 'frames': frames()}
        gdb.execute('set pagination off')
        gdb.execute('set confirm off')
        gdb.execute('set disable-randomization on')
        for place in PLACES:
            gdb.execute('break ' + place)
        gdb.execute('run', to_string=True)
        stops = []
        try:
            while len(stops) < LIMIT:
                stops.append(stop(REGISTERS, SP))
                for step in range(STEPS):
                    gdb.execute('stepi', to_string=True)
                    stops.append(stop(REGISTERS, SP))
                gdb.execute('continue', to_string=True)
        except gdb.error as error:
            # "No registers": the program has ended.
            print(error)
        json.dump(stops, open(OUT, 'w'))
        try:
            gdb.execute('kill')
        except gdb.error:
            pass
        """;

    private readonly List<(ulong Start, byte[] Bytes)> _memory = [];

    private StoppedProgram(JsonElement json, Architecture architecture)
    {
        Registers = new RegisterSet(architecture);
        foreach (var register in json.GetProperty("regs").EnumerateObject())
        {
            Registers[architecture.IndexOf(register.Name)] = Hex(register.Value.GetString()!);
        }

        foreach (var block in json.GetProperty("memory").EnumerateArray())
        {
            _memory.Add((Hex(block[0].GetString()!), Convert.FromHexString(block[1].GetString()!)));
        }

        Frames = [.. json.GetProperty("frames").EnumerateArray().Select(f => new GdbFrame(
            f.GetProperty("name").GetString()!, f.GetProperty("inline").GetBoolean(), Variables(f.GetProperty("args")), Variables(f.GetProperty("locals"))))];
    }

    public RegisterSet Registers { get; }

    public GdbFrame[] Frames { get; }

    /// <summary>Runs a program under gdb and stops it at places.</summary>
    /// <param name="steps">Instructions to go on from each place, one stop each.</param>
    public static IReadOnlyList<StoppedProgram> Run(
        ScratchFolder folder, string program, Architecture architecture, IReadOnlyList<string> places, IEnumerable<(ulong Address, ulong Size)> data, int steps, int limit)
    {
        var output = folder.File("stops.json");
        var script = folder.File("stops.py");
        var registers = architecture.GeneralRegisters.Where(r => r != architecture.Flags).Select(r => architecture.RegisterNames[r]);
        File.WriteAllText(script, string.Create(CultureInfo.InvariantCulture, $"""
            PLACES = {JsonSerializer.Serialize(places)}
            REGISTERS = {JsonSerializer.Serialize(registers)}
            SP = '{architecture.RegisterNames[architecture.StackPointer]}'
            DATA = [{string.Join(", ", data.Select(d => $"[{d.Address}, {d.Size}]"))}]
            STEPS = {steps}
            LIMIT = {limit}
            OUT = '{output}'

            """) + Script);
        PeerProgram.Run("timeout", ["60", "gdb", "-batch", "-nx", "-x", script, program]);
        var json = JsonDocument.Parse(File.ReadAllText(output)).RootElement;
        return [.. json.EnumerateArray().Select(stop => new StoppedProgram(stop, architecture))];
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

    private static GdbVariable[] Variables(JsonElement list) =>
        [.. list.EnumerateArray().Select(v => new GdbVariable(v[0].GetString()!, v[1].GetString(), v[2].GetString()))];

    private static ulong Hex(string text) => ulong.Parse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
}
