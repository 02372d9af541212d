using System.Globalization;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Recovery;
using KTrace.Symbols.Unwind;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Recovery;

/// <summary>Programs by real compilers, run under gdb: what is recovered at the deepest stop is what every function was really entered with.</summary>
public sealed class CompiledEntryTests
{
    private const string Source = """
        typedef unsigned long word;
        struct box { word kept; int mode; word (*next)(struct box *, word, int); };
        volatile word sink;
        #define KEEP __attribute__((noinline, noclone))
        KEEP void deepest(word a, int b, word c) { sink += a + (word)b + c; }
        KEEP word leaf(struct box *box, word x, int n) { deepest(box->kept + x, n + 1, x); sink += x; return box->kept + x + (word)n; }
        KEEP word spill(struct box *box, word a, int b, word c, word d, word e) {
            word r = 0;
            for (int i = 0; i < b; i++) { r += leaf(box, a + (word)i, i) * c; r ^= d + e; c += r; }
            return r + a + d; }
        KEEP word escapes(struct box *box, word a, int b) { struct box own = { a, b, box->next }; sink += own.next(&own, a, b); return own.kept + a; }
        KEEP word tail(struct box *box, word a, int b) { return escapes(box, a * 3, b + 1); }
        KEEP word through(struct box *box, word a, int b) { word r = box->next(box, a + 8, b - 1); sink += r; return r + a; }
        KEEP word many(word a, word b, word c, word d, word e, word f, word g, word h) { struct box box = { b, 2, leaf }; word r = spill(&box, a, 3, g, h, c); return r + d + e + f; }
        KEEP word outer(word a, int b) { struct box box = { a, b, leaf }; word r = through(&box, a, b); r += tail(&box, a, b); r += many(a, 1, 2, 3, 4, 5, 6, a + 7); return r; }
        void _start(void) { outer(0x1111222233334444UL & ~0UL, 5); for (;;) { *(volatile int *)0 = 1; } }
        """;

    private static readonly string[] Functions = ["deepest", "leaf", "spill", "escapes", "tail", "through", "many", "outer"];

    [Theory]
    [InlineData("gcc", "-O1", true)]
    [InlineData("gcc", "-O2", true)]
    [InlineData("gcc", "-Os", true)]
    [InlineData("gcc", "-O2", false)]
    [InlineData("gcc", "-Os", false)]
    [InlineData("clang-14", "-O1", true)]
    [InlineData("clang-14", "-O2", true)]
    [InlineData("clang-14", "-O2", false)]
    public void What_is_recovered_is_what_each_function_was_entered_with(string compiler, string level, bool is64)
    {
        using var folder = new ScratchFolder();
        var program = Build(folder, compiler, level, is64);
        var image = KernelImage.Open(program);
        var map = new KernelMap(image, 0);
        using var recovery = new FrameRecovery(map);
        var entered = new Dictionary<(ulong, ulong), RegisterSet>();
        var (stops, known, asked) = (0, 0, 0);
        foreach (var stop in Record(folder, program, image))
        {
            entered[(stop.Registers.ProgramCounter, stop.Registers.StackPointer + (ulong)image.Architecture.WordSize)] = stop.Registers;
            if (stop.Registers.ProgramCounter != image.Symbols.Find("deepest")[0].Symbol.Value)
            {
                continue;
            }

            stops++;
            var stack = StackUnwinder.Unwind(stop.Registers, stop, map.Unwind);
            for (var i = 1; i < stack.Frames.Length - 1; i++)
            {
                var entry = image.Symbolizer.FindFunctionAt(stack.Frames[i].LookupAddress)!;
                if (!entered.TryGetValue((entry.LowPc, stack.Frames[i + 1].Registers.StackPointer), out var truth))
                {
                    continue;
                }

                for (var argument = 0; argument < Math.Min(entry.Parameters.Length, image.Architecture.ArgumentRegisters.Length); argument++)
                {
                    var register = image.Architecture.ArgumentRegisters[argument];
                    var value = recovery.EntryRegister(stack.Frames, i, register, stop);
                    asked++;
                    known += value.IsKnown ? 1 : 0;
                    var mask = value.Bits >= 64 ? ulong.MaxValue : (1UL << value.Bits) - 1;
                    Assert.False(value.IsKnown && ((value.Value ^ truth[register]) & mask) != 0,
                        $"{entry.Name} argument {argument} at stop {stops}: 0x{value.Value:x} ({value.Bits} bits), was 0x{truth[register]:x}");
                }
            }
        }

        Assert.Equal(5, stops);
        Assert.True(known * 2 > asked, $"{known} of {asked}");
    }

