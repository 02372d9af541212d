using System.Globalization;
using KTrace.Debugger;
using KTrace.Debugger.Stepping;
using KTrace.Rsp;
using KTrace.Symbols.Kernel;
using KTrace.Tests.Rsp.Peers;
using KTrace.Tests.Support;

namespace KTrace.Tests.Debugger.Stepping;

/// <summary>A program with everything that steps trip over, the same at every run, behind gdbserver.</summary>
internal sealed class StepProgram : IDisposable
{
    private const string Source = """
        #include <setjmp.h>
        #include <string.h>
        #include <stdlib.h>
        volatile int sink;
        volatile long rounds = 3000000;
        char bytes[100000];
        jmp_buf buffer;

        static inline __attribute__((always_inline)) int square(int x)
        {
            int y = x * x;
            sink += y;
            return y;
        }

        static inline __attribute__((always_inline)) int twice(int x)
        {
            int a = square(x);
            int b = square(x + 1);
            return a + b;
        }

        __attribute__((noinline)) int leaf(int x)
        {
            sink += x;
            return x + 1;
        }

        __attribute__((noinline)) int tail(int x)
        {
            sink -= x;
            return leaf(x + 2);
        }

        __attribute__((noinline)) int recurse(int n)
        {
            if (n == 0)
                return 1;
            int r = recurse(n - 1);
            sink += r;
            return r + n;
        }

        __attribute__((noinline)) int through(int (*f)(int), int x)
        {
            int r = f(x);
            sink ^= r;
            return r;
        }

        __attribute__((noinline)) int loop(int n)
        {
            int s = 0;
            for (int i = 0; i < n; i++)
            {
                s += twice(i);
                if (s & 1)
                    s += leaf(s);
            }
            return s;
        }

        __attribute__((noinline)) void jump(int x)
        {
            sink = x;
            longjmp(buffer, x);
        }

        __attribute__((noinline)) int spin(void)
        {
            sink = 5;
            while (--rounds) ;
            sink = 6;
            return 1;
        }

        __attribute__((noinline)) int strings(long n)
        {
            sink = 7;
            char *to = bytes;
            __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(1) : "memory");
            sink = 8;
            return bytes[99];
        }

        int main(int count, char **words)
        {
            int total = leaf(count);
            total += tail(2);
            total += recurse(3);
            total += through(leaf, 4);
            total += leaf(leaf(5)) + square(6);
            total += loop(3);
            if (setjmp(buffer) == 0)
                jump(9);
            if (count > 1)
                total += strings(90000) + spin();
            sink = total;
            exit(total & 1);
        }
        """;

    private readonly ScratchFolder _folder = new();

    public StepProgram(string options = "-O2")
    {
        File.WriteAllText(_folder.File("steps.c"), Source);
        Path = _folder.File("steps");
        PeerProgram.Run("gcc", ["-g", "-static", "-no-pie", .. options.Split(' '), "-o", Path, _folder.File("steps.c")]);
        Image = KernelImage.Open(Path);
    }

    public string Path { get; }

    public KernelImage Image { get; }

    public ulong AddressOf(string name) => Image.TryFindSymbol(name, out var symbol) ? symbol.Value : throw new ArgumentException(name);

    /// <summary>The line on which a text stands first.</summary>
    public static int LineOf(string text) => 1 + Source.Split('\n').ToList().FindIndex(l => l.Contains(text, StringComparison.Ordinal));

    /// <summary>Runs it up to a function's entry.</summary>
    /// <param name="isLong">With the loops that gdb would step through for minutes.</param>
    public async Task<Running> StartAsync(string function, bool isLong = false)
    {
        var port = PeerProcess.FreePort();
        var server = new PeerProcess("gdbserver", ["--once", $"127.0.0.1:{port.ToString(CultureInfo.InvariantCulture)}", Path, .. isLong ? ["long"] : Array.Empty<string>()]);
        await server.UntilAsync(() => server.Errors.Contains("Listening on port", StringComparison.Ordinal));
        var client = await RspClient.ConnectAsync(RspEndpoint.Parse($"tcp:127.0.0.1:{port.ToString(CultureInfo.InvariantCulture)}"), PeerStory.Options);
        var machine = new Machine(client, Image.Architecture);
        // gdbserver's threads have process ids: their order tells their index.
        await machine.ThreadsAsync();
        var run = new MachineRun(machine);
        var at = AddressOf(function);
        Assert.IsType<StepStop.Reached>(await run.RunToAsync([at], (_, _) => true, CancellationToken.None));
        var map = new KernelMap(Image, 0);
        var stepper = new Stepper(run, (_, registers) => new StepPlace(registers.ProgramCounter, map));
        return new Running(server, machine, run, stepper, new OurSteps(stepper, map, await stepper.PositionAsync(0, null, CancellationToken.None)));
    }

    public void Dispose() => _folder.Dispose();

    internal sealed record Running(PeerProcess Server, Machine Machine, MachineRun Run, Stepper Stepper, OurSteps Steps) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            Steps.Dispose();
            await Machine.DisposeAsync();
            await Server.DisposeAsync();
        }
    }
}