    private static string Build(ScratchFolder folder, string compiler, string level, bool is64)
    {
        File.WriteAllText(folder.File("program.c"), Source);
        var output = folder.File("program");
        PeerProgram.Run(compiler,
        [
            level, is64 ? "-m64" : "-m32", .. is64 ? (string[])["-mno-red-zone"] : ["-mregparm=3"], "-g", "-w", "-nostdlib", "-static", "-no-pie", "-fno-pie", "-fno-stack-protector",
            "-fno-asynchronous-unwind-tables", "-ffreestanding", "-o", output, folder.File("program.c"),
        ]);
        return output;
    }

    /// <summary>Stops at the first instruction of every function, with registers and stack.</summary>
    private static IEnumerable<Stop> Record(ScratchFolder folder, string program, KernelImage image)
    {
        var architecture = image.Architecture;
        var names = architecture.GeneralRegisters.Where(r => r != architecture.Flags).ToArray();
        var script = folder.File("record.gdb");
        var python = $$"""
            set pagination off
            set confirm off
            {{string.Concat(Functions.Select(f => $"break *{f}\n"))}}
            run
            python
            import gdb
            def top():
                inferior = gdb.selected_inferior()
                top_sp = None
                for n in range(400):
                    try:
                        frame = gdb.newest_frame()
                    except gdb.error:
                        break
                    regs = [int(gdb.parse_and_eval("(unsigned long)$" + r)) for r in "{{string.Join(' ', names.Select(r => architecture.RegisterNames[r]))}}".split()]
                    sp = int(gdb.parse_and_eval("(unsigned long)${{architecture.RegisterNames[architecture.StackPointer]}}"))
                    if top_sp is None:
                        top_sp = sp + 64
                    print("STOP %s %x %s" % (",".join("%x" % (r & (2**64-1)) for r in regs), sp, inferior.read_memory(sp, max(64, top_sp - sp)).tobytes().hex()))
                    if gdb.execute("continue", to_string=True).find("SIGSEGV") >= 0:
                        break
            top()
            end
            """;
        File.WriteAllText(script, python);
        foreach (var line in PeerProgram.Run("gdb", ["-nx", "-batch", "-x", script, program]).Split('\n'))
        {
            if (line.Split(' ') is not ["STOP", var values, var stack, var bytes])
            {
                continue;
            }

            var registers = new RegisterSet(architecture);
            foreach (var (register, value) in names.Zip(values.Split(',')))
            {
                registers[register] = ulong.Parse(value, NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            }

            yield return new Stop(registers, ulong.Parse(stack, NumberStyles.HexNumber, CultureInfo.InvariantCulture), Convert.FromHexString(bytes), image);
        }
    }

    private sealed record Stop(RegisterSet Registers, ulong Start, byte[] Stack, KernelImage Image) : IMemoryReader
    {
        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            if (address >= Start && address - Start + (ulong)destination.Length <= (ulong)Stack.Length)
            {
                Stack.AsSpan((int)(address - Start), destination.Length).CopyTo(destination);
                return MemoryReadResult.Ok;
            }

            return Image.TryRead(address, destination) ? MemoryReadResult.Ok : MemoryReadResult.Unreadable;
        }
    }
}
